"""What can be asked: ready configs, and why one that is wanted cannot be. Query counts are constant."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from deployments.exceptions import NotFoundError
from deployments.lifecycle.phases import ENDED
from deployments.models import Config, Deployment
from deployments.models.catalogue import Protocol
from deployments.selectors import ReadyEndpoint, configs_serving, live_deployments, ready_endpoints

from .exceptions import ProtocolMismatchError, TargetNotRunningError
from .models import GatewayKey
from .protocols.streams import CHAT_PROTOCOLS


@dataclass(frozen=True, kw_only=True)
class ReadyTarget:
    """A config that answers now, on one or more deployments."""

    config: str
    model: str
    protocol: str
    nodes: tuple[str, ...]
    replicas: int
    engine: str = ""


@dataclass(frozen=True, kw_only=True)
class WantedTarget:
    """A config that was asked for and does not answer; ``deployment`` is its live run, else its last, if any."""

    config: Config
    deployment: Deployment | None

    @property
    def is_live(self) -> bool:
        """Whether a run of it is on its way, and can be watched."""
        return self.deployment is not None and self.deployment.is_live

    @property
    def is_text(self) -> bool:
        """Whether the playground could chat with it once it runs."""
        return self.config.protocol in CHAT_PROTOCOLS


@dataclass(frozen=True, kw_only=True)
class ChatTargets:
    """What the playground offers. ``chosen`` is a ready config, ``wanted`` one that is not ready."""

    ready: Sequence[ReadyTarget]
    chosen: ReadyTarget | None
    wanted: WantedTarget | None
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class RequestTarget:
    """What a request names, as the gateway knows it, and how it is asked; ``config`` is the first that serves it."""

    name: str
    protocol: str
    config: str
    engine: str


def chat_targets(wanted: str, *, protocols: Container[str] = CHAT_PROTOCOLS.keys()) -> ChatTargets:
    """The ready configs of ``protocols`` by name, and what became of ``wanted`` (a config or model, or empty)."""
    ready = _by_config([one for one in ready_endpoints() if one.protocol in protocols])
    chosen = next((one for one in ready if wanted in {one.config, one.model}), None)
    if chosen is not None:
        return ChatTargets(ready=ready, chosen=chosen, wanted=None)
    if not wanted:
        return ChatTargets(ready=ready, chosen=ready[0] if ready else None, wanted=None)
    config = Config.objects.filter(name=wanted, archived_at=None).select_related("model").first()
    if config is None:
        return ChatTargets(ready=ready, chosen=ready[0] if ready else None, wanted=None, unknown=wanted)
    runs = Deployment.objects.filter(config=config).select_related("node")
    run = runs.exclude(phase__in=ENDED).first() or runs.first()
    return ChatTargets(ready=ready, chosen=None, wanted=WantedTarget(config=config, deployment=run))


def chat_choices() -> dict[str, list[str]]:
    """Names of the configs that chat: those that are "ready", and the "others". Two queries."""
    ready = [one.config for one in _by_config([one for one in ready_endpoints() if one.protocol in CHAT_PROTOCOLS])]
    chatting = Config.objects.filter(archived_at=None, protocol__in=CHAT_PROTOCOLS).order_by("name")
    others = chatting.exclude(name__in=ready).values_list("name", flat=True)
    return {"ready": ready, "others": list(others)}


def request_target(name: str, *, protocol: str | None) -> RequestTarget:
    """What ``name``, a config or a model, means for a request.

    Raises NotFoundError naming near ones, ProtocolMismatchError, or TargetNotRunningError listing what
    could serve it and how to start that.
    """
    configs = configs_serving(name)
    spoken = sorted({config.protocol for config in configs})
    if protocol is not None and protocol not in spoken:
        raise ProtocolMismatchError(
            _("%(name)s speaks %(spoken)s, not %(protocol)s.")
            % {"name": name, "spoken": ", ".join(spoken), "protocol": protocol}
        )
    suitable = [config for config in configs if protocol in {None, config.protocol}]
    ready = {endpoint.config for endpoint in ready_endpoints()}
    running = [config for config in suitable if config.name in ready]
    if not running:
        raise _not_running(name, suitable)
    # A model may have configs of several protocols: text is meant where it can be.
    first = min(running, key=lambda config: (config.protocol != Protocol.OPENAI_TEXT, config.name))
    named = first.name if first.name == name else first.model.name
    return RequestTarget(name=named, protocol=first.protocol, config=first.name, engine=first.engine)


def gateway_keys() -> QuerySet[GatewayKey]:
    """Every key: those that are not revoked first, by name."""
    return GatewayKey.objects.order_by(F("revoked_at").asc(nulls_first=True), "name")


def find_key_row(key_id: int) -> GatewayKey:
    """The key with this id. Raises NotFoundError."""
    key = GatewayKey.objects.filter(pk=key_id).first()
    if key is None:
        raise NotFoundError(_("There is no such key. Reload the page to see those that exist."))
    return key


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model of the catalogue and the names of its configs."""

    name: str
    configs: tuple[str, ...]


def names_for_keys() -> list[NamedModel]:
    """Every name that a key can be bound to: one query."""
    listed = Config.objects.filter(archived_at=None, is_draft=False).order_by("model__name", "name")
    rows = listed.values_list("model__name", "name")
    found: dict[str, list[str]] = {}
    for model, config in rows:
        found.setdefault(model, []).append(config)
    return [NamedModel(name=model, configs=tuple(configs)) for model, configs in found.items()]


def _by_config(endpoints: Sequence[ReadyEndpoint]) -> list[ReadyTarget]:
    names = sorted({endpoint.config for endpoint in endpoints})
    groups = {name: [one for one in endpoints if one.config == name] for name in names}
    return [
        ReadyTarget(
            config=name,
            model=group[0].model,
            protocol=group[0].protocol,
            nodes=tuple(sorted({one.node for one in group if one.node})),
            replicas=len(group),
            engine=group[0].engine,
        )
        for name, group in groups.items()
    ]


def _not_running(name: str, configs: Sequence[Config]) -> TargetNotRunningError:
    phases = {run.config_id: run.get_phase_display() for run in live_deployments().filter(config__in=configs)}
    lines = [_("%(name)s is not running. Configs that could serve it:") % {"name": name}]
    commands = []
    for config in configs:
        phase = phases.get(config.pk, _("not started"))
        commands.append(f"berth start {config.name} --wait")
        lines.append(f"  {config.name} ({config.protocol}, {phase}): {commands[-1]}")
    return TargetNotRunningError("\n".join(lines), commands=commands)
