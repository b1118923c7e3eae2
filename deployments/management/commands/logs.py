"""``manage.py logs CONFIG [-f]``: the log of its newest attempt."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from deployments.commands import BerthCommand
from deployments.exceptions import NotFoundError
from deployments.lifecycle.phases import Desired
from deployments.log_reader import LogReader, newest_logged_attempt, text_of
from deployments.log_text import plain
from deployments.models import Deployment
from deployments.selectors import find_config

POLL_S = 0.3


class Command(BerthCommand):
    help = "Print the log of a config's newest attempt that has one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("config", help="name of a config")
        parser.add_argument(
            "-f", "--follow", action="store_true", help="go on until the attempt ends, and with the next one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        config = find_config(options["config"])
        deployment = Deployment.objects.filter(config=config).first()
        if deployment is None:
            raise NotFoundError(_("%(name)s has never been started.") % {"name": config.name})
        number = newest_logged_attempt(deployment)
        self._say_what_is_shown(deployment, number)
        if options["follow"]:
            self._follow(deployment, number or deployment.attempt)
        elif number is not None:
            reader = LogReader(deployment.pk, number)
            while self._print_new(reader) and not reader.ended:
                pass

    def _say_what_is_shown(self, deployment: Deployment, number: int | None) -> None:
        """On stderr, since what is printed is the log alone."""
        words = {"number": deployment.attempt, "name": deployment.spec["config"], "shown": number}
        if number is None:
            self.stderr.write(_("Attempt %(number)s of %(name)s has no log yet.") % words)
        elif number != deployment.attempt:
            self.stderr.write(
                _("Attempt %(number)s of %(name)s has no log yet. This is the log of attempt %(shown)s:") % words
            )

    def _follow(self, deployment: Deployment, number: int) -> None:
        while True:
            reader = LogReader(deployment.pk, number)
            while not reader.ended:
                if not self._print_new(reader) and not reader.ended:
                    time.sleep(POLL_S)
            if not _has_next(deployment, number):
                return
            number += 1
            self.stderr.write(_("attempt %(number)s") % {"number": number})

    def _print_new(self, reader: LogReader) -> bool:
        pieces = reader.read()
        for piece in pieces:
            self.stdout.write(plain(text_of(piece)))
        return bool(pieces)


def _has_next(deployment: Deployment, number: int) -> bool:
    """Whether a newer attempt follows. A restart first ends the log, then counts: that moment is waited for."""
    while True:
        deployment.refresh_from_db()
        if deployment.attempt > number:
            return True
        restarts = deployment.generation > deployment.applied_generation and deployment.desired == Desired.RUNNING
        if not (restarts and deployment.is_live):
            return False
        time.sleep(POLL_S)
