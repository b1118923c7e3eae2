"""``manage.py doctor``: looks at everything that Berth stands on, and says what to repair."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.text import Text

from dashboard.doctor.examination import examine
from dashboard.doctor.findings import Report, State
from dashboard.doctor.words import line

MARKS = {"ok": ("✓", "green"), "warning": ("▲", "yellow"), "failed": ("✗", "red"), "skipped": ("–", "dim")}


class Command(BaseCommand):
    help = "Look at database, Redis, worker, agent, Docker, GPUs, disk, clock, ports and hub; exit 1 if one failed."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the report as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        report = examine()
        if options["json"]:
            self.stdout.write(json.dumps(_document(report), indent=2, ensure_ascii=False))
        else:
            self._print(report)
        if report.worst is State.FAILED:
            raise SystemExit(1)

    def _print(self, report: Report) -> None:
        console = Console(file=self.stdout, soft_wrap=True, highlight=False)  # type: ignore[arg-type]
        words = [line(finding) for finding in report.findings]
        width = max(len(each.title) for each in words)
        for each in words:
            mark, colour = MARKS[each.state]
            console.print(Text.assemble((mark, colour), f" {each.title:<{width}}  {each.sentence}"))
            if each.fix:
                console.print(Text(f"  {'':<{width}}  → {each.fix} {each.link}".rstrip()))


def _document(report: Report) -> dict[str, Any]:
    findings = [
        {"check": finding.check, "outcome": finding.outcome, "params": finding.params, **vars(line(finding))}
        for finding in report.findings
    ]
    return {"node": report.node, "at": report.at, "worst": report.worst.value, "findings": findings}
