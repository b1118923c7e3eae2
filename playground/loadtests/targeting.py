"""From a load test's row to whom it asks, and whose GPUs are looked at meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _

from deployments.deployment_keys import deployment_key
from deployments.exceptions import InvalidInputError
from deployments.images.settings import ADAPTED_ENGINES
from deployments.models import Deployment
from deployments.selectors import ReadyEndpoint, ready_endpoints
from playground.exceptions import RequestError, TargetNotRunningError
from playground.models.load_test import LoadTest
from playground.request_client import gateway_url
from playground.services.command_line_token import make_token
from playground.services.person_token import make_person_token

from .gpu_figures import Gpus
from .target import RenewedToken, Target


def require_direct(engine: str) -> None:
    """Raise InvalidInputError where a server cannot be asked without the gateway."""
    if engine in ADAPTED_ENGINES:
        sentence = _("%(engine)s speaks no protocol of Berth by itself: test it through the gateway.")
        raise InvalidInputError(sentence % {"engine": engine})


def target_of(test: LoadTest) -> Target:
    """Whom the test asks. Raises TargetNotRunningError when nothing of it is ready any more."""
    endpoint = ready_endpoint(test)
    if test.asked.direct:
        key = deployment_key(endpoint.deployment_id) if endpoint.keyed else ""
        return Target(
            url=endpoint.endpoint,
            model=endpoint.served_name,
            config=test.config,
            engine=endpoint.engine,
            direct=True,
            token=lambda: key,
        )
    return Target(
        url=gateway_url(),
        model=test.config,
        config=test.config,
        engine=endpoint.engine,
        direct=False,
        token=RenewedToken(_token_of(test)),
    )


def ready_endpoint(test: LoadTest) -> ReadyEndpoint:
    """The deployment that the test names, else another of its config. Raises TargetNotRunningError."""
    ready = [one for one in ready_endpoints() if one.config == test.config]
    named = [one for one in ready if one.deployment_id == test.deployment_id]
    if test.asked.direct and test.deployment_id is not None and not named:
        sentence = _("Deployment %(number)s of %(config)s does not run any more.")
        raise _gone(sentence % {"number": test.deployment_id, "config": test.config}, test)
    if not ready:
        raise _gone(_("Nothing that serves %(config)s is ready.") % {"config": test.config}, test)
    return (named or ready)[0]


def gpus_of(test: LoadTest) -> list[Gpus]:
    """The GPUs that serve the test: of all ready deployments of the config, when the gateway shares it among them."""
    ids = {one.deployment_id for one in ready_endpoints() if one.config == test.config}
    if test.asked.direct:
        ids = {ready_endpoint(test).deployment_id}
    rows = Deployment.objects.filter(pk__in=ids).select_related("node")
    return [Gpus(node=row.node.name, uuids=tuple(row.gpu_uuids)) for row in rows if row.node and row.gpu_uuids]


def _token_of(test: LoadTest) -> Callable[[], str]:
    """In the name of whoever asked for it, so that a role that was lost since, limits and metering mean the same."""
    user_id, name = test.user_id, test.requested_by
    if test.via_command_line:
        return lambda: make_token(name)
    if user_id is None:
        raise RequestError(_("The account of %(name)s was deleted, in whose name this would ask.") % {"name": name})
    return lambda: make_person_token(user_id)


def _gone(sentence: str, test: LoadTest) -> TargetNotRunningError:
    return TargetNotRunningError(sentence, commands=[f"berth start {test.config} --wait"])
