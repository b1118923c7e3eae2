"""``manage.py start CONFIG``: ask for a run, and wait for it if told to."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.commands import BerthCommand, gpu_indexes, seconds, wait_for
from deployments.lifecycle.phases import Phase
from deployments.lifecycle.reasons import explain
from deployments.models import Deployment
from deployments.placement.preview import preview_placement
from deployments.presentation.placement import obstacle_lines, refusal_words
from deployments.selectors import find_config, live_runs
from deployments.services.lifecycle import (
    Pins,
    StartResult,
    find_deployment,
    pinned_columns,
    replace_deployment,
    start_deployment,
)
from deployments.status import status_of


class Command(BerthCommand):
    help = "Start a config. Starting what runs already changes nothing and exits with 0."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("config", help="name of a config, as in: berth configs")
        parser.add_argument("--wait", action="store_true", help="wait until it is ready or has failed")
        parser.add_argument("--timeout", type=seconds, metavar="S", help="with --wait: give up waiting after S seconds")
        parser.add_argument("--dry-run", action="store_true", help="say where it would go, and exit with 1 if nowhere")
        parser.add_argument("--node", default="", help="start it on this node")
        parser.add_argument("--gpus", type=gpu_indexes, default=(), metavar="0,1", help="with --node: on these GPUs")
        parser.add_argument("--stop-first", action="append", default=[], metavar="CONFIG", help="stop this one for it")
        parser.add_argument("--replace", action="store_true", help="replace what runs by the current revision")
        parser.add_argument("--in-place", action="store_true", help="with --replace: stop the old one first")
        parser.add_argument("--json", action="store_true", help="print the deployment as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["timeout"] is not None and not options["wait"]:
            raise CommandError(_("--timeout bounds --wait: give both."), returncode=2)
        if options["dry_run"]:
            self._preview(options)
            return
        name = options["config"]
        result = self._replace(options) if options["replace"] else self._start(options)
        deployment = result.deployment
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

    def _start(self, options: dict[str, Any]) -> StartResult:
        pins = Pins(node=options["node"], gpus=options["gpus"])
        stop_first = [run.pk for name in options["stop_first"] for run in live_runs(name)]
        return start_deployment(options["config"], actor=Actor.command_line(), pins=pins, stop_first=stop_first)

    def _replace(self, options: dict[str, Any]) -> StartResult:
        running = live_runs(options["config"])
        if not running:
            return self._start(options)
        new = replace_deployment(running[0].pk, actor=Actor.command_line(), in_place=options["in_place"])
        return StartResult(deployment=new, created=True)

    def _preview(self, options: dict[str, Any]) -> None:
        config = find_config(options["config"])
        pinned_columns(config, Pins(node=options["node"], gpus=options["gpus"]))  # refuses what a start would refuse
        preview = preview_placement(config, node=options["node"], gpus=options["gpus"])
        choice, refusal = preview.choice, preview.refusal
        lines = obstacle_lines(refusal.obstacles, preview.request) if refusal else []
        if options["json"]:
            stops = (
                [{"deployment": each.deployment_id, "config": each.config} for each in refusal.stops] if refusal else []
            )
            found = {"node": choice.node, "gpus": preview.chosen_indexes} if choice else None
            self.write_json(
                {
                    "config": config.name,
                    "fits": choice is not None,
                    "placement": found,
                    "reason": refusal.code if refusal else "",
                    "detail": refusal.detail if refusal else "",
                    "obstacles": lines,
                    "stop_first": stops,
                }
            )
        elif choice:
            gpus = ", ".join(f"GPU {index}" for index in preview.chosen_indexes)
            self.stdout.write(f"{config.name} → {choice.node} {gpus}".rstrip())
        if refusal:
            names = " ".join(f"--stop-first {each.config}" for each in refusal.stops)
            offer = _("Make room with: berth start %(name)s %(options)s") % {"name": config.name, "options": names}
            why = refusal_words(refusal, preview.request)
            told = [f"{config.name}: {why}", *(f"  {line}" for line in lines), offer if names else ""]
            self.fail("\n".join(filter(None, told)))

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
