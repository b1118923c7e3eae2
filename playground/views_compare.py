"""Compare: the page, and what its modules ask."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from deployments.actors import TRY_MODELS, Actor, explain_missing
from deployments.exceptions import InvalidInputError, NotFoundError
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .answers.storing import interrupt_dead_answers
from .chat.settings import THINK_WORDS, read_settings
from .comparing.exporting import as_csv, as_records
from .comparing.storing import interrupt_dead_batches
from .json_views import answers_json, number_in, numbers_in, plain, takes_json, text_in, told
from .modes import modes
from .page_strings import compare_strings
from .parameters import PARAMETERS
from .selectors import chat_choices
from .selectors_compare import comparison_state, comparisons_of, find_comparison
from .services import comparisons as services
from .services.comparison_batches import begin_batch
from .services.conversations import Question
from .services.pictures import SIDES


@require_safe
@for_viewers
def compare(request: PageRequest, pk: int | None = None) -> HttpResponse:
    """The page with a new or a kept comparison. htmx gets its head."""
    comparison = None if pk is None else find_comparison(pk, request.user.pk)
    context: dict[str, Any] = {
        "comparison": comparison,
        "comparisons": comparisons_of(request.user.pk),
        "modes": modes("playground:compare"),
    }
    if wants_fragment(request):
        return render(request, "playground/compare_head.html", context)
    _mark_dead()
    may_send = Actor.person(request.user).may(TRY_MODELS)
    context |= {
        "ready": chat_choices(),
        "state": plain(comparison_state(comparison)),
        "parameters": PARAMETERS,
        "think_words": THINK_WORDS,
        "sides": SIDES,
        "strings": compare_strings(),
        "why_not": "" if may_send else explain_missing(TRY_MODELS),
    }
    return render(request, "playground/compare.html", context)


@answers_json
def compare_state(request: PageRequest, pk: int) -> object:
    """Everything again, with the round ``?round=``, else the newest."""
    wanted = request.GET.get("round", "")
    comparison = find_comparison(pk, request.user.pk)
    _mark_dead()
    round_id = int(wanted) if wanted.isdecimal() and len(wanted) < 16 else None
    return comparison_state(comparison, round_id=round_id)


@takes_json
def compare_ask(request: PageRequest) -> object:
    """Ask all columns one prompt, or a set of them; begins a comparison where none is named."""
    content, actor = told(request), Actor.person(request.user)
    questions = _questions(content.get("columns"))
    prompt, is_set = text_in(content, "prompt"), content.get("set") is True
    picture_ids = numbers_in(content, "pictures")
    if is_set and picture_ids:
        raise InvalidInputError(_("A set of prompts shows no pictures. Send them with one prompt."))
    comparison_id = number_in(content, "comparison")
    begun = None if comparison_id else services.begin_comparison(questions, actor=actor, title=prompt)
    number = comparison_id or (begun.pk if begun else 0)
    try:
        if is_set:
            begin_batch(number, prompt, actor=actor, questions=questions)
        else:
            services.ask_round(number, prompt, actor=actor, questions=questions, picture_ids=picture_ids)
    except Exception:
        # A comparison that asks nothing is not kept.
        if begun is not None:
            services.delete_comparison(begun.pk, actor=actor)
        raise
    state = comparison_state(find_comparison(number, request.user.pk))
    return {**plain(state), "url": reverse("playground:comparison", args=[number])}


@takes_json
def compare_stop(request: PageRequest, pk: int) -> object:
    """Stop every answer and the batch."""
    return {"stopped": services.stop_comparison(pk, actor=Actor.person(request.user))}


@takes_json
def compare_vote(request: PageRequest, pk: int) -> object:
    """Keep what was liked best in one round."""
    content = told(request)
    column_id = number_in(content, "column")
    voted = services.vote(pk, text_in(content, "vote"), actor=Actor.person(request.user), column_id=column_id)
    return {"vote": voted.vote, "best": voted.best_id}


@require_POST
@for_viewers
def compare_delete(request: PageRequest, pk: int) -> HttpResponseBase:
    """Delete a comparison."""
    services.delete_comparison(pk, actor=Actor.person(request.user))
    response = redirect("playground:compare")
    response.status_code = 303
    return response


@require_safe
@for_viewers
def compare_export(request: PageRequest, pk: int, kind: str) -> HttpResponseBase:
    """Every answer with its figures and votes, as CSV or JSON."""
    comparison = find_comparison(pk, request.user.pk)
    response: HttpResponse
    if kind == "csv":
        response = HttpResponse(as_csv(comparison), content_type="text/csv; charset=utf-8")
    elif kind == "json":
        content = {"title": str(comparison), "answers": list(as_records(comparison))}
        response = JsonResponse(content, json_dumps_params={"ensure_ascii": False, "indent": 1})
    else:
        raise NotFoundError(_("Comparisons are exported as CSV (csv) and as JSON (json)."))
    response.headers["Content-Disposition"] = f'attachment; filename="comparison-{comparison.pk}.{kind}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _mark_dead() -> None:
    interrupt_dead_answers()
    interrupt_dead_batches()


def _questions(columns: object) -> list[Question]:
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise InvalidInputError(_("%(name)s has to be a list.") % {"name": "columns"})
    return [
        Question(config=text_in(column, "config"), settings=read_settings(column.get("settings") or {}))
        for column in columns[: services.MOST_COLUMNS + 1]
    ]
