"""Adding, editing and deleting models: what configs serve."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from deployments.actors import EDIT_CATALOGUE, Actor
from deployments.audit import record_audit
from deployments.config_names import check_model_name
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.models import CatalogueModel


@dataclass(frozen=True, kw_only=True)
class ModelValues:
    """What a person says about a model. ``parameters_b`` is in billions.

    ``layers``, ``kv_heads`` and ``head_dimension`` are those of its config.json; the memory estimate needs them.
    """

    description: str = ""
    parameters_b: float | None = None
    native_context_tokens: int | None = None
    layers: int | None = None
    kv_heads: int | None = None
    head_dimension: int | None = None
    vision: bool = False


def create_model(name: str, values: ModelValues, *, actor: Actor) -> CatalogueModel:
    """Add a model. Raises NotAllowedError, or InvalidInputError when a field is wrong or the name taken."""
    actor.require(EDIT_CATALOGUE)
    reasons = check_model_name(name)
    if reasons:
        raise InvalidInputError(" ".join(reasons), fields={"name": reasons})
    model = CatalogueModel(name=name)
    _set(model, values)
    try:
        with transaction.atomic():
            model.save(force_insert=True)
            record_audit(actor, "model.create", name)
    except IntegrityError:
        reason = _("There is a model of this name already. Choose another name.")
        raise InvalidInputError(reason, fields={"name": [reason]}) from None
    return model


def save_model(name: str, values: ModelValues, *, actor: Actor) -> bool:
    """Change what is said about a model. False when nothing differed.

    From then on the model no longer follows its catalogue file. Raises NotAllowedError, NotFoundError,
    InvalidInputError.
    """
    actor.require(EDIT_CATALOGUE)
    with transaction.atomic():
        model = _locked_model(name)
        changed = [key for key, value in asdict(values).items() if getattr(model, key) != value]
        if not changed:
            return False
        _set(model, values)
        model.catalogue_file = ""
        model.save()
        record_audit(actor, "model.save", name, fields=changed)
    return True


def delete_model(name: str, *, actor: Actor) -> None:
    """Delete a model that no config serves, not even a removed one.

    Raises NotAllowedError, NotFoundError, or ConflictError naming the configs.
    """
    actor.require(EDIT_CATALOGUE)
    with transaction.atomic():
        model = _locked_model(name)
        serving = list(model.configs.values_list("name", flat=True)[:5])
        if serving:
            raise ConflictError(
                _("“%(name)s” is served by %(configs)s. Give those configs another model first.")
                % {"name": name, "configs": ", ".join(serving)}
            )
        model.delete()
        record_audit(actor, "model.delete", name)


def find_model(name: str) -> CatalogueModel:
    """The model of that name. Raises NotFoundError."""
    found = CatalogueModel.objects.filter(name=name).first()
    if found is None:
        raise NotFoundError(_("There is no model “%(name)s”.") % {"name": name})
    return found


def _locked_model(name: str) -> CatalogueModel:
    found = CatalogueModel.objects.select_for_update().filter(name=name).first()
    if found is None:
        raise NotFoundError(_("There is no model “%(name)s”.") % {"name": name})
    return found


def _set(model: CatalogueModel, values: ModelValues) -> None:
    for key, value in asdict(values).items():
        setattr(model, key, value)
    try:
        model.clean_fields(exclude=["name", "catalogue_file"])
    except ValidationError as error:
        told = " ".join(f"{key}: {' '.join(texts)}" for key, texts in error.message_dict.items())
        raise InvalidInputError(told, fields=error.message_dict) from None
