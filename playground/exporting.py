"""A branch of a conversation as a file: Markdown for people, JSON for programs."""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import gettext as _

from playground.models import Message
from playground.selectors_chat import Branch, message_facts

from .json_views import plain


def as_json(branch: Branch) -> dict[str, Any]:
    """Everything of the branch but the bytes of pictures."""
    conversation = branch.conversation
    return {
        "title": str(conversation),
        "begun": conversation.created_at.isoformat(),
        "messages": [plain(message_facts(message)) for message in branch.messages],
    }


def as_markdown(branch: Branch) -> str:
    """The branch as people read it. What was said is Markdown already; reasoning and calls are quoted and fenced."""
    parts = [f"# {branch.conversation}"]
    for message in branch.messages:
        parts += _said_by_person(message) if message.role == Message.Role.USER else _said_by_model(message)
    return "\n\n".join(part for part in parts if part) + "\n"


def file_name(branch: Branch, suffix: str) -> str:
    """A name without anything that a file system or a header minds."""
    stem = re.sub(r"[^\w-]+", "-", str(branch.conversation)).strip("-_")[:60]
    return f"{stem or 'conversation'}.{suffix}"


def _said_by_person(message: Message) -> list[str]:
    pictures = [f"*{_('Picture')}: {picture}*" for picture in message.pictures.all()]
    return [f"## {_('You')}", *pictures, message.content]


def _said_by_model(message: Message) -> list[str]:
    answer = message.answer
    parts = [f"## {answer.config}"]
    if answer.reasoning:
        parts.append("\n".join(f"> {line}" for line in [f"*{_('Reasoning')}*", "", *answer.reasoning.splitlines()]))
    parts.append(message.content)
    for call in answer.tool_calls:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", call["arguments"])), 3)
        parts.append(f"{fence}json\n{call['name']}({call['arguments']})\n{fence}")
    if answer.error:
        parts.append(f"*{answer.get_state_display()}: {answer.error}*")
    return parts
