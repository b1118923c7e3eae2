"""What the tests of deliveries share: people, a delivery, a requirement."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.actors import Actor
from deployments.deliveries import steps
from deployments.deliveries.requirement import Hardware, Requirement, Targets
from deployments.models import Delivery
from deployments.services.deliveries import create_delivery

OPS = Actor(name="ops1", via="cli")


def make_delivery(name: str = "smollm-service", **columns: Any) -> Delivery:
    """A delivery that ``ops1`` began."""
    return create_delivery(name, actor=OPS, **columns)


def make_requirement(**changes: Any) -> Requirement:
    """Llama 3 8B on one H100 for sixteen people, with some fields different."""
    wanted: dict[str, Any] = {
        "model": "Llama3-8B",
        "repository": "meta-llama/Meta-Llama-3-8B-Instruct",
        "revision": "main",
        "architecture": "LlamaForCausalLM",
        "parameters_b": 8.03,
        "layers": 32,
        "kv_heads": 8,
        "head_dimension": 128,
        "hardware": Hardware(gpu="NVIDIA H100 80GB HBM3", count=1, memory_gib=80),
        "targets": Targets(concurrent_users=16, context_tokens=8192),
    }
    return Requirement(**{**wanted, **changes})


def only_step(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Leave the stepper one step, so that a page's pinned queries are its own, whatever other steps look at."""
    monkeypatch.setattr(steps, "STEPS", [step for step in steps.STEPS if step.name == name])
