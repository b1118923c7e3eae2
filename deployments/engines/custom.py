"""Any other server: a config's arguments are the whole command."""

from __future__ import annotations

from deployments.spec import ServingSpec

from .argument_style import ArgumentStyle
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
    arguments=ArgumentStyle(
        is_template=False,
        # Whatever server it is, it probably spells them as one of these.
        tensor_parallel=("--tensor-parallel-size", "--tp", "--tp-size", "--num-shard"),
        context=("--max-model-len", "--session-len", "--context-length", "--max-total-tokens"),
        served_name=("--served-model-name", "--model-name", "--alias"),
    ),
    ask=by_protocol,
    bar_unit="steps",
)
