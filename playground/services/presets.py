"""Keeps settings and prompts under names; shared ones are offered to everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.audit import record_audit
from deployments.exceptions import InvalidInputError, NotFoundError
from playground.chat.settings import ChatSettings
from playground.models import Preset

from .ownership import person_of

MOST_PRESETS: Final = 200
LONGEST_PROMPT: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class PresetContent:
    """What a preset holds."""

    settings: ChatSettings
    prompt: str = ""
    is_shared: bool = False


def keep_preset(name: str, content: PresetContent, *, actor: Actor) -> Preset:
    """Keep ``content`` as ``name``, over this person's preset of that name if there is one.

    Raises NotAllowedError, InvalidInputError.
    """
    owner = person_of(actor)
    name = " ".join(name.split())
    if not name or len(name) > 100 or not name.isprintable():
        sentence = _("A preset's name has between 1 and 100 characters.")
        raise InvalidInputError(sentence, fields={"name": [sentence]})
    if len(content.prompt) > LONGEST_PROMPT:
        raise InvalidInputError(_("The prompt has more than 100,000 characters."))
    with transaction.atomic():
        mine = Preset.objects.filter(owner=owner)
        before = mine.filter(name=name).first()
        if before is None and mine.count() >= MOST_PRESETS:
            raise InvalidInputError(_("You have 200 presets. Delete one first."))
        preset, _made = Preset.objects.update_or_create(
            owner=owner,
            name=name,
            defaults={
                "prompt": content.prompt.replace("\0", ""),
                "settings": content.settings.to_json(),
                "is_shared": content.is_shared,
            },
        )
        # What only its owner sees is no business of the audit.
        if content.is_shared or (before is not None and before.is_shared):
            record_audit(actor, "preset.share" if content.is_shared else "preset.unshare", name)
    return preset


def delete_preset(preset_id: int, *, actor: Actor) -> None:
    """Delete a preset of this person. Raises NotAllowedError, NotFoundError."""
    with transaction.atomic():
        preset = Preset.objects.filter(pk=preset_id, owner=person_of(actor)).first()
        if preset is None:
            raise NotFoundError(_("There is no such preset of yours."))
        preset.delete()
        if preset.is_shared:
            record_audit(actor, "preset.delete", preset.name)
