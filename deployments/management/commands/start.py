"""``manage.py start CONFIG``: ask for a run, and wait for it if told to."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.commands import BerthCommand, seconds, wait_for
from deployments.lifecycle.phases import Phase
from deployments.lifecycle.reasons import explain
from deployments.models import Deployment
from deployments.services.lifecycle import find_deployment, start_deployment
from deployments.status import status_of


class Command(BerthCommand):
    help = "Start a config. Starting what runs already changes nothing and exits with 0."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("config", help="name of a config, as in: berth configs")
        parser.add_argument("--wait", action="store_true", help="wait until it is ready or has failed")
        parser.add_argument("--timeout", type=seconds, metavar="S", help="with --wait: give up waiting after S seconds")
        parser.add_argument("--json", action="store_true", help="print the deployment as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["timeout"] is not None and not options["wait"]:
            raise CommandError(_("--timeout bounds --wait: give both."), returncode=2)
        result = start_deployment(options["config"], actor=Actor.command_line())
        deployment, name = result.deployment, options["config"]
        self.warn_unless_running()
        if not result.created:
            self.stderr.write(
                _("%(name)s is %(phase)s already.") % {"name": name, "phase": deployment.get_phase_display()}
            )
        in_time = True
        if options["wait"] and deployment.phase != Phase.READY:
            deployment, in_time = self._wait(deployment, options)
        if options["json"]:
            self.write_json(status_of(deployment.config, deployment).to_json())
        elif deployment.phase == Phase.READY:
            self.stdout.write(_("%(name)s is ready at %(url)s") % {"name": name, "url": deployment.endpoint})
        elif not options["wait"]:
            self.stdout.write(_("%(name)s is starting (deployment %(id)s).") % {"name": name, "id": deployment.pk})
        if options["wait"] and deployment.phase != Phase.READY:
            self.fail(self._why(deployment) if in_time else self._too_slow(options))

    def _wait(self, deployment: Deployment, options: dict[str, Any]) -> tuple[Deployment, bool]:
        """The deployment when it was ready or ended, or when the time was up, and whether that was in time."""
        followed = wait_for(
            deployment.pk,
            lambda it: it.phase == Phase.READY,
            timeout_s=options["timeout"],
            quiet=options["json"],
        )
        return followed or find_deployment(deployment.pk), followed is not None

    def _too_slow(self, options: dict[str, Any]) -> str:
        return _("%(name)s is not ready after %(seconds)s s; it goes on starting. Look at: berth logs %(name)s") % {
            "name": options["config"],
            "seconds": f"{options['timeout']:g}",
        }

    def _why(self, deployment: Deployment) -> str:
        reason = explain(deployment.reason, deployment.reason_params)
        name = deployment.spec["config"]
        return f"{name}: {deployment.get_phase_display()}. {reason} " + _("Log: berth logs %(name)s") % {"name": name}
