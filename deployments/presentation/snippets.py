"""Ready-made requests to a deployment, to be copied."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.conf import settings

from deployments.models.catalogue import Protocol


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A tool's name, its highlighting language, and the text to copy."""

    key: str
    title: str
    text: str


def snippets_for(config: str, protocol: str) -> list[Snippet]:
    """How to ask ``config`` with curl, Python and the command line; a key is read from ``$BERTH_API_KEY``."""
    snippets = [Snippet(key="cli", title="berth", text=_cli(config, protocol))]
    if protocol == Protocol.OPENAI_TEXT:
        snippets = [
            Snippet(key="curl", title="curl", text=_curl(config)),
            Snippet(key="python", title="Python", text=_python(config)),
            *snippets,
        ]
    return snippets


def _curl(config: str) -> str:
    body = json.dumps({"model": config, "messages": [{"role": "user", "content": "Hello"}], "stream": True})
    return (
        f"curl -N {settings.BERTH_GATEWAY_URL}/v1/chat/completions \\\n"
        '  -H "Authorization: Bearer $BERTH_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )


def _python(config: str) -> str:
    return (
        "import os\n"
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{settings.BERTH_GATEWAY_URL}/v1", api_key=os.environ["BERTH_API_KEY"])\n'
        "answer = client.chat.completions.create(\n"
        f'    model="{config}",\n'
        '    messages=[{"role": "user", "content": "Hello"}],\n'
        ")\n"
        "print(answer.choices[0].message.content)"
    )


def _cli(config: str, protocol: str) -> str:
    if protocol == Protocol.OPENAI_IMAGE:
        return f'berth request {config} "A lighthouse at dawn" --protocol {protocol} --out picture.png'
    asked_as = "" if protocol == Protocol.OPENAI_TEXT else f" --protocol {protocol}"
    return f'berth request {config} "Hello"{asked_as}'
