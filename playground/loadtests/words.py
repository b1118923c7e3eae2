"""Codes of load tests in the reader's words. They are kept as codes, so that each reads their own language."""

from __future__ import annotations

from math import floor, log10
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from . import gpu_figures, level
from .figures import ErrorKind
from .outcomes import BROKE_OFF, EMPTY, FAILED, LATE, REFUSED, SILENT, UNREACHABLE, LoadError

#: Where the server said nothing.
_WORDLESS: Final[dict[str, Promise]] = {
    REFUSED: gettext_lazy("Refused with status %(status)s, without a word."),
    BROKE_OFF: gettext_lazy("The answer broke off before its end."),
}


def error_words(error: ErrorKind | LoadError) -> str:
    """One kind of error as a sentence, with the server's own words where it said some."""
    if isinstance(error, LoadError):
        error = ErrorKind(code=error.code, status=error.status, words=error.words, count=1)
    told: dict[str, Any] = {"words": error["words"], "status": error["status"]}
    if not error["words"] and error["code"] in _WORDLESS:
        return str(_WORDLESS[error["code"]]) % told
    sentences = {
        UNREACHABLE: _("The server cannot be reached: %(words)s"),
        BROKE_OFF: _("The answer broke off before its end (%(words)s)."),
        SILENT: _("The server said nothing for %(words)s s."),
        LATE: _("The answer was not there after %(words)s s."),
        REFUSED: _("Refused with status %(status)s: %(words)s"),
        FAILED: _("The server failed within its answer: %(words)s"),
        EMPTY: _("The model ended without a word."),
    }
    sentence = sentences.get(error["code"])
    return _("Other errors") if sentence is None else sentence % told


def users_words(number: int) -> str:
    """A level's name."""
    return ngettext("%(n)s user", "%(n)s users", number) % {"n": f"{number:,}"}


def ended_words(ended: str) -> str:
    """How a level ended, empty for one that is complete or under way."""
    return {
        level.TIME: _("The time was over before all requests were answered; those under way count with their age."),
        level.GONE: _("The server went away: this is what came before."),
        level.REFUSING: _("Every request failed, so the level was ended early."),
        level.CANCELLED: _("Cancelled."),
    }.get(ended, "")


def gpu_words(reason: str) -> str:
    """Why there are no figures of GPUs, empty when there are."""
    return {
        gpu_figures.NO_GPUS: _("It runs without GPUs."),
        gpu_figures.NO_HISTORY: _("Redis did not answer, which keeps the GPU history."),
        gpu_figures.NO_SAMPLE: _(
            "The GPU telemetry has no sample of that time; a level below two seconds may have none."
        ),
        gpu_figures.UNKNOWN: _("Which GPUs served is not known."),
    }.get(reason, "")


def target_words(name: str) -> str:
    """A target with its unit."""
    return {
        "requests_per_s": _("Requests a second"),
        "concurrent_users": _("Users at once"),
        "first_token_ms": _("Time to first token, p95, ms"),
        "tokens_per_s": _("Tokens a second, in all"),
        "stream_tokens_per_s": _("Tokens a second of one answer, p50"),
        "context_length": _("Context length, tokens"),
    }.get(name, name)


def judged_words(measured: float, wanted: float) -> tuple[str, str]:
    """Both with three digits, and with so many more that unlike figures never read alike: 0.096 missed 0.1."""
    digits = 3
    while digits < 10 and measured != wanted and figure_words(measured, digits) == figure_words(wanted, max(digits, 6)):
        digits += 1
    return figure_words(measured, digits), figure_words(wanted, max(digits, 6))


def figure_words(value: float, digits: int = 3) -> str:
    """With so many digits at least, never fewer than its whole part has, and without zeros at the end."""
    decimals = max(0, digits - 1 - floor(log10(abs(value)))) if value else 0
    said = f"{value:,.{decimals}f}"
    return said.rstrip("0").rstrip(".") if "." in said else said
