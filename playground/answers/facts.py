"""An answer as pages read it."""

from __future__ import annotations

from typing import Any, TypedDict

from playground.models import Answer


class AnswerFacts(TypedDict):
    """JSON of an answer. Times are milliseconds; ``rate`` is tokens a second, counted by pieces where ``about``."""

    answer: int
    state: str
    live: bool
    sequence: int
    text: str
    reasoning: str
    calls: list[dict[str, Any]]
    config: str
    protocol: str
    settings: dict[str, Any]
    finish: str
    error: str
    error_code: str
    facts: dict[str, Any]


#: What the line under an answer shows, as far as it is known.
_LINE = ("deployment_id", "replica", "request_id", "queue_ms", "start_ms", "first_token_ms", "duration_ms")
_TOKENS = ("prompt_tokens", "completion_tokens", "step", "steps", "seed")


def facts_of(answer: Answer) -> AnswerFacts:
    """``answer`` with its message, which should be loaded."""
    line = {name: getattr(answer, name) for name in (*_LINE, *_TOKENS)}
    rate = answer.tokens_per_s
    if rate is not None:
        line |= {"rate": round(rate, 2), "about": answer.completion_tokens is None}
    return AnswerFacts(
        answer=answer.pk,
        state=answer.state,
        live=answer.is_live,
        sequence=answer.sequence,
        text=answer.message.content,
        reasoning=answer.reasoning,
        calls=answer.tool_calls,
        config=answer.config,
        protocol=answer.protocol,
        settings=answer.settings,
        finish=answer.finish_reason,
        error=answer.error,
        error_code=answer.error_code,
        facts={name: value for name, value in line.items() if value not in (None, "")},
    )
