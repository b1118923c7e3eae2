#!/usr/bin/env python3
"""Check the GPU telemetry on a machine with NVIDIA GPUs, without a network: one command, under six minutes.

    python scripts/gpu_check.py [--out FOLDER] [--gib 8] [--budget-s 330] [--layout 4+2+2]

It starts Berth with a temporary data folder, lets real processes hold memory and compute on GPUs that Berth chose,
compares every field of the readings with nvidia-smi, whose memory is whose, the leases, that no GPU is given twice and
islands stay together, the reason when nothing is left, and whether memory returns; then that every GPU has its history
and its place on the pages. It measures what measuring costs, and asks gpustat and nvitop the same where they are
installed. A table is printed as it grows, ``gpu-check.json`` and ``gpu-check.md`` are written; the exit status is 1
when something does not agree.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.gpu import smi
from tests.gpu.installation import NODE, Berth, await_true, make_config
from tests.gpu.placement import check_nothing_left, check_placement, check_topology, layouts
from tests.gpu.result import Check, write
from tests.gpu.smi import MIB, Row
from tests.gpu.weight import check_history, check_pages

GIB = 1024**3
#: A context of CUDA takes about half a GiB beside what a program asked for.
CONTEXT_BYTES = 2 * GIB
#: Slow fields are asked every 10 s.
SETTLE_S = 13
RETURNED_BYTES = 64 * MIB
#: The questions for what nvidia-smi, gpustat and nvitop are asked for too.
SAME_FIELDS = ("memory", "utilization", "temperature", "power")


def reading() -> Any:
    """The newest reading of this node; None while there is none."""
    from deployments.gpu_readings import latest_readings

    return latest_readings([NODE]).get(NODE)


def check_fields(check: Check) -> None:
    """Every field of every GPU, under load, between two readings."""
    before = reading()
    told, unknown = smi.query_gpus()
    await_true(lambda: (found := reading()) is not None and found.at > before.at + 0.5, 5)
    after = reading()
    check.holds("GPUs", sorted(told), sorted(gpu.uuid for gpu in after.gpus))
    check.holds("driver", {row["driver_version"] for row in told.values()}, {after.driver})
    check.facts["driver"] = after.driver
    check.facts["gpu"] = sorted({gpu.name for gpu in after.gpus})
    if unknown:
        check.say(f"this nvidia-smi does not know: {', '.join(unknown)}")
    earlier = {gpu.uuid: gpu for gpu in before.gpus}
    for gpu in after.gpus:
        if gpu.uuid in told:
            check.add(*smi.compare(earlier[gpu.uuid], gpu, told[gpu.uuid]))
    host = after.host
    check.holds("host", "processors, memory, disk", host, ok=bool(host and host.cpu_count and host.memory_total_bytes))
    check.facts["reading"] = json.loads(after.to_json())


def check_attribution(check: Check, deployments: list[Any], gib: int) -> None:
    """Of each deployment: its lease, where it is seen, what it holds, and by which processes."""
    from deployments.models import GpuLease
    from deployments.runtimes import runtime_named

    found = reading()
    told = smi.query_processes()
    runs = {run.run_name: run for run in found.runs}
    for it in deployments:
        name, run = it.spec["config"], runs.get(it.run_name)
        if run is None:
            check.holds(f"{name} is told", it.run_name, sorted(runs))
            continue
        leased = sorted(GpuLease.objects.filter(deployment=it).values_list("gpu__uuid", flat=True))
        check.holds(f"{name} leases", sorted(it.gpu_uuids), leased)
        check.holds(f"{name} assigned", leased, sorted(run.assigned))
        check.holds(f"{name} observed", leased, sorted(run.observed))
        check.holds(f"{name} flags", (), run.flags)
        pids = {process.pid for gpu in found.gpus for process in gpu.processes or () if process.run_name == it.run_name}
        members = runtime_named("process").members(it.run_name)
        check.holds(f"{name} pids", "those of its run", sorted(pids), ok=bool(pids) and pids <= members)
        sizes = [size for (uuid, pid), size in told.items() if pid in pids and uuid in leased]
        if any(size is None for size in sizes):
            check.add(Row(what=f"{name} memory", expected="?", seen=str(run.memory_bytes), ok=None, note="not told"))
        else:
            total, tolerance = sum(size or 0 for size in sizes), 2 * MIB * max(1, len(sizes))
            near = run.memory_bytes is not None and abs(run.memory_bytes - total) <= tolerance
            shown = f"{(run.memory_bytes or 0) / MIB:,.0f} MiB"
            check.holds(f"{name} memory", f"{total / MIB:,.0f} MiB", shown, ok=near, allowed=f"±{tolerance // MIB} MiB")
        share = run.utilization_percent
        fits_share = None if share is None else share > 50
        told_share = Row(what=f"{name} share of its GPUs", expected="above 50", seen=str(share), ok=fits_share)
        check.add(told_share)
        asked = gib * GIB * len(leased)
        fits = run.memory_bytes is not None and asked <= run.memory_bytes <= asked + CONTEXT_BYTES * len(leased)
        seen = f"{(run.memory_bytes or 0) / GIB:.2f} GiB"
        check.holds(f"{name} size", f"{gib * len(leased)} GiB", seen, ok=fits, allowed="+2 GiB a GPU for contexts")


def run_layout(check: Check, berth: Berth, sizes: list[int], *, first: bool) -> None:
    """Start the deployments, check them, stop them, and see their memory return."""
    from deployments.actors import Actor
    from deployments.services.lifecycle import start_deployment, stop_deployment

    label = "+".join(map(str, sizes))
    idle = {uuid: int(row["memory.used"]) * MIB for uuid, row in smi.query_gpus()[0].items()}
    started = []
    for number, gpus in enumerate(sizes):
        name = f"check-{label.replace('+', '-')}-{number}"
        make_config(name, gpus=gpus, gib=check.options.gib, folder=berth.folder, pretend=check.options.pretend)
        started.append(start_deployment(name, actor=Actor.command_line()).deployment)
    try:
        check_loading(check, started, first=first)
        with check.part(f"placement of {label}"):
            check_placement(check, started, label)
        with check.part(f"nothing is left beside {label}"):
            check_nothing_left(check, started, label, berth.folder)
        check.say("it settles")
        time.sleep(SETTLE_S if first else 4)
        with check.part(f"whose memory is whose ({label})"):
            check_attribution(check, started, check.options.gib)
        if first:
            with check.part("every field against nvidia-smi"):
                check_fields(check)
            with check.part("costs under load"):
                check_costs(check, berth)
            with check.part("side by side"):
                compare_others(check)
    finally:
        check.say("it stops")
        for it in started:
            stop_deployment(it.pk, actor=Actor.command_line())
    check_return(check, started, idle, label)


def check_loading(check: Check, started: list[Any], *, first: bool) -> None:
    """Each becomes ready, and while it loads its growing memory is told."""
    from deployments.lifecycle.phases import Phase

    steps: set[str] = set()

    def all_ready() -> bool:
        for it in started:
            it.refresh_from_db()
            if it.phase == Phase.LOADING:
                steps.add(str(it.progress.get("step", "")))
        return all(it.phase in {Phase.READY, Phase.FAILED} for it in started)

    await_true(all_ready, min(90, max(20, check.left_s - 60)))
    for it in started:
        seen = f"{it.phase} {it.reason} {it.reason_params or ''}".strip()
        check.holds(f"{it.spec['config']} is ready", "ready", seen, ok=it.phase == Phase.READY)
    if first:
        check.holds("loading told by GPU memory", "GPU memory", sorted(steps), ok="GPU memory" in steps)


def check_return(check: Check, started: list[Any], idle: dict[str, int], label: str) -> None:
    """All stopped, no lease left, and the memory as before: by nvidia-smi and by the reading."""
    from deployments.lifecycle.phases import Phase
    from deployments.models import GpuLease

    def all_stopped() -> bool:
        for it in started:
            it.refresh_from_db()
        return all(it.phase in {Phase.STOPPED, Phase.FAILED} for it in started)

    await_true(all_stopped, 45)
    for it in started:
        check.holds(f"{it.spec['config']} is stopped", "stopped", str(it.phase))
    check.holds(f"leases after {label}", 0, GpuLease.objects.count())
    time.sleep(3)
    found, told = reading(), smi.query_gpus()[0]
    for gpu in found.gpus:
        most = idle[gpu.uuid] + RETURNED_BYTES
        now, ours = int(told[gpu.uuid]["memory.used"]) * MIB, gpu.memory_used_bytes
        check.holds(
            f"GPU {gpu.index} memory after {label}",
            f"{idle[gpu.uuid] / MIB:,.0f} MiB",
            f"{now / MIB:,.0f} and {(ours or 0) / MIB:,.0f} MiB",
            ok=now <= most and ours is not None and ours <= most,
            allowed="+64 MiB",
        )
    check.holds(f"runs after {label}", [], [run.run_name for run in found.runs])


def check_costs(check: Check, berth: Berth) -> None:
    """The agent's processor time at 1 Hz, and each question's time."""
    from tests.gpu.costs import measure, processor_percent

    percent = processor_percent(berth.agent(), check.options.seconds)
    check.facts["agent_percent_under_load"] = percent
    check.holds("agent, share of a processor", "under 5 %", f"{percent} %", ok=percent < 5)
    costs = measure(check.options.seconds).to_json()
    check.facts["costs"] = costs
    gpus = max(1, len(check.facts.get("reading", {}).get("gpus", [])))
    check.holds("sweep of all GPUs, median", "", f"{costs['sweep_median_ms']} ms", ok=True)
    check.holds("sweep for each GPU, median", "", f"{costs['sweep_median_ms'] / gpus:.3f} ms", ok=True)
    check.holds("sweep, 95th percentile", "", f"{costs['sweep_p95_ms']} ms", ok=True)
    for name, median in costs["question_median_ms"].items():
        check.holds(f"question: {name}", "", f"{median} ms, at most {costs['question_most_ms'][name]} ms", ok=True)


def compare_others(check: Check) -> None:
    """The values of the others are for the record; judged is what it costs to ask for the fields that all have."""
    from tests.gpu.others import side_by_side

    found = side_by_side()
    now = reading()
    found["berth"] = {
        "gpus": {
            gpu.uuid: {
                "memory_mib": round((gpu.memory_used_bytes or 0) / MIB),
                "utilization_percent": gpu.utilization_gpu_percent,
                "temperature_celsius": gpu.temperature_gpu_celsius,
                "power_watts": gpu.power_watts,
            }
            for gpu in now.gpus
        },
        "median_ms": check.facts.get("costs", {}).get("sweep_median_ms"),
    }
    questions = check.facts.get("costs", {}).get("question_median_ms", {})
    if set(SAME_FIELDS) <= set(questions):
        cost = round(sum(questions[name] for name in SAME_FIELDS) * len(now.gpus), 3)
        found["berth"]["same_fields_ms"] = cost
        slower = {name: told["median_ms"] for name, told in found.items() if name != "berth" and "median_ms" in told}
        cheaper = all(cost < other for other in slower.values())
        told = ", ".join(f"{name} {other} ms" for name, other in slower.items())
        check.holds("cost of these four fields", f"less than {told}", f"{cost} ms", ok=cheaper or not slower)
    check.facts["side_by_side"] = found
    for name, values in found.items():
        told = values.get("skipped") or f"{values['median_ms']} ms: {list(values['gpus'].values())}"
        check.add(Row(what=name, expected="", seen=told, ok=None))


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Check the GPU telemetry on a machine with NVIDIA GPUs.")
    parser.add_argument("--out", default="gpu-check", help="folder for the two results")
    parser.add_argument("--gib", type=int, default=8, help="what each process takes on each of its GPUs")
    parser.add_argument("--seconds", type=int, default=20, help="how long costs are measured")
    parser.add_argument("--budget-s", type=int, default=330, help="no new part is begun after this")
    parser.add_argument(
        "--layout",
        action="append",
        type=lambda text: [int(part) for part in text.split("+")],
        help="GPUs of deployments that run at once, as 4+2+2; may be repeated; else all that have room",
    )
    parser.add_argument("--pretend", default="", help="folder of a stand-in driver, for a machine without GPUs")
    parser.add_argument("--verbose", action="store_true", help="print what Berth says")
    return parser.parse_args()


def check_host(check: Check, berth: Berth, gpus: int) -> None:
    """Everything, on a Berth that runs."""
    since = time.time()
    seen = await_true(lambda: (found := reading()) is not None and len(found.gpus) == gpus, 30)
    check.holds("GPUs are seen", gpus, len(reading().gpus) if reading() else 0, ok=seen)
    with check.part("costs at rest"):
        from tests.gpu.costs import processor_percent

        time.sleep(5)  # its start is no rest
        check.facts["agent_percent_at_rest"] = processor_percent(berth.agent(), check.options.seconds / 2)
        seen_percent = f"{check.facts['agent_percent_at_rest']} %"
        check.holds("agent at rest, share of a processor", "", seen_percent, ok=True)
    with check.part("NVLinks"):
        check_topology(check)
    for position, sizes in enumerate(check.options.layout or layouts(gpus)):
        if position and check.left_s < 60:
            check.add(Row(what=f"deployments of {sizes}", expected="", seen="", ok=None, note="no time left"))
            continue
        with check.part(f"deployments of {sizes} GPUs"):
            run_layout(check, berth, sizes, first=position == 0)
    with check.part("history of all GPUs"):
        check_history(check, since=since)
    with check.part("pages of all GPUs"):
        check_pages(check, gpus)
    check.holds("processes of Berth that ended", [], berth.ended())


def main() -> int:
    check = Check(read_options())
    try:
        told, _unknown = smi.query_gpus()
        check.say(f"{len(told)} GPUs: {', '.join(sorted({row['name'] for row in told.values()}))}")
        check.say("Berth starts")
        with Berth(verbose=check.options.verbose) as berth:
            check_host(check, berth, len(told))
            if any(row.ok is False for row in check.rows):
                check.say("what Berth said:\n" + "".join(berth.said[-30:]))
    except Exception as error:  # noqa: BLE001 - the result is written in any case
        check.add(Row(what="the check", expected="runs", seen=f"{type(error).__name__}: {error}"[:2000], ok=False))
    finally:
        write(check)
    wrong = sum(row.ok is False for row in check.rows)
    check.say(f"{len(check.rows)} rows, {wrong} wrong; see {check.options.out}/gpu-check.md")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
