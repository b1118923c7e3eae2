"""What templates of all apps share: icons, state chips, ages, numbers, sentences, the import map."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from deployments.actors import Actor, explain_missing
from deployments.gpu_readings import GpuProcess
from deployments.lifecycle.phases import Phase
from deployments.lifecycle.reasons import PAUSED, Explanation, explain
from deployments.models import Attempt, Config, Deployment, DeploymentEvent
from deployments.placement.fits import Fits
from deployments.placement.preview import DrawnGpu, DrawnNode, Preview
from deployments.placement.views import Holder
from deployments.presentation import idle_words, placement, states, words
from deployments.presentation.actions import Action, actions_for, replace_actions, restart_action
from deployments.presentation.icons import drawings
from deployments.presentation.import_map import import_map_json
from deployments.progress import Progress
from deployments.spec import ServingSpec

register = template.Library()

TONE_ICONS = {
    "success": "circle-check",
    "info": "info-circle",
    "debug": "info-circle",
    "warning": "alert-triangle",
    "error": "alert-circle",
}


@register.inclusion_tag("includes/icon.html")
def icon(name: str) -> dict[str, str]:
    """An outline icon of the sprite; decorative, so a word stands beside it."""
    return {"name": name}


@register.simple_tag
def drawn_icon(name: str) -> SafeString:
    """As ``icon``, for what scripts copy into the page: a copy that only names the sprite is drawn a frame late."""
    view_box, attributes, shapes = drawings()[name]
    # The shapes share their attributes below the element that .icon styles.
    drawn = f'viewBox="{view_box}"><g {attributes}>{shapes}</g></svg>'
    return mark_safe(f'<svg class="icon" aria-hidden="true" focusable="false" {drawn}')  # noqa: S308 - of our own file


@register.filter
def author(name: str) -> str:
    """Who started or stopped it; Berth's own acts in words."""
    return idle_words.author_words(name)


@register.filter
def tone_icon(tone: str) -> str:
    """The icon of a notice's tone (a level tag of the messages framework)."""
    return TONE_ICONS.get(tone, "info-circle")


@register.inclusion_tag("includes/state_chip.html")
def state_chip(deployment: Deployment | None) -> dict[str, Any]:
    """The chip of a run: icon and word; and whether somebody paused it, or its node is silent."""
    look = states.look_of(deployment.phase if deployment else None)
    silent = None
    if deployment is not None and deployment.is_live:
        silent = states.silent_since(deployment.node, timezone.now())
    is_paused = deployment is not None and deployment.is_live and deployment.reason == PAUSED
    return {"look": look, "silent_since": silent, "is_paused": is_paused}


@register.inclusion_tag("includes/state_chip.html")
def phase_chip(phase: str) -> dict[str, Any]:
    """The chip of a phase alone, as in a list of events."""
    return {"look": states.look_of(phase)}


@register.inclusion_tag("includes/age.html")
def age(moment: datetime | None, form: str = "since") -> dict[str, Any]:
    """A time that counts by itself: ``since`` shows ``2 h 10 min``, ``ago`` shows ``3 min ago``."""
    if moment is None:
        return {"moment": None}
    now = timezone.now()
    text = words.ago_words(moment, now) if form == "ago" else words.duration_words((now - moment).total_seconds())
    return {"moment": moment, "form": form, "text": text}


@register.inclusion_tag("includes/progress.html")
def progress_bar(data: dict[str, Any] | Progress | None) -> dict[str, Any]:
    """A step's bar with bytes, rate and what is left; moving to and fro when the total is unknown."""
    progress = data if isinstance(data, Progress) else Progress.from_json(data or {})
    fraction = progress.fraction
    percent = None if fraction is None else int(100 * fraction)
    return {"doing": words.doing_words(progress), "percent": percent, "amount": words.amount_words(progress)}


@register.filter
def sentence(thing: Deployment | DeploymentEvent | Attempt) -> str:
    """Why it is so, in the reader's language; empty when nothing needs saying."""
    return explain(*_cause(thing)).sentence


@register.filter
def next_step(thing: Deployment | DeploymentEvent | Attempt) -> str:
    """What to do about it, or empty."""
    return explain(*_cause(thing)).next_step


def _cause(thing: Deployment | DeploymentEvent | Attempt) -> tuple[str, dict[str, Any]]:
    if isinstance(thing, Attempt):
        return thing.cause, thing.cause_params
    return thing.reason, thing.reason_params


@register.filter
def duration(length: timedelta | float | None) -> str:
    """A length of time (timedelta, or seconds) in words; a dash when unknown."""
    if length is None:
        return "–"
    return words.step_words(length if isinstance(length, timedelta) else timedelta(seconds=length))


@register.filter
def gpu_memory(config: Config | ServingSpec) -> str:
    """``4 × 36 GiB``, or ``no GPU``."""
    return words.memory_words(config.gpus, config.memory_gib)


@register.filter
def hue(name: str) -> str:
    """The class that gives a config its stable hue."""
    return f"hue-{words.hue_of(name)}"


@register.filter
def refusal(preview: Preview) -> Explanation | None:
    """Why a start would wait, and what to do; None when it would not."""
    return placement.refusal_words(preview.refusal, preview.request) if preview.refusal else None


@register.simple_tag
def gpu_obstacle(drawn: DrawnGpu, preview: Preview | None = None) -> str:
    """Why the drawn GPU cannot be given; empty when it can, and where nothing is asked for."""
    if drawn.why is None or preview is None or drawn.why in placement.DRAWN:
        return ""
    return placement.gpu_obstacle(drawn.why, drawn.gpu, preview.request)


@register.simple_tag
def node_obstacle(node: DrawnNode, preview: Preview) -> str:
    """Why the drawn node is no candidate, or empty."""
    return "" if node.why is None else placement.node_obstacle(node.why, preview.request)


@register.filter
def gpu_process(process: GpuProcess) -> str:
    """``pid 8123 python3 (root) 60 GiB``."""
    return placement.holder_words(process)


@register.filter
def fits(found: Fits) -> str:
    """``fits: gpu-01 now``."""
    return placement.fits_words(found)


@register.filter
def fits_help(found: Fits) -> str:
    """Why it does not fit now, whole; empty when it does."""
    return placement.fits_help(found)


@register.filter
def holder_names(holders: Sequence[Holder]) -> str:
    """The configs whose runs hold GPUs."""
    return ", ".join(holder.config for holder in holders)


@register.filter
def dom_id(thing: Model, prefix: str) -> str:
    """A stable id for the element of a row: ``run-12``."""
    return f"{prefix}-{thing.pk}"


@register.filter
def lasted(deployment: Deployment) -> timedelta | None:
    """From Start to the end; None while it runs."""
    return None if deployment.ended_at is None else deployment.ended_at - deployment.created_at


@register.filter
def is_wish(event: DeploymentEvent) -> bool:
    """Whether the event tells what was asked for: the run was in some phase then, and that says nothing about it."""
    return bool(event.actor) or event.reason in {"superseded", "put_back"}


@register.filter
def has_trouble(deployment: Deployment) -> bool:
    """Whether the run failed, backs off or does not answer, or its host: the page then shows why and what to do."""
    return deployment.phase in states.TROUBLED or states.is_hindered(deployment)


@register.filter
def trouble_tone(deployment: Deployment) -> str:
    """The tone of a troubled run: bad once it has failed, else warn."""
    return "bad" if deployment.phase == Phase.FAILED else "warn"


@register.filter
def head_or_nothing(action: Action) -> str:
    """Where the head's buttons show their answer: Start makes another run, whose page the reader is not on."""
    return "" if action.name == "start" else "head"


@register.filter
def unlocalized(number: int) -> str:
    """A number that is a name (a port, an id), without separators."""
    return str(number)


@register.filter
def details(detail: dict[str, Any]) -> str:
    """An audit row's details as ``name: value``, without what is empty and the deployment, which has a link."""
    told = {name: value for name, value in detail.items() if name != "deployment" and value not in (None, "", [], {})}
    return " · ".join(f"{name.replace('_', ' ')}: {_listed(value)}" for name, value in told.items())


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@register.simple_tag(takes_context=True)
def actions(context: template.Context, config: Config, deployment: Deployment | None) -> Sequence[Action]:
    """The buttons of a config's run for the signed-in person."""
    user: User | AnonymousUser = context["request"].user
    return actions_for(config, deployment, Actor.person(user))


@register.simple_tag(takes_context=True)
def restart(context: template.Context, deployment: Deployment) -> Action | None:
    """The button Restart of a run, where it makes sense."""
    user: User | AnonymousUser = context["request"].user
    return restart_action(deployment.config, deployment, Actor.person(user))


@register.simple_tag(takes_context=True)
def replacement(context: template.Context, deployment: Deployment) -> Sequence[Action]:
    """The buttons to replace a run for the signed-in person, where the config has a newer revision."""
    user: User | AnonymousUser = context["request"].user
    return replace_actions(deployment.config, deployment, Actor.person(user))


@register.simple_tag(takes_context=True)
def barred(context: template.Context, permission: str) -> str:
    """Why the signed-in person may not do something; empty when they may."""
    actor = Actor.person(context["request"].user)
    return "" if actor.may(permission) else explain_missing(permission)


@register.simple_tag(takes_context=True)
def import_map(context: template.Context) -> SafeString:
    """Maps bare names (``berth/live``, ``marked``) to the addresses of modules."""
    # The nonce is falsy until it is turned into text, which is what makes it part of the policy.
    nonce = str(context.get("CSP_NONCE", ""))
    return format_html('<script type="importmap" nonce="{}">{}</script>', nonce, mark_safe(import_map_json()))  # noqa: S308


@register.filter
def action_word(action: str) -> str:
    """An audit row's ``object.verb`` as words; an unknown one as it is."""
    known = {
        "deployment.start": _("started"),
        "node.examine": _("had examined"),
        "deployment.stop": _("stopped"),
        "deployment.restart": _("restarted"),
        "deployment.stop_now": _("stopped at once"),
        "node.maintenance_on": _("put into maintenance"),
        "node.maintenance_off": _("ended the maintenance of"),
        "gpu.quarantine": _("quarantined"),
        "gpu.lift_quarantine": _("lifted the quarantine of"),
        "config.create": _("added the config"),
        "config.save": _("edited the config"),
        "config.archive": _("removed the config"),
        "config.restore": _("brought back the config"),
        "delivery.create": _("asked for the delivery"),
        "delivery.requirement": _("wrote the requirement of"),
        "delivery.tool": _("chose the tool of"),
        "delivery.close": _("closed the delivery"),
        "delivery.reopen": _("opened again the delivery"),
        "delivery.delete": _("deleted the delivery"),
        "registry.create": _("added the registry"),
        "registry.save": _("changed the registry"),
        "registry.delete": _("removed the registry"),
        "registry.check": _("checked the registry"),
        "secrets.rotate": _("changed the key of stored passwords"),
        "image.push": _("asked for the push"),
        "image.save": _("asked for the archive of"),
        "image.load": _("asked for the load of"),
        "image.push_cancel": _("cancelled the push"),
        "image.save_cancel": _("cancelled the archive"),
        "image.load_cancel": _("cancelled the load"),
        "catalogue.load": _("loaded the catalogue"),
        "model.create": _("added the model"),
        "comparison.delete": _("deleted the comparison"),
        "comparison.batch": _("compared a set of prompts in"),
        "model.save": _("edited the model"),
        "model.delete": _("removed the model"),
        "key.create": _("made the key"),
        "key.edit": _("edited the key"),
        "key.revoke": _("revoked the key"),
        "person.create": _("added the person"),
        "person.save": _("edited the person"),
        "person.password": _("set the password of"),
        "person.delete": _("removed the person"),
        "role.create": _("added the role"),
        "role.save": _("edited the role"),
        "role.delete": _("removed the role"),
        "installation.export": _("exported the"),
        "installation.import": _("imported the"),
    }
    return known.get(action, action)
