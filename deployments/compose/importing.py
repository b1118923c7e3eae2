"""From a Compose file to a proposal for one of its services."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from deployments.config_names import check_config_name
from deployments.engines import recognised_engine
from deployments.exceptions import ComposeError
from deployments.models.catalogue import RuntimeName

from .command_lines import carry_command
from .devices import carry_devices
from .environment import carry_environment
from .extension import is_own, take_extension
from .interpolation import Variables
from .lifetimes import carry_grace, carry_health, carry_port, carry_restart
from .mounts import carry_volumes
from .proposal import Draft, KnownModels, Proposal
from .reading import read_tree, refuse
from .recognition import recognise_engine, recognise_model
from .remainder import carry_shared_memory, list_remainder
from .shapes import check_shapes
from .tree import Scalar, Table


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service to choose. ``engine`` is the title of the one that was recognised; empty for others."""

    name: str
    image: str
    engine: str


@dataclass(frozen=True, kw_only=True)
class ComposeFile:
    """A file that was read: its services in the order of the file."""

    document: Table
    services: tuple[Service, ...]
    variables: Mapping[str, str]

    @property
    def likely(self) -> str:
        """The service that is most likely a model server: the first whose engine is known, else the first."""
        known = (service.name for service in self.services if service.engine)
        return next(known, self.services[0].name)


def read_compose(content: bytes | str, *, variables: Mapping[str, str] | None = None) -> ComposeFile:
    """Read a file, with the values that its variables have. Raises ComposeError naming line, cause and next step."""
    document = read_tree(content)
    services = document.get("services")
    if not isinstance(services, Table) or not services.entries:
        raise refuse(document.line, _("the file has no “services:”. Check that it is a Compose file, and a whole one."))
    values = dict(variables or {})
    found = tuple(_service(name, entry.node, values) for name, entry in services.entries.items())
    return ComposeFile(document=document, services=found, variables=values)


def _service(name: str, node: object, values: Mapping[str, str]) -> Service:
    if not isinstance(node, Table):
        line = node.line if isinstance(node, Scalar) else 1
        raise refuse(line, _("the service %(name)s is no table. Write its keys below it.") % {"name": name[:60]})
    draft = Draft(
        service=node, document=node, variables=Variables(values=values), known_secrets=(), models=KnownModels()
    )
    # A service that nobody chooses may be faulty: what is wrong is told once it is chosen.
    with contextlib.suppress(ComposeError):
        _carry_image(draft)
        carry_command(draft)
    image = draft.values.get("image", "")
    engine = recognised_engine(image, draft.arguments)
    return Service(name=name, image=image, engine=engine.title if engine else "")


def propose(file: ComposeFile, service: str, *, models: KnownModels, known_secrets: Collection[str]) -> Proposal:
    """What the chosen service would be as a config. Nothing is saved, and no secret of the file is in it.

    ``known_secrets`` are the names that a config may refer to on this host. Raises ComposeError.
    """
    node = file.document.at("services", service)
    if not isinstance(node, Table):
        names = ", ".join(item.name for item in file.services)
        raise ComposeError(
            _("There is no service “%(name)s” in the file. It has: %(names)s.") % {"name": service[:60], "names": names}
        )
    check_shapes(node)
    variables = Variables(values=file.variables)
    draft = Draft(
        service=node,
        document=file.document,
        variables=variables,
        known_secrets=known_secrets,
        models=models,
        is_own=is_own(node),
    )
    draft.values["runtime"] = str(RuntimeName.DOCKER)
    _carry_image(draft)
    for step in (
        carry_command,
        recognise_engine,
        carry_devices,
        carry_environment,
        carry_volumes,
        carry_shared_memory,
        carry_port,
        carry_health,
        carry_restart,
        carry_grace,
        recognise_model,
        list_remainder,
        take_extension,
    ):
        step(draft)
    return Proposal(
        service=service,
        name=_name(draft, service),
        values=draft.values,
        carried=tuple(draft.carried),
        guesses=tuple(draft.guesses),
        left_out=tuple(sorted(draft.left_out, key=lambda item: (item.weight, item.line))),
        variables=dict(variables.missing),
    )


def _carry_image(draft: Draft) -> None:
    image = draft.text(draft.service.get("image"))
    if image:
        draft.carry("image", "image", image)
    elif draft.service.get("extends") is None:
        why = _("The service names no image.")
        draft.leave("image", why, _("Build one first, as in a delivery, and write its name in the form."))


def _name(draft: Draft, service: str) -> str:
    """A name for the config: the service's, for what Berth wrote; else the served name's, which says more."""
    if draft.is_own and not check_config_name(service):
        return service
    told = str(draft.values.get("served_name") or service).rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", told.lower()).strip("-._")[:100]
