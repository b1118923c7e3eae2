"""``manage.py stop CONFIG``: end its runs, and wait for that if told to."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.commands import BerthCommand, wait_for
from deployments.models import Deployment
from deployments.services.lifecycle import stop_config, stop_now
from deployments.status import status_of


class Command(BerthCommand):
    help = "Stop a config. Stopping what is stopped changes nothing and exits with 0."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("config", help="name of a config")
        parser.add_argument("--now", action="store_true", help="cut off requests that are under way")
        parser.add_argument("--wait", action="store_true", help="wait until its process is gone")
        parser.add_argument("--json", action="store_true", help="print the deployments as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["config"]
        deployments = [result.deployment for result in stop_config(name, actor=Actor.command_line())]
        if options["now"]:
            deployments = [stop_now(each.pk, actor=Actor.command_line()).deployment for each in deployments]
        if deployments:
            self.warn_unless_running()
        if options["wait"]:
            deployments = [self._wait(deployment, options) for deployment in deployments]
        if options["json"]:
            self.write_json([status_of(deployment.config, deployment).to_json() for deployment in deployments])
        elif not deployments:
            self.stdout.write(_("%(name)s is not running.") % {"name": name})
        for deployment in () if options["json"] else deployments:
            phase = deployment.get_phase_display()
            self.stdout.write(
                _("%(name)s: %(phase)s") % {"name": name, "phase": phase if options["wait"] else _("stopping")}
            )

    def _wait(self, deployment: Deployment, options: dict[str, Any]) -> Deployment:
        ended = wait_for(deployment.pk, lambda _it: False, timeout_s=None, quiet=options["json"])
        return ended or deployment
