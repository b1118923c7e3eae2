"""What the tests of Compose files share."""

from __future__ import annotations

from pathlib import Path

from deployments.compose.importing import propose, read_compose
from deployments.compose.proposal import KnownModels, Proposal, Weight

FILES = Path(__file__).parent / "compose_files"
SECRETS = ("HF_TOKEN",)
MODELS = KnownModels(
    names=("Llama-3.1-8B", "Qwen2-72B", "Gemma-3-4B"),
    by_repository={"mistralai/Mistral-7B-Instruct-v0.3": "Mistral 7B"},
)


def imported(text: str | bytes, service: str = "", **variables: str) -> Proposal:
    """The proposal for a service of a file; the likeliest one when none is named."""
    file = read_compose(text, variables=variables)
    return propose(file, service or file.likely, models=MODELS, known_secrets=SECRETS)


def model_service(lines: str) -> str:
    """A file with one vLLM service that has further keys, each on a line of its own."""
    keys = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"services:\n  llm:\n    image: vllm/vllm-openai:v0.9.1\n{keys}"


def left(proposal: Proposal, weight: Weight | None = None) -> set[str]:
    """The keys that were not carried over, of one weight or all."""
    return {item.key for item in proposal.left_out if weight in {None, item.weight}}
