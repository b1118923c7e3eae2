"""What happens next to a run that failed: when it is tried again, or that it is not."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from deployments.lifecycle.decide import backoff_s
from deployments.lifecycle.phases import Phase
from deployments.models import Deployment


def outlook_words(deployment: Deployment) -> str:
    """``Failed 1 of 3 times; the next attempt begins at 23:38:41.``; empty for a run that has not failed."""
    most = deployment.spec["max_attempts"]
    told = {"count": deployment.failures, "most": most}
    if deployment.phase == Phase.BACKOFF:
        begins = deployment.phase_since + timedelta(seconds=backoff_s(deployment.failures))
        at = date_format(timezone.localtime(begins), "H:i:s")
        return _("Failed %(count)s of %(most)s times; the next attempt begins at %(at)s.") % {**told, "at": at}
    if deployment.phase != Phase.FAILED:
        return ""
    if deployment.failures >= most > 1:
        return _("Given up after %(count)s failures in a row.") % told
    return _("It is not tried again by itself.")
