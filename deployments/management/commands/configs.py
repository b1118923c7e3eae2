"""``manage.py configs``: the catalogue."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.table import Table

from deployments.commands import BerthCommand
from deployments.models import Config


class Command(BerthCommand):
    help = "List every config of the catalogue."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        configs = Config.objects.filter(archived_at=None, is_draft=False).select_related("model")
        if options["json"]:
            self.write_json([_as_json(config) for config in configs])
            return
        table = Table(box=None, pad_edge=False)
        for title in (_("CONFIG"), _("MODEL"), _("PROTOCOL"), _("ENGINE")):
            table.add_column(title)
        for title in (_("GPUS"), _("GIB")):
            table.add_column(title, justify="right")
        table.add_column(_("STARTS"))
        for config in configs:
            memory = f"{config.memory_gib:g}"
            starts = _("on request") if config.start_on_request else _("by hand")
            facts = (config.name, config.model.name, config.protocol, config.engine, str(config.gpus), memory, starts)
            table.add_row(*facts)
        self.write_table(table)


def _as_json(config: Config) -> dict[str, Any]:
    return {
        "config": config.name,
        "model": config.model.name,
        "protocol": config.protocol,
        "engine": config.engine,
        "runtime": config.runtime,
        "image": config.image,
        "gpus": config.gpus,
        "memory_gib": config.memory_gib,
        "context_tokens": config.context_tokens,
        "licence": config.licence,
        "gated": config.gated,
        "start_on_request": config.start_on_request,
        "stop_after_idle_minutes": config.stop_after_idle_minutes,
        "revision": config.revision,
    }
