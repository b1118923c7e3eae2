"""Where a delivery's step Push stands, by what its registry last said of the digest."""

from __future__ import annotations

from django.db.models import Prefetch
from django.utils.translation import gettext as _

from deployments.models import Delivery, ImageTransfer, Job

from . import builds
from .steps import State, StepState, rows_of

#: Without the layers, which only the page of a push shows.
PUSHES = ImageTransfer.objects.filter(kind=ImageTransfer.Kind.PUSH).defer("layers")
PREFETCH = (Prefetch("transfers", PUSHES), *builds.PREFETCH)


def step_state(delivery: Delivery) -> StepState:
    """The state of the latest push: done only while the registry has the digest. Asks nobody; see ``looking``."""
    pushes = rows_of(delivery, "transfers", PUSHES)
    if not pushes:
        return StepState(sentence=_("Not pushed to a registry yet."))
    latest = pushes[0]
    if latest.is_live:
        return _state(State.RUNNING, _("Being pushed to %(name)s."), latest)
    pushed = next((row for row in pushes if row.state == Job.State.DONE), None)
    if pushed is None:
        failed = latest.state == Job.State.FAILED
        return _state(State.FAILED, _("The push failed.") if failed else _("The push was cancelled."), latest)
    if pushed.gone_at is not None:
        return _state(State.FAILED, _("%(name)s is not in the registry any more. Push it again."), pushed)
    if pushed.registry_id is None:
        said = _("Pushed as %(name)s; its registry was removed from Berth, so that nobody can ask whether it is there.")
        return _state(State.STALE, said, pushed)
    if _is_outdated(pushed, delivery):
        return _state(State.STALE, _("A newer image was built after %(name)s was pushed."), pushed)
    if pushed.looked_at is not None and pushed.looked_at != pushed.asked_at:
        return _state(State.STALE, _("Pushed as %(name)s; the registry does not say whether it is there."), pushed)
    return _state(State.DONE, _("Pushed as %(name)s."), pushed)


def _is_outdated(pushed: ImageTransfer, delivery: Delivery) -> bool:
    """Whether another image was built since; one that took everything from the cache is the same."""
    built = [each for each in builds.builds_of(delivery) if each.state == Job.State.DONE]
    newest = max(built, key=lambda each: each.pk, default=None)
    if newest is None or newest.ended_at is None or pushed.ended_at is None:
        return False
    return newest.ended_at > pushed.ended_at and newest.image_id != pushed.image_id


def _state(state: State, sentence: str, transfer: ImageTransfer) -> StepState:
    return StepState(
        state=state,
        sentence=sentence % {"name": f"{transfer.repository}:{transfer.tag}"},
        who=transfer.requested_by,
        when=transfer.ended_at or transfer.created_at,
    )
