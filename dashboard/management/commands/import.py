"""``manage.py import FILE``: what “berth export” wrote, in the place of what is here."""  # noqa: N999 - what people type

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from dashboard.moving.importing import import_installation
from deployments.actors import Actor
from deployments.commands import BerthCommand
from deployments.exceptions import InvalidInputError


class Command(BerthCommand):
    help = "Take over catalogue, people and history from a file of “berth export” of the same version. All or nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="what to read, or - for standard input")
        parser.add_argument("--replace", action="store_true", help="delete what people did here, and take the file's")

    def handle(self, *args: Any, **options: Any) -> None:
        count = self._read(options["file"], replace=options["replace"])
        self.stdout.write(
            _("%(count)s rows imported. Sign in with the old installation's password.") % {"count": count}
        )

    def _read(self, name: str, *, replace: bool) -> int:
        actor = Actor.command_line()
        if name == "-":
            return import_installation(sys.stdin.buffer, replace=replace, actor=actor)
        try:
            stream = Path(name).open("rb")  # noqa: SIM115 - closed below; only the opening may fail so
        except OSError as error:
            message = _("%(path)s cannot be read: %(reason)s.")
            raise InvalidInputError(message % {"path": name, "reason": error.strerror}) from error
        with stream:
            return import_installation(stream, replace=replace, actor=actor)
