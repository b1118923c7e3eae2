"""The one way to write a config: its columns and the revision that records them, together."""

from __future__ import annotations

from deployments.actors import Actor
from deployments.config_values import ConfigValues
from deployments.models import CatalogueModel, Config, ConfigRevision


def write_revision(
    config: Config, values: ConfigValues, model: CatalogueModel, *, actor: Actor, comment: str = ""
) -> ConfigRevision:
    """Save ``config`` with ``values`` as its next revision. Call it in a transaction that locked the config.

    ``values`` were checked, and ``model`` is the row that they name. A second writer of the same number
    fails with IntegrityError.
    """
    values.write_to(config, model)
    config.revision += 1
    config.save()
    return ConfigRevision.objects.create(
        config=config,
        number=config.revision,
        values=values.to_json(),
        author=actor.name,
        user=actor.user,
        comment=comment,
    )
