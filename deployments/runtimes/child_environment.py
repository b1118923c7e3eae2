"""The environment of a kept process: clean, so that nothing of Berth's own reaches a model server."""

from __future__ import annotations

import os

from .base import RunSpec

#: What a process inherits from Berth, with what it gets where Berth itself has none.
INHERITED = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",  # noqa: S108 - a home of last resort
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - the system's own default
}


def child_environment(run: RunSpec) -> dict[str, str]:
    """The few variables that every program expects, the run's GPUs, and what the run itself asks for."""
    environment = {name: os.environ.get(name) or default for name, default in INHERITED.items()}
    # Without GPUs of its own a process must not touch those that others were given.
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(run.gpu_uuids)
    environment.update(run.environment)
    return environment
