"""Stable Diffusion web UI: its module against its own documentation."""

from __future__ import annotations

from tests.deployments.engines.contract import Contract


class TestSdWebui(Contract):
    name = "sd-webui"
