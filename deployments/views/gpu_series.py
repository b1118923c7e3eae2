"""What one GPU did in a range of time, as JSON for its charts."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from deployments.exceptions import NotFoundError, RuntimeUnavailableError
from deployments.gpu_history import has_history, series_json
from deployments.models import Gpu
from deployments.redis import RedisError

from .fragments import PageRequest, for_viewers
from .logs import answers_json


@require_safe
@answers_json
@for_viewers
def gpu_series(request: PageRequest, name: str, uuid: str) -> HttpResponse:
    """``?range=`` 15m, 6h or 7d of a GPU of the node ``name``: see :func:`deployments.gpu_history.series_json`."""
    try:
        # An instance of a divided GPU has no row, but what it did is known.
        if not Gpu.objects.filter(node__name=name, uuid=uuid).exists() and not has_history(uuid, node=name):
            told = {"node": name, "uuid": uuid}
            raise NotFoundError(_("%(node)s has no GPU %(uuid)s. The GPUs page lists those it has.") % told)
        text = series_json(uuid, node=name, range_name=request.GET.get("range", "15m"))
    except RedisError as error:
        sentence = _("The GPU history cannot be read now: Redis does not answer (%(detail)s).") % {"detail": error}
        raise RuntimeUnavailableError(sentence) from error
    return HttpResponse(text, content_type="application/json", headers={"Cache-Control": "no-store"})
