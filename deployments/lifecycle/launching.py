"""From a serving specification to what a runtime launches."""

from __future__ import annotations

import re

from django.conf import settings

from deployments.engines import engine_named
from deployments.exceptions import LaunchError
from deployments.models import Deployment
from deployments.runtimes.base import RunSpec
from deployments.secret_references import REFERENCE


def run_spec(deployment: Deployment) -> RunSpec:
    """The attempt's RunSpec, secrets filled in; never stored or logged. Raises LaunchError."""
    spec = deployment.serving_spec()
    prefix = engine_named(spec.engine).process_command(spec) if spec.runtime == "process" else ()
    return RunSpec(
        name=deployment.run_name,
        image=spec.image,
        argv=(*prefix, *spec.arguments),
        environment=tuple((name, with_secrets(value)) for name, value in spec.environment),
        volumes=spec.volumes,
        port=spec.port,
        shared_memory=spec.shared_memory,
        labels=(
            ("berth.installation", settings.BERTH_INSTALLATION),
            ("berth.deployment", str(deployment.pk)),
            ("berth.attempt", str(deployment.attempt)),
            ("berth.spec", deployment.spec_digest[:12]),
        ),
    )


def with_secrets(value: str) -> str:
    """Replace each ``${NAME}`` by the host's secret; a known name without a value becomes empty.

    Raises LaunchError for a name that Berth does not know.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] not in settings.BERTH_SECRET_NAMES:
            raise LaunchError(f"${{{match[1]}}} is not a secret of this host.", code="unknown_secret", name=match[1])
        return settings.BERTH_SECRETS.get(match[1], "")

    return REFERENCE.sub(replace, value)
