"""What a requirement asks for, in the names of the load test's targets. Pure."""

from __future__ import annotations

from deployments.deliveries.requirement import AskedProtocol, Requirement, Task
from playground.loadtests.asking import kinds_for
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


#: How clients will speak to it -> the load test's kind of that.
_KINDS = {AskedProtocol.TGI.value: "tgi", AskedProtocol.OLLAMA_TEXT.value: "ollama"}


def targets_of(requirement: Requirement) -> dict[TargetName, float]:
    """Those that are set."""
    wanted = {name: getattr(requirement.targets, field) for field, name in NAMES.items()}
    return {name: float(value) for name, value in wanted.items() if value}


def kind_for(requirement: Requirement, protocol: str, engine: str) -> str:
    """What a config of this protocol and engine is loaded with: as it was asked for, else as it usually is."""
    kinds = kinds_for(protocol, engine)
    wanted = "embeddings" if requirement.task == Task.EMBEDDING else _KINDS.get(requirement.protocol, "")
    return wanted if wanted in kinds else kinds[0]


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
