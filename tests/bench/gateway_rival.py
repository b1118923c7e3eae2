"""LiteLLM's proxy before the same upstream: one worker, a key, no database, as its own documentation starts it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import yaml

from tests.ports import free_port

from .gateway import ROOT, Bench, until_answering
from .gateway_load import Target

#: Made by `make bench-gateway` from requirements/rival.lock.
ENVIRONMENT = ROOT / ".build" / "rival"
START_WITHIN_S = 180.0
_KEY = "sk-bench"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A running LiteLLM; ``start_s`` is from its launch to its first answer."""

    target: Target
    process: psutil.Process
    start_s: float

    def memory_mb(self) -> float:
        """Resident memory, its children's included."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 2**20


def version() -> str:
    """Of the LiteLLM in that environment."""
    ask = "import importlib.metadata as m; print(m.version('litellm'))"
    argv = [str(ENVIRONMENT / "bin" / "python"), "-c", ask]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def rival(bench: Bench) -> Iterator[Rival]:
    """Start it on the gateway's core."""
    config = bench.folder / "litellm.yaml"
    upstream = {"model": "openai/served", "api_base": f"{bench.direct.url}/v1", "api_key": "none"}
    config.write_text(
        yaml.safe_dump(
            {
                "model_list": [{"model_name": "tiny", "litellm_params": upstream}],
                "general_settings": {"master_key": _KEY},
            }
        )
    )
    port = free_port()
    argv = [str(ENVIRONMENT / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    # Its list of prices is the one that it was published with: nothing is fetched while it starts.
    environment = {"PATH": os.environ["PATH"], "HOME": str(bench.folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    began = time.monotonic()
    with (bench.folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen([*argv, "--num_workers", "1"], env=environment, stdout=log, stderr=log)
    os.sched_setaffinity(process.pid, {bench.gateway_core})
    try:
        target = Target(url=f"http://127.0.0.1:{port}", model="tiny", key=_KEY)
        until_answering(target, within_s=START_WITHIN_S)
        start_s = time.monotonic() - began
        yield Rival(target=target, process=psutil.Process(process.pid), start_s=start_s)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
