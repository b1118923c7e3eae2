"""Any other server: a config's arguments are the whole command."""

from __future__ import annotations

from deployments.spec import ServingSpec

from .probes import by_protocol
from .served import ServedEngine


class Custom(ServedEngine):
    """Has no command of its own."""

    def process_command(self, spec: ServingSpec) -> tuple[str, ...]:
        """Nothing: the config's arguments begin with the command."""
        return ()


ENGINE = Custom(
    name="custom",
    title="Custom server",
    default_image="",
    default_port=8000,
    default_readiness_path="/health",
    protocols=("openai-text", "ollama-text", "openai-image"),
    ask=by_protocol,
    bar_unit="steps",
)
