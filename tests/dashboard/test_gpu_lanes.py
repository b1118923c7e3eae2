"""How often NVML is asked for what, what slow questions cost themselves, and what each answer becomes."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import pytest

from dashboard.telemetry import xids as xids_module
from dashboard.telemetry.lanes import ANSWERS_JUDGED, DEMOTED_S, Lanes
from dashboard.telemetry.nvml import Nvml
from dashboard.telemetry.rows import LimiterWindow, counted, judged
from dashboard.telemetry.source import DriverSource, NoSource, ReplaySource, source_for
from deployments.gpu_readings import LIMITERS, GpuReading, NodeReading
from tests.fakes.nvml import GIB, FakeGpu, FakeNvml, process

NOT_SUPPORTED, NO_PERMISSION, TIMEOUT, LOST, CLOSED = 3, 4, 10, 15, 1
RESET_REQUIRED = 16


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """A driver and its readings, a second apart. ``slow`` says how many seconds a call of that name takes."""

    def __init__(self, *gpus: FakeGpu) -> None:
        self.clock = Clock()
        self.fake = FakeNvml(*gpus)
        self.library = Nvml(module=self.fake, clock=self.clock)
        self.library.inventory()

    @property
    def lanes(self) -> Lanes:
        assert self.library.lanes is not None
        return self.library.lanes

    def second(self) -> GpuReading:
        self.clock.now += 1
        return self.library.states()[0]


def gpu(**changes: object) -> FakeGpu:
    return FakeGpu(uuid="GPU-a", **changes)  # type: ignore[arg-type]


def test_every_field_is_there_within_two_seconds_in_its_units() -> None:
    watch = Watch(
        gpu(
            used=61 * GIB,
            compute=[process(50, 60 * GIB)],
            gpu_percent=97,
            memory_percent=31,
            temperature=66,
            power_mw=512_340,
            sm_mhz=1755,
            limiters=0x4 | 0x40,
            energy_mj=7_500,
            samples=[(50, 80, 10), (50, 90, 20), (60, 7, 20)],
            fields={3: 2, 4: 0, 142: 1, 143: 2, 144: 0, 145: 0, 230: 0, 82: 71},
        )
    )
    first, second = watch.second(), watch.second()
    assert (first.sm_active_percent, first.missing.get("sm_active_percent")) == (None, None)
    assert second == replace(
        second,
        uuid="GPU-a",
        index=0,
        state="ok",
        name="NVIDIA H200",
        memory_used_bytes=61 * GIB,
        utilization_gpu_percent=97.0,
        utilization_memory_percent=31.0,
        sm_active_percent=81.5,
        tensor_active_percent=40.0,
        dram_active_percent=33.25,
        temperature_gpu_celsius=66.0,
        temperature_memory_celsius=71.0,
        power_watts=512.34,
        power_limit_watts=700.0,
        energy_joules=7.5,
        clock_sm_mhz=1755,
        clock_sm_max_mhz=1980,
        performance_state=0,
        pcie_generation=5,
        pcie_width=16,
        ecc_corrected=2,
        ecc_uncorrected=0,
        remapped_rows=3,
        recovery_action="",
        limiters=("power_cap", "thermal_hardware"),
        missing={"fan_percent": "not_supported"},
        error="",
    )
    assert second.processes is not None
    assert [(one.pid, one.utilization_percent) for one in second.processes] == [(50, 85.0)]
    assert set(second.limiters) <= set(LIMITERS)
    assert NodeReading.from_json(NodeReading(node="n", at=1, gpus=(second,)).to_json()).gpus == (second,)


@pytest.mark.parametrize(
    ("function", "times"),
    [
        ("nvmlDeviceGetUtilizationRates", 61),
        ("nvmlDeviceGetProcessUtilization", 13),
        ("nvmlDeviceGetPerformanceState", 7),
        ("nvmlDeviceGetTotalEnergyConsumption", 2),
        ("nvmlDeviceGetMaxClockInfo", 2),
    ],
)
def test_each_question_has_its_pace(function: str, times: int) -> None:
    one = gpu()
    watch = Watch(one)
    for _ in range(61):
        watch.second()
    assert one.asked.count(function) == times


def test_what_is_asked_seldom_is_not_asked_of_all_gpus_at_once() -> None:
    gpus = [FakeGpu(uuid=f"GPU-{n}") for n in range(8)]
    watch = Watch(*gpus)
    together = []
    for _ in range(130):
        before = [one.asked.count("nvmlDeviceGetTotalEnergyConsumption") for one in gpus]
        watch.second()
        after = [one.asked.count("nvmlDeviceGetTotalEnergyConsumption") for one in gpus]
        together.append(sum(after) - sum(before))
    assert together[0] == 8
    assert max(together[1:]) == 1


def slow(watch: Watch, function: str, seconds: float) -> None:
    """Let the time that is measured pass while a function is asked."""
    passed = [0.0]
    original = watch.fake._ask

    def ask(name: str, of: FakeGpu | None = None) -> None:
        if name == function:
            passed[0] += seconds
        original(name, of)

    setattr(watch.fake, "_ask", ask)  # noqa: B010 - a method of this one instance
    watch.lanes.cost = lambda: passed[0]


def test_a_question_that_is_slow_here_is_put_less_often_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    one = gpu()
    watch = Watch(one)
    slow(watch, "nvmlDeviceGetPowerUsage", 0.02)
    for _ in range(ANSWERS_JUDGED + 21):
        reading = watch.second()
        assert reading.power_watts == 120.0, "the last answer is shown in between"
    assert one.asked.count("nvmlDeviceGetPowerUsage") == ANSWERS_JUDGED + 4
    assert caplog.text.count("asking for power takes 20.0 ms, so it is asked every 5 s") == 1


def test_after_ten_minutes_it_is_tried_at_its_own_pace_again() -> None:
    one = gpu()
    watch = Watch(one)
    slow(watch, "nvmlDeviceGetPowerUsage", 0.02)
    for _ in range(ANSWERS_JUDGED):
        watch.second()
    slow(watch, "nvmlDeviceGetPowerUsage", 0)
    watch.clock.now += DEMOTED_S
    before = one.asked.count("nvmlDeviceGetPowerUsage")
    for _ in range(4):
        watch.second()
    assert one.asked.count("nvmlDeviceGetPowerUsage") == before + 4


def test_one_slow_answer_says_nothing() -> None:
    one = gpu()
    watch = Watch(one)
    watch.second()
    slow(watch, "nvmlDeviceGetPowerUsage", 3)
    watch.second()
    slow(watch, "nvmlDeviceGetPowerUsage", 0)
    for _ in range(10):
        watch.second()
    assert one.asked.count("nvmlDeviceGetPowerUsage") == 12


def test_a_question_that_fails_slowly_is_put_less_often_too() -> None:
    one = gpu()
    watch = Watch(one)
    slow(watch, "nvmlDeviceGetPowerUsage", 0.5)
    one.errors["nvmlDeviceGetPowerUsage"] = TIMEOUT
    for _ in range(ANSWERS_JUDGED + 21):
        reading = watch.second()
        assert (reading.power_watts, reading.missing["power_watts"]) == (None, "timeout")
    assert one.asked.count("nvmlDeviceGetPowerUsage") == ANSWERS_JUDGED + 4


def test_memory_and_processes_are_asked_each_second_however_slow() -> None:
    one = gpu()
    watch = Watch(one)
    slow(watch, "nvmlDeviceGetMemoryInfo_v2", 0.05)
    before = one.asked.count("nvmlDeviceGetMemoryInfo_v2")
    for _ in range(20):
        watch.second()
    assert one.asked.count("nvmlDeviceGetMemoryInfo_v2") == before + 20


@pytest.mark.parametrize(
    ("code", "reason", "asked_in_two_minutes"),
    [(NOT_SUPPORTED, "not_supported", 1), (NO_PERMISSION, "no_permission", 2), (TIMEOUT, "timeout", 120)],
)
def test_a_field_that_fails_is_none_with_its_reason(code: int, reason: str, asked_in_two_minutes: int) -> None:
    one = gpu(errors={"nvmlDeviceGetPowerUsage": code})
    watch = Watch(one)
    for _ in range(120):
        reading = watch.second()
        assert (reading.power_watts, reading.missing["power_watts"]) == (None, reason)
        assert reading.state == "ok"
    assert one.asked.count("nvmlDeviceGetPowerUsage") == asked_in_two_minutes


def test_a_binding_that_is_older_than_a_question_does_not_have_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(gpu())
    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetFieldValues", None)
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetFieldValues")
    reading = watch.second()
    assert reading.missing["ecc_uncorrected"] == reading.missing["recovery_action"] == "not_supported"


def test_a_card_without_ecc_and_memory_sensor_says_so() -> None:
    reading = Watch(gpu(fields={82: 0})).second()
    for field in ("ecc_corrected", "ecc_uncorrected", "remapped_rows", "temperature_memory_celsius"):
        assert getattr(reading, field) is None
        assert reading.missing[field] == "not_supported"


@pytest.mark.parametrize(
    ("fields", "action"),
    [({230: 4}, "drain_and_reset"), ({230: 0, 144: 1}, "gpu_reset"), ({144: 1}, "gpu_reset"), ({145: 1}, "replace")],
)
def test_what_is_to_be_done_about_a_gpu(fields: dict[int, int], action: str) -> None:
    reading = Watch(gpu(fields={3: 0, 4: 0, 142: 0, 143: 0, 144: 0, 145: 0, **fields})).second()
    assert reading.recovery_action == action
    assert judged(reading, 0).state == "degraded"


# Lost and found


def test_a_lost_gpu_is_asked_one_thing_and_shows_nothing_old() -> None:
    one = gpu(gpu_percent=50)
    watch = Watch(one)
    assert watch.second().utilization_gpu_percent == 50
    one.errors["*"] = LOST
    one.asked.clear()
    reading = watch.second()
    assert one.asked == ["nvmlDeviceGetMemoryInfo_v2"]
    assert (reading.state, reading.error) == ("lost", "error 15")
    assert (reading.energy_joules, reading.utilization_gpu_percent, reading.ecc_corrected) == (None, None, None)
    one.errors.clear()
    back = watch.second()
    assert (back.state, back.energy_joules, back.ecc_corrected) == ("ok", 5000.0, 0)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (NO_PERMISSION, "no_permission"),
        (TIMEOUT, "stale"),
        (LOST, "lost"),
        (RESET_REQUIRED, "degraded"),
    ],
)
def test_the_state_is_that_of_the_first_question(code: int, state: str) -> None:
    one = gpu()
    watch = Watch(one)
    one.errors["nvmlDeviceGetMemoryInfo_v2"] = code
    assert watch.second().state == state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"ecc_uncorrected": 1}, "degraded"),
        ({"ecc_corrected": 9}, "ok"),
        ({"limiters": ("thermal_hardware",)}, "degraded"),
        ({"limiters": ("power_cap", "thermal_software")}, "ok"),
        ({"xid": 79, "xid_at": 10_000.0}, "degraded"),
        ({"xid": 79, "xid_at": 1.0}, "ok"),
        ({"xid": 31, "xid_at": 10_000.0}, "ok"),
        ({"state": "lost", "ecc_uncorrected": 1}, "lost"),
    ],
)
def test_what_needs_attention_is_degraded(changes: dict[str, object], state: str) -> None:
    found = GpuReading(uuid="GPU-a", index=0, **changes)  # type: ignore[arg-type]
    assert judged(found, 10_010.0).state == state


# Activity


def test_activity_needs_two_samples_and_frees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(gpu())
    assert [watch.second().sm_active_percent for _ in range(3)] == [None, 81.5, 81.5]
    watch.clock.now += 5
    assert watch.second().sm_active_percent is None, "a mean over a gap is not about now"
    assert watch.second().sm_active_percent == 81.5
    assert watch.fake.samples_alive == 2
    watch.library.close()
    assert watch.fake.samples_alive == 0


def test_a_gpu_without_those_counters_says_so() -> None:
    one = gpu(gpm={})
    watch = Watch(one)
    for _ in range(5):
        assert watch.second().missing["tensor_active_percent"] == "not_supported"
    assert one.asked.count("nvmlGpmQueryDeviceSupport") == 1


def test_a_counter_that_has_no_number_is_none() -> None:
    watch = Watch(gpu(gpm={2: 50.0}))
    watch.second()
    reading = watch.second()
    assert (reading.sm_active_percent, reading.dram_active_percent) == (50.0, None)


# MIG


def test_instances_are_rows_of_their_own_and_count_once() -> None:
    small = FakeGpu(uuid="MIG-1", name="NVIDIA H200 MIG 1g.18gb", total=18 * GIB, used=5 * GIB, instance=4)
    small.compute = [process(50, 5 * GIB)]
    whole = gpu(mig=1, instances=(None, small, None), compute=[process(50, 5 * GIB, 4)])
    whole.errors["nvmlDeviceGetUtilizationRates"] = NOT_SUPPORTED
    watch = Watch(whole, FakeGpu(uuid="GPU-b"))
    watch.second()
    watch.clock.now += 1
    parent, instance, other = watch.library.states()
    assert (parent.uuid, instance.uuid, instance.parent_uuid, other.uuid) == ("GPU-a", "MIG-1", "GPU-a", "GPU-b")
    assert (instance.index, instance.name) == (0, "NVIDIA H200 MIG 1g.18gb")
    assert (instance.memory_used_bytes, instance.sm_active_percent) == (5 * GIB, 20.38)
    assert instance.missing["power_watts"] == parent.missing["utilization_gpu_percent"] == "not_supported"
    assert [row.uuid for row in counted((parent, instance, other))] == ["MIG-1", "GPU-b"]


# Xid events


def heard(watch: Watch, count: int) -> list[tuple[str, int]]:
    events: list[tuple[str, int]] = []
    watch.library.on_xid = lambda uuid, xid, at: events.append((uuid, xid))
    watch.library.inventory()
    deadline = time.monotonic() + 10
    while len(events) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return events


def test_an_error_event_is_told_with_its_gpu_even_when_that_is_lost() -> None:
    one, other = gpu(), FakeGpu(uuid="GPU-b")
    watch = Watch(one, other)
    other.errors["nvmlDeviceGetUUID"] = LOST
    watch.fake.events.put((other, 79))
    watch.fake.events.put((one, 31))
    other.errors.clear()
    assert heard(watch, 2) == [("GPU-b", 79), ("GPU-a", 31)]
    watch.library.inventory()
    assert watch.fake.inits == 2, "one listener for the same GPUs"
    watch.library.close()
    assert watch.fake.shutdowns == 2


def test_a_driver_without_events_is_measured_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=xids_module.__name__)
    watch = Watch(gpu())
    watch.fake.errors["nvmlEventSetCreate"] = NOT_SUPPORTED
    assert heard(watch, 0) == []
    deadline = time.monotonic() + 5
    while "not heard" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watch.second().state == "ok"
    watch.library.close()


# Limiters


def test_seconds_under_each_limiter_are_those_of_the_last_minute() -> None:
    clock = Clock()
    window = LimiterWindow(clock=clock)
    capped, free = GpuReading(uuid="GPU-a", index=0, limiters=("power_cap",)), GpuReading(uuid="GPU-a", index=0)
    told = {}
    for second in range(90):
        told = window.seconds(capped if second % 2 else free)
        clock.now += 1
    assert told == {"power_cap": 30}
    for _ in range(60):
        told = window.seconds(free)
        clock.now += 1
    assert told == {}


def test_a_gap_is_no_time_in_which_anything_is_known() -> None:
    clock = Clock()
    window = LimiterWindow(clock=clock)
    one = GpuReading(uuid="GPU-a", index=0, limiters=("idle",))
    window.seconds(one)
    clock.now += 30
    assert window.seconds(one) == {"idle": 4}


# Sources


def test_the_setting_names_the_source() -> None:
    assert isinstance(source_for(""), DriverSource)
    assert isinstance(source_for("nvml"), DriverSource)
    assert isinstance(source_for("none"), NoSource)
    assert "BERTH_GPU_SOURCE=none" in source_for("none").measure().reason
    assert source_for("replay:nowhere").measure().reason.startswith("The recording nowhere cannot be played")


def test_the_recording_that_comes_with_berth_fills_every_field_that_it_has() -> None:
    source = source_for("replay:h200x4")
    assert isinstance(source, ReplaySource)
    assert len(source.recording.moments) == 150
    measured = source.measure()
    assert measured.source == "replay:h200x4.jsonl"
    busy = source.recording.moments[70].states[1]
    assert (busy.name, busy.power_watts, busy.power_limit_watts) == ("NVIDIA H200", 166.448, 700.0)
    assert (busy.clock_sm_mhz, busy.clock_sm_max_mhz, busy.clock_memory_mhz) == (1980, 1980, 3201)
    assert (busy.pcie_generation, busy.pcie_width, busy.performance_state) == (5, 16, 0)
    assert source.recording.moments[0].states[0].limiters == ("idle",)
    for state in source.recording.moments[70].states:
        for field, reason in state.missing.items():
            assert getattr(state, field) in {None, ""}, (field, reason)
