"""How far a model is loaded when its engine does not say: by how much GPU memory it holds already."""

from __future__ import annotations

from .gpu_readings import latest_readings
from .models import Deployment
from .progress import Progress

#: As a page names what is counted.
STEP = "GPU memory"


def memory_progress(deployment: Deployment) -> Progress | None:
    """Its own memory against what is expected, in bytes; None when one of both is not known. Never raises."""
    if deployment.node is None or not deployment.gpu_uuids:
        return None
    reading = latest_readings([deployment.node.name]).get(deployment.node.name)
    runs = {run.run_name: run for run in reading.runs} if reading is not None else {}
    run = runs.get(deployment.run_name)
    if run is None or run.memory_bytes is None or not run.expected_bytes:
        return None
    return Progress(step=STEP, done=float(run.memory_bytes), total=float(run.expected_bytes), unit="B")
