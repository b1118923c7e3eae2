"""Whether a run's GPU memory has returned, and the quarantine of a GPU where it has not."""

from __future__ import annotations

import time

import pytest

from deployments.actors import Actor
from deployments.exceptions import NotAllowedError
from deployments.gpu_memory import (
    UNEXPLAINED_BYTES,
    MemoryState,
    held_memory,
    lift_quarantine,
    lift_returned,
    memory_held,
    observed_peak,
    quarantine,
    quarantine_sentence,
)
from deployments.gpu_readings import GpuProcess, GpuReading, NodeReading, publish_reading
from deployments.lifecycle.phases import Phase
from deployments.models import AuditEntry, Deployment, Gpu, Node
from deployments.redis import client
from tests.deployments.editing import make_config, make_run, person

GIB = 1024**3
OURS = "berth-x-7-1"
FREE, HELD, UNCONFIRMED = MemoryState.FREE, MemoryState.HELD, MemoryState.UNCONFIRMED


def gpu(*processes: GpuProcess, uuid: str = "GPU-a", used: int = 0, error: str = "") -> GpuReading:
    return GpuReading(uuid=uuid, index=0, memory_used_bytes=used, processes=processes, error=error)


def reading(*gpus: GpuReading, at: float | None = None) -> NodeReading:
    return NodeReading(node="gpu-01", at=time.time() if at is None else at, source="nvml", gpus=gpus)


def ours(memory_bytes: int | None = GIB, run_name: str = OURS) -> GpuProcess:
    return GpuProcess(pid=50, memory_bytes=memory_bytes, user="root", command="python3", run_name=run_name)


FOREIGN = GpuProcess(pid=60, memory_bytes=30 * GIB)
SILENT = GpuReading(uuid="GPU-a", index=0, error="GPU is lost", processes_error="GPU is lost")
NOT_LISTED = GpuReading(uuid="GPU-a", index=0, memory_used_bytes=0, processes_error="Not Supported")


@pytest.mark.parametrize(
    ("told", "state", "why"),
    [
        (None, UNCONFIRMED, "no_reading"),
        (reading(), UNCONFIRMED, "gpu_missing"),
        (reading(gpu(uuid="GPU-b")), UNCONFIRMED, "gpu_missing"),
        (reading(SILENT), UNCONFIRMED, "gpu_silent"),
        (reading(NOT_LISTED), UNCONFIRMED, "gpu_silent"),
        (reading(gpu()), FREE, ""),
        (reading(gpu(used=UNEXPLAINED_BYTES)), FREE, ""),
        (reading(gpu(used=UNEXPLAINED_BYTES + 1)), UNCONFIRMED, "processes_hidden"),
        (reading(gpu(ours(), used=GIB)), HELD, ""),
        (reading(gpu(ours(None), used=GIB)), HELD, ""),
        (reading(gpu(ours(run_name="berth-x-7-2"), used=GIB)), HELD, ""),
        (reading(gpu(ours(run_name="berth-x-71-1"), used=GIB)), FREE, ""),
        (reading(gpu(FOREIGN, used=30 * GIB)), FREE, ""),
        (reading(gpu(FOREIGN, used=60 * GIB)), UNCONFIRMED, "processes_hidden"),
        (reading(gpu(FOREIGN, ours(), used=60 * GIB)), HELD, ""),
        (reading(gpu(GpuProcess(pid=60), used=60 * GIB)), FREE, ""),
        (reading(gpu(GpuProcess(pid=60, attributed=False), used=GIB)), UNCONFIRMED, "owner_unknown"),
        (reading(gpu(ours(), used=GIB), gpu(uuid="GPU-b")), HELD, ""),
    ],
)
def test_what_a_reading_says_about_our_memory(told: NodeReading | None, state: MemoryState, why: str) -> None:
    held = held_memory(told, ["GPU-a"], is_ours=lambda run: run.startswith("berth-x-7-"))
    assert (held.state, held.why) == (state, why)
    assert bool(held.holders) == (state is HELD)


def test_a_foreigner_that_grows_meanwhile_is_not_our_memory() -> None:
    for memory in (GIB, 40 * GIB, 120 * GIB):
        told = reading(gpu(GpuProcess(pid=60, memory_bytes=memory), used=memory))
        assert held_memory(told, ["GPU-a"], is_ours=lambda run: run == OURS).state is FREE


def test_a_holder_on_one_gpu_counts_for_more_than_silence_of_another() -> None:
    held = held_memory(reading(gpu(ours(), uuid="GPU-b")), ["GPU-a", "GPU-b"], is_ours=lambda run: run == OURS)
    assert (held.state, [(holder.gpu_uuid, holder.pid) for holder in held.holders]) == (HELD, [("GPU-b", 50)])


def test_the_drivers_own_words_come_with_the_doubt() -> None:
    held = held_memory(reading(SILENT), ["GPU-a"], is_ours=lambda _run: True)
    assert held.detail == "GPU is lost"
    held = held_memory(reading(NOT_LISTED), ["GPU-a"], is_ours=lambda _run: True)
    assert held.detail == "Not Supported"


# A deployment


@pytest.fixture
def run(db: None, redis_server: object) -> Deployment:
    node = Node.objects.create(name="gpu-01")
    made = make_run(make_config(), Phase.STOPPING, node=node, gpu_uuids=["GPU-a", "GPU-b"])
    for index, uuid in enumerate(made.gpu_uuids):
        Gpu.objects.create(node=node, uuid=uuid, index=index, name="H200", memory_bytes=GIB, seen_at=made.phase_since)
    return made


def both(*processes: GpuProcess) -> tuple[GpuReading, GpuReading]:
    return gpu(*processes, used=len(processes) * GIB), gpu(uuid="GPU-b")


def test_a_run_without_gpus_holds_none(run: Deployment) -> None:
    run.gpu_uuids = []
    assert memory_held(run).state is FREE


def test_memory_of_any_attempt_counts(run: Deployment) -> None:
    publish_reading(reading(*both(ours(run_name=run.run_name))))
    run.attempt = 2
    assert memory_held(run).state is HELD
    publish_reading(reading(*both()))
    assert memory_held(run).state is FREE


def test_an_old_reading_does_not_say_that_it_is_free(run: Deployment) -> None:
    publish_reading(reading(*both(), at=time.time() - 60))
    assert (memory_held(run).state, memory_held(run).why) == (UNCONFIRMED, "no_reading")


def test_without_a_node_nothing_is_confirmed(run: Deployment) -> None:
    run.node = None
    assert memory_held(run).state is UNCONFIRMED


def test_a_peak_that_is_not_a_number_is_unknown(run: Deployment, redis_server: object) -> None:
    client().set(f"berth:gpu-peak:{run.run_name}", "x")
    assert observed_peak(run) is None


# Quarantine


def node_of(run: Deployment) -> Node:
    assert run.node is not None
    return run.node


def quarantined() -> list[str]:
    return list(Gpu.objects.filter(quarantined_at__isnull=False).values_list("uuid", flat=True))


def test_a_quarantine_names_the_holder_and_is_audited_once(run: Deployment) -> None:
    publish_reading(reading(*both(ours(61 * GIB, run.run_name))))
    held = memory_held(run)
    for changed in (1, 0):
        assert quarantine(["GPU-a"], node_of(run), held.params(run)) == changed
    assert quarantined() == ["GPU-a"]
    entry = AuditEntry.objects.get(action="gpu.quarantine")
    assert (entry.actor, entry.target, entry.detail["deployment"]) == ("berth", "gpu-01 GPU 0", run.pk)
    assert quarantine_sentence(Gpu.objects.get(uuid="GPU-a").quarantine_params) == (
        f"llama3-8b (deployment {run.pk}) has ended, but its process 50 (python3, user root) still holds 61.0 GiB."
    )


def test_a_gpu_of_another_node_is_left_alone(run: Deployment) -> None:
    assert quarantine(["GPU-a"], Node.objects.create(name="gpu-02"), {}) == 0
    assert quarantined() == []


def test_it_is_lifted_by_the_reading_that_shows_the_holders_gone(run: Deployment) -> None:
    node = node_of(run)
    quarantine(["GPU-a"], node, {"deployment": run.pk})
    for still in (both(ours(run_name=run.run_name)), (gpu(uuid="GPU-b"),), (gpu(used=40 * GIB),), (SILENT,)):
        assert lift_returned("gpu-01", reading(*still)) == []
    assert lift_returned("gpu-02", reading(*both())) == []
    assert [lifted.uuid for lifted in lift_returned("gpu-01", reading(*both(FOREIGN)))] == ["GPU-a"]
    assert Gpu.objects.get(uuid="GPU-a").quarantine_params == {}
    assert AuditEntry.objects.filter(action="gpu.lift_quarantine", actor="berth").count() == 1


def test_what_an_operator_quarantined_only_a_person_lifts(run: Deployment) -> None:
    ops = Actor.person(person("ops", "operator"))
    quarantine(["GPU-a"], node_of(run), {"note": "It throws ECC errors."}, actor=ops)
    assert lift_returned("gpu-01", reading(*both())) == []
    assert quarantine_sentence(Gpu.objects.get(uuid="GPU-a").quarantine_params) == "It throws ECC errors."
    assert lift_quarantine(["GPU-a"], node_of(run), actor=ops) == 1
    assert lift_quarantine(["GPU-a"], node_of(run), actor=ops) == 0
    assert list(AuditEntry.objects.values_list("actor", flat=True)[:2]) == ["ops", "ops"]


def test_a_viewer_may_neither_quarantine_nor_lift(run: Deployment) -> None:
    viewer = Actor.person(person("view", "viewer"))
    quarantine(["GPU-a"], node_of(run), {})
    with pytest.raises(NotAllowedError):
        quarantine(["GPU-b"], node_of(run), {}, actor=viewer)
    with pytest.raises(NotAllowedError):
        lift_quarantine(["GPU-a"], node_of(run), actor=viewer)
    assert quarantined() == ["GPU-a"]


def test_a_quarantine_without_a_holder_says_that_nobody_can_tell() -> None:
    assert "Nobody can tell whether the memory of llama3-8b (deployment 7)" in quarantine_sentence(
        {"deployment": 7, "config": "llama3-8b", "holders": []}
    )
