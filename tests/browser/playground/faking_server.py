"""Runs the fakes of image engines as a process of their own, slowly enough that their steps are seen."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

# Run as a script, by a process that knows nothing of tests.
sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.fakes.comfyui import FakeComfyUi
from tests.fakes.webui import FakeWebUi

STEPS = 8
STEP_S = 0.25
FAKES = {"comfyui": FakeComfyUi, "sd-webui": FakeWebUi}


async def serve(engine: str, port: int) -> None:
    """Until the process is ended."""
    async with FAKES[engine](port=port, steps=STEPS, step_s=STEP_S):
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=FAKES, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.engine, options.port))
