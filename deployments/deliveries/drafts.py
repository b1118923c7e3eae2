"""The first values of a delivery's config: what its requirement says, in the words of the chosen tool."""

from __future__ import annotations

from dataclasses import replace

from django.utils.translation import gettext as _

from deployments.config_values import ConfigValues
from deployments.engines import engine_named
from deployments.engines.argument_style import Wanted
from deployments.exceptions import InvalidInputError
from deployments.models.catalogue import Protocol

from .requirement import AskedProtocol, Requirement, Source

#: Engines that split one model over GPUs talk over shared memory.
SHARED_MEMORY = "16g"
#: Where an image names none: the person writes the one that this delivery builds.
NO_IMAGE = "berth.invalid/write-the-image:here"


def draft_values(requirement: Requirement, tool: str) -> ConfigValues:
    """Values of a config by which ``tool`` serves what is asked for.

    Raises NotFoundError for an unknown tool, InvalidInputError for one that does not speak the protocol.
    """
    engine = engine_named(tool)
    # The gateway has TGI's own addresses for it; as a config it is one of text.
    protocol = Protocol.OPENAI_TEXT if requirement.protocol == AskedProtocol.TGI else requirement.protocol
    if protocol not in engine.protocols:
        message = _("%(tool)s does not speak %(protocol)s. Choose another tool, or ask for: %(known)s.")
        known = ", ".join(engine.protocols)
        raise InvalidInputError(message % {"tool": engine.title, "protocol": protocol, "known": known})
    hardware, targets = requirement.hardware, requirement.targets
    style = engine.arguments
    if requirement.source == Source.PATH and "-m" in style.model:
        # Its first spelling means a repository of the hub.
        style = replace(style, model=("-m",))
    wanted = Wanted(
        model=requirement.path if requirement.source == Source.PATH else requirement.repository,
        served_name=requirement.model,
        gpus=max(hardware.count, 1),
        context_tokens=targets.context_tokens,
        concurrent_requests=targets.concurrent_users or 1,
    )
    return ConfigValues(
        model=requirement.model,
        protocol=protocol,
        engine=tool,
        image=engine.default_image or NO_IMAGE,
        # An engine without a name to give answers to that of its weights.
        served_name=requirement.model if style.served_name else wanted.model or requirement.model,
        arguments=style.argv(wanted) if style.is_template else (),
        port=engine.default_port,
        readiness_path=engine.default_readiness_path,
        gpus=hardware.count,
        memory_gib=(hardware.memory_gib or 0.0) * hardware.count,
        shared_memory=SHARED_MEMORY if hardware.count > 1 else "",
        context_tokens=targets.context_tokens,
        concurrent_requests=wanted.concurrent_requests,
        weights_repository=requirement.repository,
        quantisation=requirement.quantisation,
        grace_s=engine.grace_s,
    )
