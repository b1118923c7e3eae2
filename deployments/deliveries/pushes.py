"""Where a delivery's step Push stands, by what its registry last said of the digest."""

from __future__ import annotations

from django.utils.translation import gettext as _

from deployments.models import Delivery, ImageTransfer, Job

from .steps import State, StepState

#: The relations that :func:`step_state` reads, for lists to fetch together.
PREFETCH = ("transfers",)


def step_state(delivery: Delivery) -> StepState:
    """The state of the latest push: done only while the registry has the digest. Asks nobody; see ``looking``."""
    pushes = [row for row in delivery.transfers.all() if row.kind == ImageTransfer.Kind.PUSH]
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
    if pushed.looked_at is not None and pushed.looked_at != pushed.asked_at:
        return _state(State.STALE, _("Pushed as %(name)s; the registry does not say whether it is there."), pushed)
    return _state(State.DONE, _("Pushed as %(name)s."), pushed)


def _state(state: State, sentence: str, transfer: ImageTransfer) -> StepState:
    return StepState(
        state=state,
        sentence=sentence % {"name": f"{transfer.repository}:{transfer.tag}"},
        who=transfer.requested_by,
        when=transfer.ended_at or transfer.created_at,
    )
