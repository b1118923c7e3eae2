"""``scripts/gpu_check.py`` from beginning to end on a stand-in driver: real Berth, real processes, pretended memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.telemetry.nvml_values import LIMITER_BITS
from deployments.gpu_readings import GpuReading
from tests.gpu.placement import fewest_islands, layouts
from tests.gpu.smi import MIB, compare

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "tests" / "fakes" / "driver"

TOLD = {
    "uuid": "GPU-a",
    "index": "0",
    "name": "NVIDIA H200",
    "driver_version": "580",
    "clocks_event_reasons.active": "0x0000000000000004",
    "memory.total": "143771",
    "memory.used": "100",
    "memory.free": "143671",
    "memory.reserved": "615",
    "power.draw": "500.0",
    "pstate": "P0",
    "fan.speed": "[N/A]",
    "remapped_rows.correctable": "1",
    "remapped_rows.uncorrectable": "2",
}


def wrong(**changes: object) -> list[str]:
    """The fields that are said to differ."""
    values = {
        "name": "NVIDIA H200",
        "memory_total_bytes": 143771 * MIB,
        "memory_used_bytes": 100 * MIB + 700_000,
        "memory_free_bytes": 143671 * MIB,
        "memory_reserved_bytes": 615 * MIB,
        "power_watts": 520.0,
        "performance_state": 0,
        "remapped_rows": 3,
        "limiters": ("power_cap",),
        "limited_s": {"power_cap": 5},
        "sm_active_percent": 99.0,
        "tensor_active_percent": 0.0,
        "dram_active_percent": 1.0,
        "energy_joules": 7.0,
        "missing": {"fan_percent": "not_supported"},
    }
    reading = GpuReading(uuid="GPU-a", index=0, **{**values, **changes})  # type: ignore[arg-type]
    return [row.what.removeprefix("GPU 0 ") for row in compare(reading, reading, TOLD) if row.ok is False]


def test_what_agrees_within_its_tolerance_is_right() -> None:
    assert wrong() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"memory_used_bytes": 104 * MIB}, "memory_used_bytes"),
        ({"memory_used_bytes": None}, "memory_used_bytes"),
        ({"power_watts": 300.0}, "power_watts"),
        ({"performance_state": 2}, "performance_state"),
        ({"fan_percent": 0.0}, "fan_percent"),
        ({"missing": {}}, "fan_percent"),
        ({"remapped_rows": 2}, "remapped_rows"),
        ({"limiters": ("idle",)}, "limiters"),
        ({"sm_active_percent": 3.0}, "sm_active_percent"),
        ({"state": "degraded"}, "state"),
    ],
)
def test_what_differs_is_wrong(changes: dict[str, object], field: str) -> None:
    assert wrong(**changes) == [field]


def test_as_many_layouts_as_the_gpus_allow() -> None:
    assert layouts(1) == [[1]]
    assert layouts(2) == [[1, 1], [2]]
    assert layouts(4) == [[1, 1, 1, 1], [4], [2, 1, 1], [2, 2]]
    assert layouts(8) == [[1] * 8, [8], [4, 2, 2], [2, 2, 2, 2], [4, 4]]
    assert len(LIMITER_BITS) == 8


def test_the_fewest_islands_that_a_size_needs() -> None:
    two_sockets = {f"GPU-{index}": f"numa {index // 4}" for index in range(8)}
    assert [fewest_islands(two_sockets, gpus) for gpus in (1, 4, 5, 8)] == [1, 1, 2, 2]


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_the_whole_check_passes_on_eight_gpus_of_a_stand_in_driver(tmp_path: Path) -> None:
    fake = tmp_path / "driver"
    fake.mkdir()
    (fake / "gpus.json").write_text('{"count": 8}')
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts" / "gpu_check.py"), "--out", str(tmp_path / "out")),
            *("--gib", "3", "--seconds", "4", "--layout", "4+2+2", "--pretend", str(fake)),
        ],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("BERTH_", "REDIS_"))},
            "PATH": f"{DRIVER}:{os.environ['PATH']}",
            "PYTHONPATH": str(DRIVER),
            "BERTH_FAKE_DRIVER": str(fake),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=260,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    result = json.loads((tmp_path / "out" / "gpu-check.json").read_text())
    assert result["wrong"] == 0
    assert len(result["rows"]) > 300
    written = (tmp_path / "out" / "gpu-check.md").read_text()
    assert "| ok | GPU 7 memory_used_bytes |" in written
    assert "| ok | 4+2+2: GPUs given, no two to one | 8 | 8 |" in written
    assert "| ok | one more than 4+2+2 waits | queued gpus_held |" in written
    assert "| ok | page /gpus/ shows every GPU | 200, 8 tiles |" in written
