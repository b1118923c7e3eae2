"""Comparisons as pages read them. Query counts are constant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Count, Prefetch, Q, QuerySet

from .models import Comparison, ComparisonBatch, ComparisonCell, ComparisonRound, Picture
from .selectors_chat import MessageFacts, message_facts, picture_facts
from .services.comparisons import no_such_comparison

LISTED: Final = 50
_SHOWN_PROMPT: Final = 120


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """A column; ``wins`` is how often it was voted best."""

    id: int
    config: str
    settings: dict[str, Any]
    wins: int


@dataclass(frozen=True, kw_only=True)
class RoundLine:
    """A round as it stands in the list of rounds."""

    id: int
    prompt: str
    vote: str
    best: int | None


@dataclass(frozen=True, kw_only=True)
class RoundFacts:
    """A round that is looked at: its whole prompt with its pictures, and the answers by column in their order."""

    id: int
    prompt: str
    pictures: list[dict[str, Any]]
    vote: str
    best: int | None
    answers: list[MessageFacts]


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """The last set of prompts; ``asked`` of ``total`` have begun."""

    state: str
    state_words: str
    error: str
    asked: int
    total: int


@dataclass(frozen=True, kw_only=True)
class ComparisonState:
    """What the page's modules begin with, and read again while a batch goes on."""

    comparison: int | None
    columns: list[ColumnFacts]
    rounds: list[RoundLine]
    round: RoundFacts | None
    batch: BatchFacts | None


def comparisons_of(user_id: int) -> QuerySet[Comparison]:
    """The newest comparisons of a person."""
    return Comparison.objects.filter(owner_id=user_id)[:LISTED]


def find_comparison(comparison_id: int, user_id: int) -> Comparison:
    """A comparison of this person. Raises NotFoundError, for anybody else's too."""
    found = Comparison.objects.filter(pk=comparison_id, owner_id=user_id).first()
    if found is None:
        raise no_such_comparison()
    return found


def comparison_state(comparison: Comparison | None, *, round_id: int | None = None) -> ComparisonState:
    """Everything, with the answers of one round: ``round_id``, else the newest. Seven queries.

    Raises NotFoundError for a round of another comparison.
    """
    if comparison is None:
        return ComparisonState(comparison=None, columns=[], rounds=[], round=None, batch=None)
    wins = Count("pk", filter=Q(vote=ComparisonRound.Vote.BEST))
    won = dict(comparison.rounds.order_by().values_list("best").annotate(n=wins))
    columns = [
        ColumnFacts(id=each.pk, config=each.config, settings=each.settings, wins=won.get(each.pk, 0))
        for each in comparison.columns.all()
    ]
    lines = [_line(each) for each in comparison.rounds.all()]
    wanted = round_id or (lines[-1].id if lines else None)
    return ComparisonState(
        comparison=comparison.pk,
        columns=columns,
        rounds=lines,
        round=None if wanted is None else _round(comparison, wanted),
        batch=_batch(comparison),
    )


def exported_rounds(comparison: Comparison) -> Iterable[ComparisonRound]:
    """Every round with its cells, their answers and columns: two queries."""
    cells = ComparisonCell.objects.select_related("answer__message", "column")
    return comparison.rounds.prefetch_related(Prefetch("cells", queryset=cells))


def _line(each: ComparisonRound) -> RoundLine:
    prompt = " ".join(each.prompt[: _SHOWN_PROMPT * 2].split())[:_SHOWN_PROMPT]
    return RoundLine(id=each.pk, prompt=prompt, vote=each.vote, best=each.best_id)


def _round(comparison: Comparison, round_id: int) -> RoundFacts:
    without_bytes = Picture.objects.defer("content")
    shown = [Prefetch(f"answer__message__{of}pictures", queryset=without_bytes) for of in ("", "parent__")]
    cells = ComparisonCell.objects.select_related("answer__message__parent", "column").prefetch_related(*shown)
    found = comparison.rounds.filter(pk=round_id).prefetch_related(Prefetch("cells", queryset=cells)).first()
    if found is None:
        raise no_such_comparison()
    messages = [cell.answer.message for cell in found.cells.all()]
    said = messages[0].parent if messages else None
    return RoundFacts(
        id=found.pk,
        prompt=found.prompt,
        pictures=[picture_facts(picture) for picture in said.pictures.all()] if said else [],
        vote=found.vote,
        best=found.best_id,
        answers=[message_facts(message) for message in messages],
    )


def _batch(comparison: Comparison) -> BatchFacts | None:
    found = ComparisonBatch.objects.filter(comparison=comparison).annotate(asked=Count("rounds")).first()
    if found is None:
        return None
    return BatchFacts(
        state=found.state,
        state_words=found.get_state_display(),
        error=found.error,
        asked=found.asked,
        total=len(found.prompts),
    )
