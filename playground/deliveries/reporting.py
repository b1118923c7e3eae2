"""The step Report: it stands by itself, and is worth reading once the image was tested and pushed."""

from __future__ import annotations

from django.utils.translation import gettext as _

from deployments.deliveries import pushes
from deployments.deliveries.steps import State, StepState
from deployments.models import Delivery

from . import testing

PREFETCH = (*testing.PREFETCH, *pushes.PREFETCH)


def step_state(delivery: Delivery) -> StepState:
    """Done once both steps before it are; open until then, though the page shows what there is."""
    tested, pushed = testing.step_state(delivery), pushes.step_state(delivery)
    if tested.state == State.DONE and pushed.state == State.DONE:
        when = max((each.when for each in (tested, pushed) if each.when is not None), default=None)
        return StepState(state=State.DONE, sentence=_("Everything is in the report."), when=when)
    return StepState(sentence=_("The report shows what there is; a test or a push is still missing."))
