"""Adding, editing, removing and bringing back configs. Each save is a revision; nothing is ever lost."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import EDIT_CATALOGUE, Actor
from deployments.audit import record_audit
from deployments.config_checks import check_values
from deployments.config_names import check_config_name
from deployments.config_values import ConfigValues
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.lifecycle.phases import ENDED
from deployments.models import CatalogueModel, Config, ConfigRevision, Deployment
from deployments.revisions import changed_fields

from .revisions import write_revision


@dataclass(frozen=True, kw_only=True)
class SaveResult:
    """``revision`` is None when the values were those of the current revision, so nothing was written."""

    config: Config
    revision: ConfigRevision | None


def create_config(
    name: str, values: ConfigValues, *, actor: Actor, comment: str = "", copied_from: str = ""
) -> SaveResult:
    """Add a config. ``copied_from`` names the one that it was copied from, for the audit.

    Raises NotAllowedError, or InvalidInputError when a field is wrong or the name is taken.
    """
    actor.require(EDIT_CATALOGUE)
    reasons = check_config_name(name)
    if reasons:
        raise InvalidInputError(" ".join(reasons), fields={"name": reasons})
    model = _checked_model(values)
    try:
        with transaction.atomic():
            _refuse_taken(name)
            config = Config(name=name)
            revision = write_revision(config, values, model, actor=actor, comment=comment)
            record_audit(actor, "config.create", name, revision=revision.number, copied_from=copied_from)
    except IntegrityError:
        _refuse_taken(name)
        raise
    return SaveResult(config=config, revision=revision)


def save_config(
    name: str, values: ConfigValues, *, actor: Actor, comment: str = "", base_revision: int | None = None
) -> SaveResult:
    """Write ``values`` as the next revision; nothing when they are the current ones already.

    ``base_revision`` is the revision that the person started from: ConflictError when it is no longer the
    current one. Raises NotAllowedError, NotFoundError, InvalidInputError.
    """
    actor.require(EDIT_CATALOGUE)
    model = _checked_model(values)
    with transaction.atomic():
        config = _locked_config(name)
        current = ConfigValues.of(config)
        if current == values:
            return SaveResult(config=config, revision=None)
        if base_revision is not None and base_revision != config.revision:
            raise ConflictError(
                _("Somebody saved revision %(current)d of “%(name)s” after you opened revision %(base)d.")
                % {"current": config.revision, "name": name, "base": base_revision}
            )
        revision = write_revision(config, values, model, actor=actor, comment=comment)
        record_audit(actor, "config.save", name, revision=revision.number, fields=changed_fields(current, values))
    return SaveResult(config=config, revision=revision)


def rollback_config(name: str, number: int, *, actor: Actor, base_revision: int | None = None) -> SaveResult:
    """Write the values of revision ``number`` as a new revision.

    Raises as :func:`save_config` does; InvalidInputError when those values are no longer valid.
    """
    actor.require(EDIT_CATALOGUE)
    past = find_revision(name, number)
    return save_config(
        name,
        ConfigValues.from_json(past.values),
        actor=actor,
        comment=_("Back to revision %(number)d") % {"number": number},
        base_revision=base_revision,
    )


def archive_config(name: str, *, actor: Actor) -> bool:
    """Take a config out of the catalogue; its revisions and past runs stay. False when it was out already.

    Raises NotAllowedError, NotFoundError, or ConflictError while a deployment of it is live.
    """
    actor.require(EDIT_CATALOGUE)
    with transaction.atomic():
        config = _locked_config(name, archived=True)
        if config.archived_at is not None:
            return False
        live = Deployment.objects.filter(config=config).exclude(phase__in=ENDED).first()
        if live is not None:
            raise ConflictError(
                _("“%(name)s” is in use: deployment %(deployment)d is %(phase)s. Stop it first, then remove it.")
                % {"name": name, "deployment": live.pk, "phase": live.get_phase_display()}
            )
        config.archived_at = timezone.now()
        config.save(update_fields=["archived_at", "updated_at"])
        record_audit(actor, "config.archive", name)
    return True


def restore_config(name: str, *, actor: Actor) -> bool:
    """Bring a removed config back as it was. False when it was not removed.

    Raises NotAllowedError, NotFoundError.
    """
    actor.require(EDIT_CATALOGUE)
    with transaction.atomic():
        config = _locked_config(name, archived=True)
        if config.archived_at is None:
            return False
        config.archived_at = None
        config.save(update_fields=["archived_at", "updated_at"])
        record_audit(actor, "config.restore", name)
    return True


def find_revision(name: str, number: int) -> ConfigRevision:
    """One revision of a config, removed or not. Raises NotFoundError."""
    found = ConfigRevision.objects.select_related("config__model").filter(config__name=name, number=number).first()
    if found is None:
        raise NotFoundError(_("“%(name)s” has no revision %(number)d.") % {"name": name, "number": number})
    return found


def _checked_model(values: ConfigValues) -> CatalogueModel:
    """The row that the values name, after checking all of them. Raises InvalidInputError."""
    models = {model.name: model for model in CatalogueModel.objects.all()}
    check_values(values.to_json(), models=models).accepted()
    return models[values.model]


def _locked_config(name: str, *, archived: bool = False) -> Config:
    config = Config.objects.select_for_update(of=("self",)).select_related("model").filter(name=name).first()
    if config is None:
        raise NotFoundError(_("There is no config “%(name)s”.") % {"name": name})
    if config.archived_at is not None and not archived:
        raise ConflictError(_("“%(name)s” was removed from the catalogue. Restore it first.") % {"name": name})
    return config


def _refuse_taken(name: str) -> None:
    taken = Config.objects.filter(name=name).first()
    if taken is None:
        return
    reason = _("There is a config of this name already. Choose another name.")
    if taken.archived_at is not None:
        reason = _("A removed config has this name. Restore that one, or choose another name.")
    raise InvalidInputError(reason, fields={"name": [reason]})
