"""A host of eight GPUs: the recording of four, stretched, through poller, history and pages."""

from __future__ import annotations

import gzip
import json
from html import unescape
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.telemetry.attribution import Attribution
from dashboard.telemetry.poller import GpuPoller
from dashboard.telemetry.replay import Recording
from dashboard.telemetry.source import ReplaySource
from deployments.gpu_history import CHARTED, series_json
from deployments.gpu_readings import NodeReading, latest_readings
from deployments.models import Gpu, Node
from tests.deployments.editing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]
RECORDING = Path(__file__).parent.parent / "recordings" / "h200x4.jsonl"
#: When all of the recording's processes hold memory.
BUSY_S = 2.0
#: What a phone gets of a page, compressed: the words are the most of it.
MOST_PAGE_BYTES = 16_000


def stretched(path: Path, *, gpus: int) -> Path:
    """The recording with so many GPUs: each copy is a GPU of its own, with its own processes."""
    lines = []
    for text in RECORDING.read_text(encoding="utf-8").splitlines():
        moment = json.loads(text)
        known = moment["gpus"]
        moment["gpus"] = [
            {
                **known[index % len(known)],
                "index": index,
                "uuid": f"GPU-00000000-0000-4000-8000-{index:012d}",
                "pci_bus_id": f"00000000:00:{index + 6:02X}.0",
                "processes": [
                    {**one, "pid": one["pid"] + 1000 * index} for one in known[index % len(known)]["processes"]
                ],
            }
            for index in range(gpus)
        ]
        lines.append(json.dumps(moment))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def play(path: Path) -> NodeReading:
    """Let the agent's poller read its beginning and a busy moment."""
    now = iter((0.0, BUSY_S))
    source = ReplaySource(recording=Recording.read(path), name=path.name, clock=lambda: next(now))
    poller = GpuPoller("gpu-01", source=source, attribution=Attribution("gpu-01", dict))
    poller.tick()
    poller.tick()
    return latest_readings(["gpu-01"])["gpu-01"]


@pytest.fixture
def eight(tmp_path: Path) -> NodeReading:
    Node.objects.create(name="gpu-01")
    return play(stretched(tmp_path / "h200x8.jsonl", gpus=8))


@pytest.fixture
def viewer() -> Client:
    return signed_in("vera", "viewer")


def page(client: Client, address: str) -> tuple[str, int]:
    """A page's text, and its compressed size in bytes."""
    content = client.get(address).content
    return unescape(content.decode()), len(gzip.compress(content))


def test_each_of_eight_is_measured_and_has_its_own_processes(eight: NodeReading) -> None:
    assert [gpu.index for gpu in eight.gpus] == list(range(8))
    assert len({gpu.uuid for gpu in eight.gpus}) == Gpu.objects.count() == 8
    pids = [process.pid for gpu in eight.gpus for process in gpu.processes or ()]
    assert len(pids) == len(set(pids)) == 8


@pytest.mark.parametrize("address", ["/", "/gpus/", "/gpus/?kiosk=1"])
def test_eight_tiles_in_order_on_a_page_that_is_no_burden(eight: NodeReading, viewer: Client, address: str) -> None:
    text, size = page(viewer, address)
    places = [text.index(f'data-uuid="{gpu.uuid}"') for gpu in eight.gpus]
    assert places == sorted(places)
    assert text.count('<li class="tile tile-') == 8
    assert size < MOST_PAGE_BYTES


def test_eight_gpus_cost_no_more_queries_than_four(tmp_path: Path, viewer: Client) -> None:
    Node.objects.create(name="gpu-01")
    counts = []
    for gpus in (4, 8):
        play(stretched(tmp_path / f"{gpus}.jsonl", gpus=gpus))
        with CaptureQueriesContext(connection) as captured:
            assert page(viewer, "/gpus/")[0].count('<li class="tile tile-') == gpus
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_each_of_eight_has_its_history(eight: NodeReading) -> None:
    for gpu in eight.gpus:
        for name in CHARTED:
            told = json.loads(series_json(gpu.uuid, node="gpu-01", range_name=name))
            assert sum(told["samples"]) == 2
            highest = told["fields"]["memory_used_bytes"].get("max") or told["fields"]["memory_used_bytes"]["mean"]
            assert max(highest) == gpu.memory_used_bytes
