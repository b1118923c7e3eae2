"""``manage.py nodes``: what each node has and holds; and taking one out of use."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from rich.table import Table

from deployments.actors import Actor
from deployments.commands import BerthCommand
from deployments.models import Node
from deployments.placement.situation import Fleet
from deployments.placement.views import GpuView
from deployments.presentation.placement import gib, holder_words
from deployments.presentation.states import silent_since
from deployments.services.nodes import set_maintenance


class Command(BerthCommand):
    help = "List the nodes with their GPUs, who holds them and what is free; or put one into maintenance."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("node", nargs="?", default="", help="with --maintenance: name of a node")
        parser.add_argument("--maintenance", choices=("on", "off"), help="let the node take nothing new, or again")
        parser.add_argument("--note", default="", help="with --maintenance on: the reason that is shown")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["maintenance"]) != bool(options["node"]):
            raise CommandError(_("Name a node with --maintenance on or off, and only then."), returncode=2)
        if options["maintenance"]:
            on = options["maintenance"] == "on"
            set_maintenance(options["node"], actor=Actor.command_line(), on=on, note=options["note"])
        fleet = Fleet()
        nodes = [node for node in fleet.nodes if options["node"] in ("", node.name)]
        if options["json"]:
            self.write_json([_as_json(node, fleet) for node in nodes])
        elif nodes:
            self.write_table(_table(nodes, fleet))
        else:
            self.stderr.write(_("No node has reported yet. Start Berth with: berth up"))


def _table(nodes: list[Node], fleet: Fleet) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (_("NODE"), _("STATE"), _("RUNTIMES"), _("GPU")):
        table.add_column(title)
    for title in (_("FREE"), _("OF")):
        table.add_column(title, justify="right")
    table.add_column(_("HELD BY"))
    for node in nodes:
        first = (node.name, _state(node), ", ".join(node.runtimes))
        gpus = fleet.gpus(node)
        if not gpus:
            table.add_row(*first, "–", "", "", "")
        for position, gpu in enumerate(gpus):
            shown = first if position == 0 else ("", "", "")
            table.add_row(*shown, str(gpu.index), gib(gpu.free_bytes), gib(gpu.memory_bytes), _held_by(gpu))
    return table


def _state(node: Node) -> str:
    now = timezone.now()
    silent = silent_since(node, now)
    parts = []
    if silent is not None:
        parts.append(_("silent for %(seconds)s s") % {"seconds": int((now - silent).total_seconds())})
    if node.maintenance_since is not None:
        parts.append(_("maintenance"))
    return ", ".join(parts) or _("reports")


def _held_by(gpu: GpuView) -> str:
    parts = [f"{gpu.holder.config} #{gpu.holder.deployment_id}"] if gpu.holder else []
    parts += [holder_words(process) for process in gpu.foreign]
    parts += [_("quarantined")] if gpu.quarantined else []
    parts += [_("replay")] if gpu.replay else []
    return ", ".join([*parts, gpu.trouble] if gpu.trouble else parts)


def _as_json(node: Node, fleet: Fleet) -> dict[str, Any]:
    silent = silent_since(node, timezone.now())
    return {
        "node": node.name,
        "silent_since": silent.isoformat() if silent else None,
        "runtimes": node.runtimes,
        "address": node.address,
        "maintenance": node.maintenance_since.isoformat() if node.maintenance_since else None,
        "maintenance_by": node.maintenance_by,
        "maintenance_note": node.maintenance_note,
        "facts": node.facts,
        "gpus": [_gpu_as_json(gpu) for gpu in fleet.gpus(node)],
    }


def _gpu_as_json(gpu: GpuView) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "memory_bytes": gpu.memory_bytes,
        "free_bytes": gpu.free_bytes,
        "held_by": {"deployment": gpu.holder.deployment_id, "config": gpu.holder.config} if gpu.holder else None,
        "foreign": [
            {"pid": each.pid, "user": each.user, "command": each.command, "memory_bytes": each.memory_bytes}
            for each in gpu.foreign
        ],
        "quarantined": gpu.quarantined,
        "replay": gpu.replay,
        "trouble": gpu.trouble,
    }
