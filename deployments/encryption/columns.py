"""Which columns hold encrypted secrets: every SealedField of every model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models

#: What a reader that is not meant to have the secret gets in its place.
HIDDEN = ""


class SealedField(models.TextField):  # type: ignore[type-arg]
    """A column with an encrypted secret. Never in a form or an export: whoever needs the secret unseals it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"editable": False, "blank": True, "default": ""}
        super().__init__(*args, **kwargs)

    def value_to_string(self, obj: models.Model) -> str:
        """Nothing: Django's serializers write this into exports."""
        return HIDDEN

    def value_from_object(self, obj: models.Model) -> str:
        """Nothing: the serializers to Python and forms read this."""
        return HIDDEN


def sealed_columns() -> Iterator[tuple[type[models.Model], str]]:
    """Each model and the name of its column."""
    for model in apps.get_models():
        for field in model._meta.get_fields():
            if isinstance(field, SealedField):
                yield model, field.name


def any_sealed() -> bool:
    """Whether any secret is stored."""
    return any(models.QuerySet(model).exclude(**{name: ""}).exists() for model, name in sealed_columns())
