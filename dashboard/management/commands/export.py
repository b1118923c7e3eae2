"""``manage.py export FILE``: catalogue, people and history in one file, for another installation."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from dashboard.moving.archive import writing
from dashboard.moving.exporting import export_installation
from deployments.actors import Actor
from deployments.commands import BerthCommand


class Command(BerthCommand):
    help = (
        "Write catalogue, people and history to FILE, which “berth import” reads, on SQLite or PostgreSQL. Models have "
        "to be stopped. It holds password hashes and digests of keys: keep it as you keep a backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="where to write, or - for standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor.command_line()
        if options["file"] == "-":
            with gzip.GzipFile(filename="", fileobj=sys.stdout.buffer, mode="wb") as stream:
                count = export_installation(stream, actor=actor)
        else:
            with writing(Path(options["file"])) as file:
                count = export_installation(file, actor=actor)
        self.stderr.write(_("%(count)s rows exported.") % {"count": count}, self.style.SUCCESS)
