"""``make bench``: the figures of the README, measured on this machine and printed as a table.

Everything is done as a user does it: a clean clone in an empty folder, ``make run``, HTTP, a real model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from .at_rest import at_rest_figures
from .catalogue_page import page_figures
from .containers import container_rows
from .gateway import gateway_rows
from .gpu_history import gpu_history_rows
from .gpu_pages import gpu_page_rows
from .gpu_sockets import gpu_socket_figures, gpu_socket_rows
from .installation import Installation, memory_by_process
from .load_generator import load_generator_rows
from .main_job import first_token_figures
from .playground import playground_rows
from .usage import usage_rows

Row = tuple[str, str, str]
CONTAINER_ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of start, first token and stop")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
        installation = Installation(Path(folder))
        installation.clone()
        rows.append(("clone to ready, warm package caches", f"{installation.up():.1f} s", ""))
        installation.down()
        again = [installation.up_and_down() for _ in range(3)]
        rows.append(("ready again, already set up", f"{statistics.median(again):.1f} s", "5 s"))
        installation.up()
        try:
            memory = memory_by_process(installation.pid)
            rows.append(("memory at rest, all processes (PSS)", f"{sum(memory.values()):.0f} MB", "600 MB"))
            rows.extend((f"  {name}", f"{size:.0f} MB", "") for name, size in memory.items())
            figures = first_token_figures(installation, rounds=options.rounds)
            rows.append(("bare server: launched to first token", f"{figures.bare_s:.2f} s", ""))
            rows.append(("Start pressed to first token", f"{figures.berth_s:.2f} s", f"{figures.bare_s + 1:.2f} s"))
            rows.extend(container_rows(installation, rounds=CONTAINER_ROUNDS))
            page = page_figures(installation)
            rows.append(("catalogue page, 0 past deployments: p50", f"{page.empty_ms:.0f} ms", ""))
            rows.append(("catalogue page, 1,000 past deployments: p95", f"{page.full_p95_ms:.0f} ms", "100 ms"))
            rows.append(("  database queries, with 0 and with 1,000", f"{page.queries}", "constant"))
        finally:
            installation.down()
        installation.settings = {"BERTH_GPU_SOURCE": "replay:h200x4"}
        installation.up()
        try:
            rows.extend(gpu_page_rows(installation))
        finally:
            installation.down()
    rows.extend(gpu_history_rows())
    rows.extend(gpu_socket_rows(gpu_socket_figures()))
    rows.extend(gateway_rows())
    rows.extend(usage_rows())
    rows.extend(load_generator_rows())
    rows.extend(playground_rows())
    rest = at_rest_figures()
    rows.append((f"{rest.deployments} deployments at rest: database queries a minute", f"{rest.queries}", ""))
    rows.append(("  CPU of sweep and worker a minute", f"{rest.cpu_s:.1f} s", ""))
    width = max(len(row[0]) for row in rows)
    print(f"{'figure':{width}}  {'measured':>12}  target")
    for name, value, target in rows:
        print(f"{name:{width}}  {value:>12}  {target}")
    Path(".build/bench.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
