from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.catalogue.loading import LoadReport, load_catalogue
from deployments.commands import BerthCommand


class Command(BerthCommand):
    help = "Load the catalogue files into the database; what a person edited stays as it is. Repeatable."

    def handle(self, *_args: Any, **_options: Any) -> None:
        report = load_catalogue(Actor.berth())
        for line in _lines(report):
            self.stdout.write(line)


def _lines(report: LoadReport) -> list[str]:
    """What was done and what was left alone; one line when nothing differs."""
    told = [
        (_("Added: %(names)s"), report.created),
        (_("Updated: %(names)s"), report.updated),
        (_("Left as people edited them: %(names)s"), report.kept),
        (_("Models added: %(names)s"), report.models_created),
        (_("Models updated: %(names)s"), report.models_updated),
    ]
    lines = [sentence % {"names": ", ".join(names)} for sentence, names in told if names]
    return lines or [_("The catalogue is up to date.")]
