"""Measures the GPUs of this node every second and tells everybody: Redis what they hold, the database what they are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from queue import SimpleQueue

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from deployments.gpu_history import mark, record
from deployments.gpu_memory import lift_returned
from deployments.gpu_readings import REPLAY, GpuProcess, GpuReading, NodeReading, RunReading, publish_reading
from deployments.gpu_reasons import WAITED
from deployments.lifecycle.phases import MAY_HOLD_A_RUN
from deployments.models import Deployment
from deployments.redis import RedisError
from deployments.runtimes import runtime_named

from .attribution import Attribution
from .facts import GpuFacts
from .host import Host
from .inventory import write_gpus
from .measuring import Measurer
from .peaks import Peaks
from .rows import MEASURED, LimiterWindow, judged
from .runs import Runs
from .source import DriverSource, GpuSource, Measurement, source_for

logger = logging.getLogger(__name__)
EVERY_S = 1.0
#: A call into the driver that takes longer is said to hang.
PATIENCE_S = 5.0
ROWS_EVERY_S = 60.0
QUARANTINE_EVERY_S = 5.0
MOST_BACKOFF_S = 15.0
#: As GpuReading.error has it: a GPU cut into instances cannot be given to a run as a whole.
MIG_SENTENCE = "MIG is on: only its instances can be used, not the whole GPU."


class GpuPoller:
    """A thread of the agent. ``start`` and ``stop`` are all that the agent needs."""

    def __init__(self, node: str, *, source: GpuSource | None = None, attribution: Attribution | None = None) -> None:
        self.node = node
        source = source or source_for(settings.BERTH_GPU_SOURCE)
        if isinstance(source, DriverSource):
            source.library.on_xid = self.note_xid
        self.measurer = Measurer(source)
        self.attribution = attribution or Attribution(node, lambda: members_of_runs(node))
        self.peaks = Peaks()
        self.limiters = LimiterWindow()
        self.runs = Runs(node)
        self.known_runs: tuple[RunReading, ...] = ()
        self.host = Host(settings.BERTH_DATA_DIR)
        self.xids: SimpleQueue[tuple[str, int, float]] = SimpleQueue()
        self.last_xids: dict[str, tuple[int, float]] = {}
        self.unmarked_xids: list[tuple[str, int, float]] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name="gpu-poller", daemon=True)
        self.facts: tuple[GpuFacts, ...] = ()
        self.rows: tuple[GpuReading, ...] = ()
        self.written_facts: tuple[GpuFacts, ...] | None = None
        self.rows_at = float("-inf")
        self.quarantine_at = float("-inf")
        self.said = ""

    def start(self) -> None:
        """Begin measuring; returns at once."""
        self.thread.start()

    def stop(self, timeout_s: float = PATIENCE_S + 2) -> None:
        """End after the current measurement, and wait for that at most ``timeout_s``."""
        self.stopping.set()
        self.measurer.stop()
        if self.thread.is_alive():
            self.thread.join(timeout_s)

    def run(self) -> None:
        """Measure until stopped; an outage of database or Redis, or a fault of ours, is logged and waited out."""
        backoff_s = EVERY_S
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                self.tick()
            except (DatabaseError, RedisError) as error:
                logger.warning("The GPU poller waits %.0f s: %s", backoff_s, error)
            except Exception:
                logger.exception("The GPU poller waits %.0f s", backoff_s)
            else:
                backoff_s = EVERY_S
                self.stopping.wait(max(0.0, EVERY_S - (time.monotonic() - began)))
                continue
            close_old_connections()
            self.stopping.wait(backoff_s)
            backoff_s = min(MOST_BACKOFF_S, backoff_s * 2)
        connection.close()

    def tick(self) -> None:
        """Measure once, tell Redis, and the database when it is time. Raises RedisError, DatabaseError."""
        measured = self.measurer.measure(PATIENCE_S)
        if measured is None:
            self._say("The driver hangs: readings are stale")
            publish_reading(self._stale())
            self._mark_xids()
            return
        self._say(measured.reason)
        if measured.facts is not None:
            self.facts = measured.facts
        reading = self._reading(measured)
        self.rows = reading.gpus
        publish_reading(reading)
        self.peaks.watch(reading.gpus)
        self._write(measured, reading)
        record(reading)
        self._mark_xids()

    def note_xid(self, uuid: str, xid: int, at: float) -> None:
        """An error event of a GPU; an empty UUID means that nobody knows which. Called in another thread."""
        logger.warning("GPU %s: the driver reports Xid %d", uuid or "?", xid)
        self.xids.put((uuid, xid, at))

    def _reading(self, measured: Measurement) -> NodeReading:
        replay = measured.source.startswith(REPLAY)
        # A recording's pids are not those of this host, so nothing may be concluded from them.
        pids = {process.pid for state in measured.states for process in state.processes or ()}
        known = {} if replay else self.attribution.processes(pids)
        self._hear_xids()
        now = time.time()
        gpus = tuple(self._gpu(state, known, now) for state in measured.states)
        self.limiters.forget_others({gpu.uuid for gpu in gpus})
        return NodeReading(
            node=self.node,
            at=now,
            source=measured.source,
            driver=measured.driver,
            reason=measured.reason,
            gpus=gpus,
            runs=self._runs(gpus),
            host=self.host.read(),
        )

    def _gpu(self, state: GpuReading, known: Mapping[int, GpuProcess], now: float) -> GpuReading:
        """One GPU with whose its processes are, its last error event, and its state."""
        mig = any(gpu.uuid == state.uuid and gpu.mig for gpu in self.facts)
        xid, xid_at = self.last_xids.get(state.uuid, (None, None))
        found = replace(
            state,
            processes=None if state.processes is None else tuple(_whose(one, known) for one in state.processes),
            limited_s=self.limiters.seconds(state),
            xid=xid,
            xid_at=xid_at,
            error="; ".join(filter(None, (state.error, MIG_SENTENCE if mig else ""))),
        )
        return judged(found, now)

    def _runs(self, gpus: tuple[GpuReading, ...]) -> tuple[RunReading, ...]:
        """Without the database the GPUs are told all the same, with the runs as they were known."""
        try:
            self.known_runs = self.runs.read(gpus)
        except DatabaseError as error:
            logger.warning("Which runs the GPUs have is not known: %s", error)
            close_old_connections()
            self.known_runs = ()
        return self.known_runs

    def _stale(self) -> NodeReading:
        """The GPUs that there were, without values: what was read before says nothing about now.

        The host, and what each run was given, do not depend on the driver. An error event often comes with the hang.
        """
        waited = WAITED % {"seconds": f"{self.measurer.waiting_s:.0f}"}
        self._hear_xids()
        gpus = tuple(self._without_values(gpu, waited) for gpu in self.rows)
        return NodeReading(
            node=self.node,
            at=time.time(),
            source="nvml",
            reason=waited,
            gpus=gpus,
            runs=self._runs(gpus),
            host=self.host.read(),
        )

    def _without_values(self, gpu: GpuReading, why: str) -> GpuReading:
        xid, xid_at = self.last_xids.get(gpu.uuid, (None, None))
        return GpuReading(
            uuid=gpu.uuid,
            index=gpu.index,
            name=gpu.name,
            parent_uuid=gpu.parent_uuid,
            state="stale",
            memory_total_bytes=gpu.memory_total_bytes,
            missing=dict.fromkeys(MEASURED, "timeout"),
            xid=xid,
            xid_at=xid_at,
            error=why,
            processes_error=why,
        )

    def _hear_xids(self) -> None:
        """Take what the listener heard; several of one GPU leave the last, and each gets its mark."""
        while not self.xids.empty():
            uuid, xid, at = self.xids.get_nowait()
            self.last_xids[uuid] = (xid, at)
            self.unmarked_xids.append((uuid, xid, at))

    def _mark_xids(self) -> None:
        while self.unmarked_xids:
            uuid, xid, at = self.unmarked_xids[0]
            mark(self.node, "xid", at=at, text=f"Xid {xid}", uuid=uuid)
            self.unmarked_xids.pop(0)

    def _write(self, measured: Measurement, reading: NodeReading) -> None:
        """Rows each minute and when the GPUs are others; quarantines are looked at every few seconds."""
        now = time.monotonic()
        due = now - self.rows_at >= ROWS_EVERY_S or self.facts != self.written_facts
        replay = measured.source.startswith(REPLAY)
        if measured.states and self.facts and due and write_gpus(self.node, self.facts, replay=replay):
            self.written_facts, self.rows_at = self.facts, now
        if measured.states and now - self.quarantine_at >= QUARANTINE_EVERY_S:
            lift_returned(self.node, reading)
            self.quarantine_at = now

    def _say(self, reason: str) -> None:
        """Log what changed, once."""
        if reason != self.said:
            level = logging.WARNING if reason and self.facts else logging.INFO
            logger.log(level, "GPUs: %s", reason or "they are measured.")
        self.said = reason


def members_of_runs(node: str) -> Mapping[str, frozenset[int]]:
    """The pids of each run of ``node``. Raises BerthError while a runtime does not answer, DatabaseError."""
    runs = Deployment.objects.filter(node__name=node, phase__in=MAY_HOLD_A_RUN).only("pk", "attempt", "spec")
    return {run.run_name: runtime_named(run.spec["runtime"]).members(run.run_name) for run in runs}


def _whose(process: GpuProcess, known: Mapping[int, GpuProcess]) -> GpuProcess:
    found = known.get(process.pid)
    if found is None:
        return process
    return replace(found, memory_bytes=process.memory_bytes, utilization_percent=process.utilization_percent)
