"""What the pages of this host's GPUs weigh, and whether their history is whole."""

from __future__ import annotations

import gzip
import json
import time

from .installation import NODE
from .result import Check

#: A few seconds are lost where the agent was just starting or a sweep took long.
LEAST_SHARE = 0.9


def check_history(check: Check, *, since: float) -> None:
    """Each GPU has a sample for each second since ``since`` (epoch), and none without its memory."""
    from deployments.gpu_history import RANGES, series_json
    from deployments.gpu_readings import latest_readings

    reading = latest_readings([NODE])[NODE]
    weights: dict[str, list[int]] = {name: [] for name in RANGES}
    for gpu in reading.gpus:
        for name in RANGES:
            weights[name].append(len(gzip.compress(series_json(gpu.uuid, node=NODE, range_name=name).encode())))
        found = json.loads(series_json(gpu.uuid, node=NODE, range_name="15m"))
        seconds = min(time.time() - since, 890)
        seen = sum(at >= since for at in found["at"])
        check.holds(
            f"GPU {gpu.index} history, a sample a second",
            f"{seconds:.0f}",
            str(seen),
            ok=LEAST_SHARE * seconds <= seen <= seconds + 2,
            allowed=f"at least {LEAST_SHARE:.0%}",
        )
        known = [number is not None for number in found["fields"]["memory_used_bytes"]["mean"]]
        gaps = found["samples"].count(0)
        check.holds(f"GPU {gpu.index} history, memory known", len(known) - gaps, sum(known))
    for name, sizes in weights.items():
        check.holds(f"history {name} of all GPUs, gzip", "", f"{sum(sizes) / 1024:,.0f} KiB", ok=True)


def check_pages(check: Check, gpus: int) -> None:
    """Overview and GPU page show every GPU; what they weigh and take is for the record."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.get(is_superuser=True))
    for path in ("/", "/gpus/", "/gpus/?kiosk"):
        client.get(path)  # the first compiles its templates
        began = time.perf_counter()
        answer = client.get(path)
        took_ms = (time.perf_counter() - began) * 1000
        shown = answer.content.count(b'<li class="tile tile-')
        check.holds(f"page {path} shows every GPU", f"200, {gpus} tiles", f"{answer.status_code}, {shown} tiles")
        weight = f"{len(answer.content) / 1024:,.0f} KiB, gzip {len(gzip.compress(answer.content)) / 1024:,.0f} KiB"
        check.holds(f"page {path} weighs", "", f"{weight}, {took_ms:.0f} ms", ok=True)
