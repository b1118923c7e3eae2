"""``/metrics``."""

from __future__ import annotations

import logging

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import choose_encoder

from playground.exceptions import GatewayError

from .access import check_access
from .collector import BerthCollector

logger = logging.getLogger(__name__)


@require_safe
@login_not_required
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """200 in the format that was asked for, OpenMetrics or Prometheus' text; else 401, 403 or 503 with a sentence."""
    try:
        check_access(request.META.get("REMOTE_ADDR", ""), request.headers.get("Authorization", ""))
    except GatewayError as error:
        return _refusal(str(error), error.status)
    except DatabaseError as error:
        logger.warning("A key for the metrics cannot be checked: %s", error)
        return _refusal(_("The database does not answer."), 503)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(BerthCollector()), content_type=content_type)


def _refusal(sentence: str, status: int) -> HttpResponse:
    answer = HttpResponse(f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8")
    if status == 401:
        answer["WWW-Authenticate"] = 'Bearer realm="Berth metrics"'
    return answer
