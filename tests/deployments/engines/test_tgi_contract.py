"""Text Generation Inference: its module against its own documentation."""

from __future__ import annotations

from tests.deployments.engines.contract import Contract


class TestTgi(Contract):
    name = "tgi"
