"""The buttons of a config or a run: which there are, whether this person may press them, and what is lost."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.actors import OPERATE, TRY_MODELS, Actor, explain_missing
from deployments.lifecycle.phases import Desired, Phase
from deployments.models import Config, Deployment
from deployments.models.catalogue import Protocol

from .states import ON_ITS_WAY


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """A question with its consequences, asked only where something is lost."""

    question: str
    consequences: tuple[str, ...]
    verb: str

    @property
    def consequence_lines(self) -> str:
        """The consequences, one a line, as the page's dialog reads them."""
        return "\n".join(self.consequences)


@dataclass(frozen=True, kw_only=True)
class Action:
    """A button. ``why_not`` explains why it cannot be pressed; ``busy`` says who already pressed it."""

    name: str
    verb: str
    icon: str
    url: str
    why_not: str = ""
    busy: str = ""
    confirmation: Confirmation | None = None

    @property
    def is_link(self) -> bool:
        """Whether it only leads somewhere."""
        return self.name == "try"


def actions_for(config: Config, deployment: Deployment | None, actor: Actor) -> list[Action]:
    """The buttons in their fixed order: Start, or Stop (Cancel before it is ready), then Try."""
    if deployment is None or not deployment.is_live:
        return [_start(config, actor)]
    if deployment.phase == Phase.STOPPING or deployment.desired == Desired.STOPPED:
        return [_stopping(deployment), *_stop_now(config, deployment, actor)]
    actions = [_stop(config, deployment, actor)]
    if deployment.phase == Phase.READY and config.protocol == Protocol.OPENAI_TEXT:
        actions.append(_try(config, actor))
    return actions


def restart_action(config: Config, deployment: Deployment, actor: Actor) -> Action | None:
    """Restart, while the run is wanted and past its way there."""
    if deployment.desired == Desired.STOPPED or deployment.phase in ON_ITS_WAY or not deployment.is_live:
        return None
    consequences = [_("{config} does not answer until it has loaded again.").format(config=config.name)]
    if deployment.revision != config.revision:
        consequences.append(_("It starts with the specification that it has, not with the config's newer one."))
    return Action(
        name="restart",
        verb=_("Restart"),
        icon="refresh",
        url=reverse("deployments:restart", args=[deployment.pk]),
        why_not=_barred(OPERATE, actor),
        confirmation=Confirmation(
            question=_("Restart {config}?").format(config=config.name),
            consequences=tuple(consequences),
            verb=_("Restart"),
        ),
    )


def _start(config: Config, actor: Actor) -> Action:
    return Action(
        name="start",
        verb=_("Start"),
        icon="player-play",
        url=reverse("deployments:start", args=[config.name]),
        why_not=_barred(OPERATE, actor),
    )


def _stop(config: Config, deployment: Deployment, actor: Actor) -> Action:
    cancels = deployment.phase in ON_ITS_WAY or deployment.phase == Phase.BACKOFF
    return Action(
        name="stop",
        verb=_("Cancel") if cancels else _("Stop"),
        icon="x" if cancels else "player-stop",
        url=reverse("deployments:stop", args=[deployment.pk]),
        why_not=_barred(OPERATE, actor),
        confirmation=None if cancels else _stop_confirmation(config, deployment),
    )


def _stop_confirmation(config: Config, deployment: Deployment) -> Confirmation:
    grace_s = deployment.serving_spec().grace_s
    return Confirmation(
        question=_("Stop {config}?").format(config=config.name),
        consequences=(
            _("Its users get an error from now on."),
            ngettext(
                "Requests under way have {n} second to end, then they are cut off.",
                "Requests under way have {n} seconds to end, then they are cut off.",
                grace_s,
            ).format(n=grace_s),
            _("The next start loads the weights again."),
        ),
        verb=_("Stop"),
    )


def _stopping(deployment: Deployment) -> Action:
    person = deployment.stopped_by
    busy = _("{person} is stopping this").format(person=person) if person else _("stopping")
    return Action(name="stop", verb=_("Stop"), icon="player-stop", url="", busy=busy)


def _stop_now(config: Config, deployment: Deployment, actor: Actor) -> list[Action]:
    """Only while there is still something that it would cut short."""
    if deployment.stop_now or deployment.killed_at or deployment.run_cleared_at:
        return []
    return [
        Action(
            name="stop-now",
            verb=_("Stop now"),
            icon="hand-stop",
            url=reverse("deployments:stop_now", args=[deployment.pk]),
            why_not=_barred(OPERATE, actor),
            confirmation=Confirmation(
                question=_("Stop {config} now?").format(config=config.name),
                consequences=(_("Requests under way are cut off within 2 seconds."),),
                verb=_("Stop now"),
            ),
        )
    ]


def replace_actions(config: Config, deployment: Deployment, actor: Actor) -> list[Action]:
    """Replace by the config's current revision, while the run serves an older one; with GPUs in place as well."""
    serves = deployment.phase in {Phase.READY, Phase.UNHEALTHY} and deployment.desired == Desired.RUNNING
    if not serves or deployment.revision == config.revision:
        return []
    beside = Action(
        name="replace",
        verb=_("Replace with revision {number}").format(number=config.revision),
        icon="git-compare",
        url=reverse("deployments:replace", args=[deployment.pk]),
        why_not=_barred(OPERATE, actor),
        confirmation=Confirmation(
            question=_("Replace {config} with revision {number}?").format(config=config.name, number=config.revision),
            consequences=(
                _("The new one is started beside it; once it is ready, this one drains and stops."),
                _("Until then both need their GPUs. If there is no room, the new one waits and says for what."),
            ),
            verb=_("Replace"),
        ),
    )
    if not deployment.spec["gpus"]:
        return [beside]
    in_place = Action(
        name="replace-in-place",
        verb=_("Replace in place"),
        icon="git-compare",
        url=reverse("deployments:replace", args=[deployment.pk], query={"in_place": "1"}),
        why_not=_barred(OPERATE, actor),
        confirmation=Confirmation(
            question=_("Stop {config} first, then start revision {number}?").format(
                config=config.name, number=config.revision
            ),
            consequences=(
                _("This is for want of GPU memory: nothing answers until the new one has loaded."),
                _("If the new one fails, this one is started again as it is."),
            ),
            verb=_("Replace in place"),
        ),
    )
    return [beside, in_place]


def _try(config: Config, actor: Actor) -> Action:
    return Action(
        name="try",
        verb=_("Try"),
        icon="message-2",
        url=reverse("playground:chat", query={"config": config.name}),
        why_not=_barred(TRY_MODELS, actor),
    )


def _barred(permission: str, actor: Actor) -> str:
    return "" if actor.may(permission) else explain_missing(permission)
