"""``manage.py secrets rotate``: a new key for every stored password."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.actors import Actor
from deployments.commands import BerthCommand
from deployments.encryption.keys import key_file
from deployments.encryption.rotation import rotate


class Command(BerthCommand):
    help = "Encrypt every stored password with a new key, and drop the old one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "verb", choices=("rotate",), help="rotate: a new key, all passwords again, the old key gone"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        count = rotate(actor=Actor.command_line())
        told = ngettext("%(n)d password has a new key.", "%(n)d passwords have a new key.", count) % {"n": count}
        self.stdout.write(told)
        self.stdout.write(
            _("Copy %(path)s to every other node now: without it they can push nothing.") % {"path": key_file()}
        )
