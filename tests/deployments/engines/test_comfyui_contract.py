"""ComfyUI: its module against its own documentation."""

from __future__ import annotations

from tests.deployments.engines.contract import Contract


class TestComfyui(Contract):
    name = "comfyui"
