"""``manage.py bench MODEL``: how fast a running model answers one user, two, four and so on."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deployments.actors import Actor
from deployments.commands import FAILED, BerthCommand
from playground.loadtests.asking import KINDS, kinds_for
from playground.loadtests.figures import Level
from playground.loadtests.presenting import LevelRow, SpreadCell, as_record, level_rows
from playground.loadtests.settings import LoadSettings, read_concurrency
from playground.models import LoadTest
from playground.selectors import RequestTarget, request_target
from playground.selectors_load_tests import find_load_test
from playground.services.load_tests import begin_load_test, cancel_load_test

_LOOK_S: Final = 0.5
#: Narrower terminals see the 95th percentiles only.
_WIDE: Final = 135
#: After a Ctrl-C, as long as the worker may take to hear of it.
_LEAVE_S: Final = 5.0
_INTERRUPTED: Final = 130


class Command(BerthCommand):
    help = (
        "Ask a running model with more and more users at once, through the gateway as they do, and print how fast it "
        "answers. The node's worker sends the requests, the figures are kept. Exits with 1 if no request was answered."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        usual = LoadSettings()
        parser.add_argument("model", help="name of a model or config that is ready")
        parser.add_argument(
            "--concurrency", default="1,2,4,8,16,32", metavar="N,N,…", help="users at once, a level each"
        )
        parser.add_argument("--requests", type=int, default=usual.requests, metavar="N", help="requests of each level")
        parser.add_argument("--prompt-tokens", type=int, default=usual.prompt_tokens, metavar="N")
        parser.add_argument("--output-tokens", type=int, default=usual.output_tokens, metavar="N")
        parser.add_argument("--kind", choices=[*KINDS], help="how to ask; else as the config speaks")
        parser.add_argument("--no-stream", action="store_true", help="ask for whole answers")
        parser.add_argument("--direct", action="store_true", help="ask the server itself instead of the gateway")
        parser.add_argument("--level-seconds", type=int, default=usual.level_s, metavar="S", help="bound of a level")
        parser.add_argument("--json", action="store_true", help="print all figures as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        target = request_target(options["model"], protocol=None)
        test = begin_load_test(target.config, actor=Actor.command_line(), settings=_settings(options, target))
        self.warn_unless_running()
        try:
            test = self._follow(test, quiet=options["json"])
        except KeyboardInterrupt:
            test = self._cancel(test)
        if options["json"]:
            self.write_json(as_record(test))
        else:
            self._show(test)
        if test.state == LoadTest.State.CANCELLED:
            sys.exit(_INTERRUPTED)
        if test.state == LoadTest.State.FAILED or not any(level["done"] for level in test.measured):
            sys.exit(FAILED)

    def _follow(self, test: LoadTest, *, quiet: bool) -> LoadTest:
        console = Console(stderr=True)
        if quiet or not console.is_terminal:
            return self._follow_in_lines(test, quiet=quiet)
        with Live(console=console, transient=True, auto_refresh=False) as live:
            while test.is_live:
                live.update(_picture(test), refresh=True)
                time.sleep(_LOOK_S)
                test = find_load_test(test.pk)
        return test

    def _follow_in_lines(self, test: LoadTest, *, quiet: bool) -> LoadTest:
        told = 0
        while True:
            over = [level for level in test.measured if level["ended"]]
            for level in () if quiet else over[told:]:
                self.stderr.write(_line(level))
            told = len(over)
            if not test.is_live:
                return test
            time.sleep(_LOOK_S)
            test = find_load_test(test.pk)

    def _cancel(self, test: LoadTest) -> LoadTest:
        cancel_load_test(test.pk, actor=Actor.command_line())
        ends_at = time.monotonic() + _LEAVE_S
        while (test := find_load_test(test.pk)).is_live and time.monotonic() < ends_at:
            time.sleep(_LOOK_S)
        return test

    def _show(self, test: LoadTest) -> None:
        rows = level_rows(test.measured)
        if rows:
            self.write_table(_table(rows))
        for title, sentence in _sentences(rows):
            self.stderr.write(f"{title}: {sentence}")
        if test.error:
            self.stderr.write(test.error)
        told = {"number": test.pk, "config": test.config}
        self.stderr.write(_("Kept as load test %(number)s of %(config)s; the page Load test compares it.") % told)


def _settings(options: dict[str, Any], target: RequestTarget) -> LoadSettings:
    return LoadSettings(
        kind=options["kind"] or kinds_for(target.protocol, target.engine)[0],
        concurrency=read_concurrency(options["concurrency"]),
        requests=options["requests"],
        prompt_tokens=options["prompt_tokens"],
        output_tokens=options["output_tokens"],
        stream=not options["no_stream"],
        direct=options["direct"],
        level_s=options["level_seconds"],
    )


def _picture(test: LoadTest) -> Group:
    """What a terminal shows while it runs."""
    sentence = _("%(config)s is under load; Ctrl-C ends it and keeps what came.") % {"config": test.config}
    if test.state == LoadTest.State.PENDING:
        sentence = _("Waiting for the worker of %(node)s.") % {"node": test.node.name}
    return Group(_table(level_rows(test.measured)), Text(sentence, style="dim"))


def _table(rows: Sequence[LevelRow]) -> Table:
    console = Console()
    shown = slice(None) if not console.is_terminal or console.width >= _WIDE else slice(1, 2)
    table = Table(box=None, pad_edge=False, header_style="dim")
    titles = [_("users"), _("answered"), _("errors"), _("req/s"), _("tok/s"), _("a stream")]
    for spread in _times(rows):
        titles += [f"{spread[0].title} {spread[shown][0].percentile}", *(cell.percentile for cell in spread[shown][1:])]
    for title in titles:
        table.add_column(title, justify="right", vertical="bottom")
    for row in rows:
        cells = [
            row.users,
            row.requests,
            row.errors.text,
            row.requests_per_s,
            row.tokens_per_s,
            row.stream_tokens_per_s,
        ]
        cells += [cell.text for spread in row.spreads for cell in spread[shown]]
        # Titles wrap where it is narrow, figures never.
        table.add_row(
            *(cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in cells), style="dim" if row.is_live else None
        )
    return table


def _times(rows: Sequence[LevelRow]) -> Sequence[Sequence[SpreadCell]]:
    """The columns of times; none as long as nothing was measured."""
    return rows[0].spreads if rows else []


def _sentences(rows: Sequence[LevelRow]) -> list[tuple[str, str]]:
    """Notes and kinds of errors, each with its number of users."""
    found = []
    for row in rows:
        found += [(row.title, note) for note in row.notes]
        found += [(row.title, f"{count} × {words}") for count, words in row.problems]
    return found


def _line(level: Level) -> str:
    row = level_rows([level])[0]
    told = {"users": row.title, "rate": row.requests_per_s, "tokens": row.tokens_per_s, "first": row.spreads[0][1].text}
    return _("%(users)s: %(rate)s req/s, %(tokens)s tok/s, %(first)s ms to the first token at p95") % told
