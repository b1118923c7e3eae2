"""What clients are told of a start that they wait for, or that does not come about."""

from __future__ import annotations

from typing import Final

from django.utils import translation
from django.utils.functional import lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.lifecycle.phases import Phase
from deployments.lifecycle.reasons import explain
from deployments.start_states import StartState
from playground.exceptions import NotStartedError, StartFailedError, StartingError

from .startable import Startable

#: A sentence may quote the last line of a log.
_LONGEST: Final = 400
#: Retry-After, in seconds: of what is on its way, of what only a person starts, and of a worker or Redis that is away.
_ON_ITS_WAY_S: Final = 10
_BY_HAND_S: Final = 60
_AWAY_S: Final = 15


def progress_words(state: StartState | None, language: str) -> str:
    """``loading, 42 %: …`` on one line."""
    with translation.override(language):
        if state is None:
            return _("its start was asked for")
        return _where(state)


def _where(state: StartState) -> str:
    phase = str(Phase(state.phase).label)
    if state.fraction is not None:
        phase = _("{phase}, {percent} %").format(phase=phase, percent=int(state.fraction * 100))
    sentence = str(explain(state.reason, state.reason_params))
    return " ".join((f"{phase}: {sentence}" if sentence else phase).split())[:_LONGEST]


def _why(state: StartState) -> str:
    return " ".join(str(explain(state.reason, state.reason_params)).split())[:_LONGEST]


_lazy_where = lazy(_where, str)
_lazy_why = lazy(_why, str)


def only_by_hand(name: str, startable: Startable, state: StartState | None) -> NotStartedError:
    """A request may not start it; ``state`` is where it is already, if it is on its way."""
    if state is not None:
        sentence = gettext_lazy("%(name)s is on its way (%(where)s). Try again in a moment.")
        return StartingError(sentence, retry_after_s=_ON_ITS_WAY_S, name=name[:200], where=_lazy_where(state))
    return NotStartedError(
        gettext_lazy(
            "%(name)s is not started, and does not start on request. An operator starts it in the catalogue, "
            "or with: berth start %(config)s"
        ),
        retry_after_s=_BY_HAND_S,
        name=name[:200],
        config=startable.config,
    )


def failed(startable: Startable, state: StartState, *, again_in_s: int) -> StartFailedError:
    """Its last run failed, and requests do not start it again for ``again_in_s``."""
    return StartFailedError(
        gettext_lazy("%(config)s did not start: %(why)s"),
        retry_after_s=max(1, again_in_s),
        config=startable.config,
        why=_lazy_why(state),
    )


def stopped(startable: Startable, state: StartState, *, again_in_s: int) -> StartFailedError:
    """Somebody stopped it, and requests do not start it again for ``again_in_s``."""
    again_in_s = max(1, again_in_s)
    return StartFailedError(
        gettext_lazy(
            "%(config)s was stopped by %(person)s, and requests do not start it for another %(seconds)s s. "
            "An operator can at once: in the catalogue, or with: berth start %(config)s"
        ),
        retry_after_s=again_in_s,
        config=startable.config,
        person=state.stopped_by or "–",
        seconds=str(again_in_s),
    )


def too_slow(startable: Startable, state: StartState | None, *, waited_s: float) -> StartFailedError:
    """It is not ready within the time that a request waits."""
    if state is None:
        return unheard(startable, redis_away=False)
    return StartFailedError(
        gettext_lazy("%(config)s is not ready after %(seconds)s s and goes on starting: %(where)s"),
        retry_after_s=_BY_HAND_S,
        config=startable.config,
        seconds=f"{waited_s:.0f}",
        where=_lazy_where(state),
    )


def unheard(startable: Startable, *, redis_away: bool) -> StartFailedError:
    """Nobody took the start."""
    sentence = gettext_lazy(
        "No worker has begun to start %(config)s. Check that it runs: berth up, or the worker's service."
    )
    if redis_away:
        sentence = gettext_lazy("Redis is away, so that %(config)s cannot be started. Try again in a moment.")
    return StartFailedError(sentence, retry_after_s=_AWAY_S, config=startable.config)
