"""``manage.py status``: what runs, or is on its way."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.table import Table

from deployments.commands import BerthCommand
from deployments.selectors import catalogue_rows
from deployments.status import Status, status_of


class Command(BerthCommand):
    help = "List live deployments; --all adds every other config."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="configs that do not run, too")
        parser.add_argument("--json", action="store_true", help="every config as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = catalogue_rows()
        if options["json"]:
            self.write_json([status_of(row.config, row.deployment).to_json() for row in rows])
            return
        shown = [status_of(row.config, row.deployment) for row in rows if options["all"] or row.is_live]
        if not shown:
            self.stdout.write(_("Nothing runs. Start a config with: berth start CONFIG. List them with: berth configs"))
            return
        self.write_table(_table(shown))


def _table(rows: list[Status]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (_("CONFIG"), _("MODEL"), _("PROTOCOL"), _("PHASE"), _("NODE"), _("ENDPOINT"), _("REASON")):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(row.config, row.model, row.protocol, row.phase, row.node, row.endpoint, row.reason)
    return table
