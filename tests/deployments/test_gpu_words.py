"""GPUs in words: what slows one down, how it is, what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.gpu_readings import LIMITERS, GpuProcess, GpuReading, RunReading
from deployments.placement.views import GIB
from deployments.presentation.gpu_verdicts import Surroundings, verdict_of
from deployments.presentation.gpu_words import (
    TOLD,
    flag_fix,
    flag_words,
    limiter_strings,
    limiter_words,
    main_limiter,
    missing_words,
    source_words,
)

NOW = 1_000_000.0
OURS = GpuProcess(pid=7, memory_bytes=60 * GIB, run_name="berth-x-5-1")
STRANGER = GpuProcess(pid=8123, memory_bytes=9 * GIB, user="lena", command="python3")
WELL = GpuReading(
    uuid="GPU-a",
    index=0,
    memory_total_bytes=140 * GIB,
    memory_used_bytes=60 * GIB,
    memory_free_bytes=80 * GIB,
    utilization_gpu_percent=40,
    temperature_gpu_celsius=60,
    processes=(OURS,),
)
RUN = RunReading(run_name=OURS.run_name, deployment_id=5, config="llama3-8b", assigned=("GPU-a",), observed=("GPU-a",))


def verdict(gpu: GpuReading | None, *, runs: tuple[RunReading, ...] = (RUN,), **around: object) -> str:
    return verdict_of(gpu, Surroundings(runs=runs, now=NOW, **around)).key  # type: ignore[arg-type]


def test_a_limiter_is_said_with_its_seconds() -> None:
    assert limiter_words({"power_cap": 18}) == "power-capped 18 s of the last minute"
    assert limiter_words({"power_cap": 60, "idle": 3}) == "power-capped all the last minute"
    assert limiter_words({"thermal_software": 20, "power_cap": 5}).startswith("held back by heat 20 s")


def test_idling_is_no_limit() -> None:
    assert limiter_words({"idle": 60}) == limiter_words({}) == ""
    assert main_limiter({"idle": 60}) == ("", 0)


def test_every_limiter_has_its_words() -> None:
    strings = limiter_strings()
    assert set(TOLD) == set(LIMITERS) - {"idle"}
    for name in TOLD:
        assert "{n}" in strings["limited"][name]
        assert limiter_words({name: 60}) == strings["limited_whole"][name]


def test_a_gpu_at_work_is_ok_and_one_without_work_is_idle() -> None:
    assert verdict(WELL) == "ok"
    assert verdict(replace(WELL, processes=(), utilization_gpu_percent=0)) == "idle"
    # Where processes cannot be listed, none seen is not idle.
    assert verdict(replace(WELL, processes=None, utilization_gpu_percent=0)) == "ok"
    # Nor is one of which nobody knows whether it computes. An instance tells its activity only.
    assert verdict(replace(WELL, processes=(), utilization_gpu_percent=None)) == "ok"
    assert verdict(replace(WELL, processes=(), utilization_gpu_percent=None, sm_active_percent=0.0)) == "idle"


def test_memory_that_no_visible_process_explains_is_neither_idle_nor_hidden_from_the_reader() -> None:
    hidden = replace(WELL, processes=(), utilization_gpu_percent=0, memory_reserved_bytes=GIB)
    found = verdict_of(hidden, Surroundings(now=NOW))
    assert (found.key, found.sentence[:6]) == ("hidden", "60 GiB")
    assert "pid: host" in found.fix
    assert verdict(replace(hidden, processes=(OURS,))) == "ok"
    # What the driver does not say of a process, or counts as used itself, may explain it.
    assert verdict(replace(hidden, processes=(replace(OURS, memory_bytes=None),))) == "ok"
    assert verdict(replace(hidden, memory_reserved_bytes=None)) == "idle"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"state": "lost"}, "lost"),
        ({"state": "stale"}, "stale"),
        ({"state": "no_permission"}, "no_permission"),
        ({"state": "degraded"}, "degraded"),
        ({"recovery_action": "gpu_reset"}, "recovery"),
        ({"ecc_uncorrected": 1}, "ecc"),
        ({"xid": 31, "xid_at": NOW - 60}, "fault"),
        ({"limited_s": {"thermal_hardware": 9}}, "hot"),
        ({"temperature_gpu_celsius": 90}, "hot"),
        ({"temperature_memory_celsius": 97}, "hot"),
        ({"limited_s": {"power_brake": 10}}, "slowed"),
        ({"memory_used_bytes": 139 * GIB, "memory_free_bytes": GIB}, "nearly_full"),
        ({"limited_s": {"power_cap": 30}}, "power_capped"),
        ({"remapped_rows": 2}, "remapped"),
        ({"processes": (OURS, STRANGER)}, "foreign"),
        ({"processes": (replace(STRANGER, attributed=False),)}, "unknown_process"),
    ],
)
def test_each_trouble_has_a_verdict_with_a_reason_and_a_fix(change: dict[str, object], key: str) -> None:
    found = verdict_of(replace(WELL, **change), Surroundings(runs=(RUN,), now=NOW))  # type: ignore[arg-type]
    assert found.key == key
    assert found.word
    assert found.icon
    assert found.sentence
    assert found.fix


@pytest.mark.parametrize(
    "change",
    [
        {"recovery_action": "none"},
        {"ecc_uncorrected": 0, "remapped_rows": 0},
        {"xid": 31, "xid_at": NOW - 7200},
        {"limited_s": {"power_cap": 29, "thermal_software": 4}},
    ],
)
def test_what_is_small_or_long_ago_is_no_trouble(change: dict[str, object]) -> None:
    assert verdict(replace(WELL, **change)) == "ok"  # type: ignore[arg-type]


def test_the_worst_comes_first() -> None:
    all_at_once = replace(
        WELL, recovery_action="reboot", ecc_uncorrected=3, limited_s={"power_cap": 60}, processes=(STRANGER,)
    )
    assert verdict(replace(all_at_once, state="lost")) == "lost"
    assert verdict(all_at_once) == "recovery"


def test_nothing_heard_is_said_as_such() -> None:
    assert verdict(None) == "silent"


def test_flags_of_runs_and_a_quarantine_are_told() -> None:
    assert verdict(WELL, runs=(replace(RUN, flags=("orphaned",)),)) == "orphaned"
    assert verdict(WELL, runs=(replace(RUN, assigned=(), flags=("elsewhere",)),)) == "elsewhere"
    # It is on another GPU that it was not given; this one is its own.
    assert verdict(WELL, runs=(replace(RUN, flags=("elsewhere",)),)) == "ok"
    assert verdict(WELL, quarantined="Memory did not return.") == "quarantined"


def test_the_processes_of_a_recording_are_no_strangers() -> None:
    assert verdict(replace(WELL, processes=(STRANGER,)), is_replay=True) == "ok"


def test_a_stranger_is_named() -> None:
    found = verdict_of(replace(WELL, processes=(STRANGER, STRANGER)), Surroundings(now=NOW))
    assert "pid 8123 python3 (lena) 9 GiB and 1 more" in found.sentence


def test_sources_flags_and_missing_values_have_words() -> None:
    assert source_words("replay:/a/h200x4.jsonl") == "recording h200x4.jsonl"
    assert source_words("nvml") == "NVML"
    for flag in ("elsewhere", "orphaned", "earlier"):
        assert flag_words(flag) != flag
        assert flag_fix(flag)
    assert missing_words("not_supported") == "This GPU does not tell."
    assert missing_words("") == "not measured"
