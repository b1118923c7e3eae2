"""What a requirement asks for, in the names of the load test's targets. Pure."""

from __future__ import annotations

from deployments.deliveries.requirement import Requirement
from playground.loadtests.settings import MOST_CONCURRENCY, LoadSettings
from playground.loadtests.verdicts import TargetName

#: Field of a requirement's targets -> the load test's name of it. Tokens are those of one answer.
NAMES: dict[str, TargetName] = {
    "requests_per_s": "requests_per_s",
    "concurrent_users": "concurrent_users",
    "first_token_ms": "first_token_ms",
    "tokens_per_s": "stream_tokens_per_s",
    "context_tokens": "context_length",
}


def targets_of(requirement: Requirement) -> dict[TargetName, float]:
    """Those that are set."""
    wanted = {name: getattr(requirement.targets, field) for field, name in NAMES.items()}
    return {name: float(value) for name, value in wanted.items() if value}


def settings_for(requirement: Requirement, *, kind: str, direct: bool) -> LoadSettings:
    """A ramp up to the wanted number of users, with a prompt that fills the wanted context."""
    users = min(requirement.targets.concurrent_users or 4, MOST_CONCURRENCY)
    doubled = [2**power for power in range(10) if 2**power < users]
    return LoadSettings(
        kind=kind,
        concurrency=(*doubled, users),
        direct=direct,
        context_length=requirement.targets.context_tokens or 0,
    )
