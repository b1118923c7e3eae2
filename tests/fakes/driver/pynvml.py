"""A stand-in for the module pynvml that other processes can import: put this folder on PYTHONPATH.

``BERTH_FAKE_DRIVER`` names a folder: ``gpus.json`` has the count of GPUs, and each process of
:mod:`tests.gpu.load` with ``--pretend`` a file with what it holds. What has ended holds nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def _fakes() -> Any:
    path = Path(__file__).parent.parent / "nvml.py"
    spec = importlib.util.spec_from_file_location("berth_fake_nvml", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


#: SMs, tensor cores, memory: of a program that computes in registers.
ACTIVE = {2: 99.0, 5: 0.0, 10: 1.0}
_nvml = _fakes()
_folder = Path(os.environ["BERTH_FAKE_DRIVER"])
_count = int(json.loads((_folder / "gpus.json").read_text())["count"])
_gpus = [_nvml.FakeGpu(uuid=f"GPU-fake-{n}", links=("switch",), gpm=ACTIVE) for n in range(_count)]
_driver = _nvml.FakeNvml(*_gpus)
NVMLError = _nvml.NVMLError
nvmlMemory_v2 = _driver.nvmlMemory_v2  # noqa: N816 - the library's name


def refresh() -> None:
    """Read what the processes hold now."""
    for gpu in _driver.gpus:
        gpu.compute, gpu.used, gpu.gpu_percent, gpu.limiters, gpu.sm_mhz = [], 0, 0, 1, 345
    for path in sorted(_folder.glob("[0-9]*.json")):
        held = json.loads(path.read_text())
        if not Path(f"/proc/{held['pid']}").exists():
            continue
        for gpu in _driver.gpus:
            if gpu.uuid in held["uuids"]:
                gpu.compute.append(SimpleNamespace(pid=held["pid"], usedGpuMemory=held["bytes"]))
                gpu.used += held["bytes"]
                gpu.gpu_percent, gpu.limiters, gpu.sm_mhz = 100, 4, 1980


def nvmlDeviceGetMemoryInfo(gpu: Any, version: int | None = None) -> Any:  # noqa: N802 - the library's name
    """The first question of each second."""
    refresh()
    return _driver.nvmlDeviceGetMemoryInfo(gpu, version)


def __getattr__(name: str) -> Any:
    return getattr(_driver, name)
