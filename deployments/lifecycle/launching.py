"""From a serving specification to what a runtime launches."""

from __future__ import annotations

import re

from django.conf import settings

from deployments.deployment_keys import deployment_key
from deployments.engines import engine_named
from deployments.exceptions import LaunchError
from deployments.models import Deployment
from deployments.runtimes.base import RunSpec
from deployments.secret_references import REFERENCE
from deployments.spec import ServingSpec


def run_spec(deployment: Deployment) -> RunSpec:
    """The attempt's RunSpec, secrets filled in; never stored or logged. Raises LaunchError."""
    spec = deployment.serving_spec()
    engine = engine_named(spec.engine)
    prefix = engine.process_command(spec) if spec.runtime == "process" else ()
    return RunSpec(
        name=deployment.run_name,
        image=spec.image,
        entrypoint=spec.entrypoint,
        argv=(*prefix, *spec.arguments),
        environment=tuple(_environment(deployment, spec, engine.key_variable).items()),
        volumes=spec.volumes,
        port=spec.port,
        shared_memory=spec.shared_memory,
        locked_memory=spec.gpus > 0,
        gpu_uuids=tuple(deployment.gpu_uuids),
        labels=(
            ("berth.installation", settings.BERTH_INSTALLATION),
            ("berth.deployment", str(deployment.pk)),
            ("berth.attempt", str(deployment.attempt)),
            ("berth.spec", deployment.spec_digest[:12]),
        ),
    )


def _environment(deployment: Deployment, spec: ServingSpec, key_variable: str) -> dict[str, str]:
    """The config's variables with secrets filled in; the hub's mirror and the key, where the config names none."""
    own = {name: with_secrets(value) for name, value in spec.engine_environment}
    given = {"HF_ENDPOINT": settings.BERTH_HUB_URL} if settings.BERTH_HUB_URL else {}
    if key_variable:
        given[key_variable] = deployment_key(deployment.pk)
    return {**given, **own}


def with_secrets(value: str) -> str:
    """Replace each ``${NAME}`` by the host's secret; a known name without a value becomes empty.

    Raises LaunchError for a name that Berth does not know.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] not in settings.BERTH_SECRET_NAMES:
            raise LaunchError(f"${{{match[1]}}} is not a secret of this host.", code="unknown_secret", name=match[1])
        return settings.BERTH_SECRETS.get(match[1], "")

    return REFERENCE.sub(replace, value)
