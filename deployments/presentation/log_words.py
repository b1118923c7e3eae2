"""The words around a log: how each attempt went, and why there is nothing to read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.lifecycle.reasons import explain
from deployments.models import Attempt, Deployment

from .states import look_of

#: The run went away and took what it had printed with it.
LOG_LOST = frozenset({"vanished"})
MOST_CHARACTERS = 60
#: Where the sentences of :mod:`deployments.lifecycle.reasons` say too much for a list.
SHORT = {
    "cuda_out_of_memory": gettext_lazy("CUDA out of memory"),
    "killed_by_host": gettext_lazy("killed by the host"),
    "port_in_use": gettext_lazy("port in use"),
    "gated_model": gettext_lazy("weights are gated"),
    "hub_unreachable": gettext_lazy("model hub unreachable"),
    "unknown_argument": gettext_lazy("unknown argument"),
    "bad_model_path": gettext_lazy("model not found"),
    "driver_too_old": gettext_lazy("driver too old"),
    "no_nvidia_runtime": gettext_lazy("no NVIDIA runtime"),
    "load_timeout": gettext_lazy("did not answer in time"),
    "not_answering": gettext_lazy("stopped answering"),
    "vanished": gettext_lazy("disappeared"),
    "python_error": gettext_lazy("Python error"),
    "stopped": gettext_lazy("stopped"),
    "stop_asked": gettext_lazy("stopped"),
    "restarted": gettext_lazy("restarted"),
    "restart_asked": gettext_lazy("restarted"),
}


@dataclass(frozen=True, kw_only=True)
class AttemptChoice:
    """One attempt of the list: ``attempt 2 – CUDA out of memory``."""

    number: int
    label: str
    is_chosen: bool


def attempt_choices(deployment: Deployment, attempts: Sequence[Attempt], chosen: int) -> list[AttemptChoice]:
    """All attempts, newest first. The one that is about to begin has no row yet; it is there all the same."""
    rows: dict[int, Attempt | None] = {item.number: item for item in attempts}
    rows.setdefault(deployment.attempt, None)
    return [
        AttemptChoice(number=number, label=_label(deployment, number, row), is_chosen=number == chosen)
        for number, row in sorted(rows.items(), reverse=True)
    ]


def last_ended(attempts: Sequence[Attempt], number: int) -> AttemptChoice | None:
    """The attempt before ``number``, if there was one: its log says why there is another."""
    row = next((item for item in attempts if item.number == number - 1 and item.ended_at is not None), None)
    return None if row is None else AttemptChoice(number=row.number, label=outcome_of(row), is_chosen=False)


def outcome_of(attempt: Attempt) -> str:
    """How an ended attempt went, in a few words."""
    if attempt.cause in SHORT:
        return str(SHORT[attempt.cause])
    if attempt.cause in {"exited", "exited_at_once"} or not attempt.cause:
        return exit_words(attempt) or _("has ended")
    sentence = re.split("[:：]", explain(attempt.cause, attempt.cause_params).sentence)[0].rstrip(".。")
    return sentence if len(sentence) <= MOST_CHARACTERS else f"{sentence[: MOST_CHARACTERS - 1]}…"


def exit_words(attempt: Attempt) -> str:
    """The exit code or signal of an attempt; empty when there is none."""
    if attempt.exit_code is None:
        return ""
    if attempt.exit_code < 0:
        return _("killed by signal %(number)s") % {"number": -attempt.exit_code}
    return _("exit code %(number)s") % {"number": attempt.exit_code}


def empty_log_words(attempt: Attempt | None) -> str:
    """Why the log of an attempt that is over has no line."""
    if attempt is None:
        return _("This attempt ended before anything was started, so there is no log.")
    if attempt.cause in LOG_LOST:
        return _(
            "The log of this attempt was not kept because its process or container was gone "
            "before the log could be read."
        )
    return _("This attempt ended without printing anything.")


def _label(deployment: Deployment, number: int, row: Attempt | None) -> str:
    if row is not None and row.ended_at is not None:
        outcome = outcome_of(row)
    elif number == deployment.attempt:
        outcome = look_of(deployment.phase).word
    else:
        outcome = _("has ended")
    return _("attempt %(number)s – %(outcome)s") % {"number": number, "outcome": outcome}
