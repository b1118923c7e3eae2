"""The program that Docker asks for GPUs.

Docker offers GPUs when it finds NVIDIA's hook on its PATH, and runs that before each container that asked for one.
"""

from __future__ import annotations

from pathlib import Path

HOOK = "nvidia-container-runtime-hook"


def write_hook(folder: Path) -> Path:
    """Write a hook that changes nothing; returns ``folder``, to put on an engine's PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    hook = folder / HOOK
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    return folder
