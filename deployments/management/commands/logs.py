"""``manage.py logs CONFIG [-f]``: the log of its newest attempt."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from deployments.commands import BerthCommand
from deployments.exceptions import NotFoundError
from deployments.logs import read_stream, stored_text
from deployments.models import Deployment
from deployments.selectors import find_config

POLL_S = 0.3


class Command(BerthCommand):
    help = "Print the log of a config's newest attempt."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("config", help="name of a config")
        parser.add_argument("-f", "--follow", action="store_true", help="go on until the attempt ends")

    def handle(self, *args: Any, **options: Any) -> None:
        config = find_config(options["config"])
        deployment = Deployment.objects.filter(config=config).first()
        if deployment is None:
            raise NotFoundError(_("%(name)s has never been started.") % {"name": config.name})
        text = stored_text(deployment)
        if text is not None:
            self.stdout.write(text)
            return
        self._stream(deployment, follow=options["follow"])

    def _stream(self, deployment: Deployment, *, follow: bool) -> None:
        cursor = "0"
        while True:
            lines, cursor, ended = read_stream(deployment.pk, deployment.attempt, after=cursor)
            for line in lines:
                self.stdout.write(line)
            if ended or (not follow and not lines):
                return
            if not lines:
                time.sleep(POLL_S)
                deployment.refresh_from_db()
                if not deployment.is_live:
                    follow = False
