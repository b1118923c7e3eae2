"""The page Usage with ten million requests behind it: the roll-ups that they leave, and how long the page takes.

Run on its own: ``python -m tests.bench.usage``; it uses a database in a temporary folder.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ADDRESSES = {
    "a week, by model": "/usage/",
    "a day, by caller": "/usage/?span=24h&by=caller",
    "a week, by key": "/usage/?span=7d&by=key",
    "90 days, by key": "/usage/?span=90d&by=key",
    "90 days, by deployment": "/usage/?span=90d&by=deployment",
    "90 days of one key, by model": "/usage/?span=90d&by=model&key=1",
    "a week of one model, by key": "/usage/?span=7d&by=key&model=model-3",
    "a week of one deployment": "/usage/?span=7d&deployment=4",
    "a week of one key and model": "/usage/?span=7d&by=deployment&key=7&model=model-3",
    "a year, by caller": "/usage/?span=1y&by=caller",
    "a week by key as CSV": "/usage/usage.csv?span=7d&by=key",
}


@dataclass(frozen=True, kw_only=True)
class Load:
    """Who asked what: ``requests`` spread evenly over ``days``, every key asking every model."""

    requests: int = 10_000_000
    days: int = 90
    keys: int = 50
    models: int = 20


def fill(load: Load, now: datetime | None = None, *, hours_kept_days: int = 35) -> int:
    """Write the roll-ups that the load leaves; gives the number of rows. Needs Django's set-up and a database."""
    from playground.models import UsageDay, UsageHour

    _fill_day(load, now or datetime.now(UTC))
    _copy_day(UsageHour, min(load.days, hours_kept_days))
    _copy_day(UsageDay, load.days)
    return UsageHour.objects.count() + UsageDay.objects.count()


def _copy_day(table: Any, days: int) -> None:
    """The days before are like the last one: a copy inside of SQLite takes seconds, another day's upserts minutes."""
    from django.db import connection, transaction

    from playground.models.usage import SUM_COLUMNS

    name, columns = table._meta.db_table, ", ".join(SUM_COLUMNS)
    shifted = "datetime" if "hour" in name else "date"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE one_day AS SELECT * FROM {name}")  # noqa: S608 - our own names
        for day in range(1, days):
            cursor.execute(
                f"INSERT INTO {name} (series_id, at, {columns}) "  # noqa: S608
                f"SELECT series_id, {shifted}(at, '-{day} days'), {columns} FROM one_day"
            )
        cursor.execute("DROP TABLE one_day")


def _fill_day(load: Load, moment: datetime) -> None:
    from django.db import transaction
    from django.utils import timezone

    from playground.services.usage_rollup import Sums, write_sums

    by_hour: Sums = {}
    by_day: Sums = {}
    day = timezone.localdate(moment, timezone.get_default_timezone())
    midnight = datetime.combine(day, datetime.min.time(), timezone.get_default_timezone()).astimezone(UTC)
    for series in _series(load):
        for hour in range(24):
            sums = _sums(load)
            for each in series.cubes():
                for target, at in ((by_hour, midnight + timedelta(hours=hour)), (by_day, day)):
                    known = target.get((each, at))
                    target[each, at] = sums if known is None else [a + b for a, b in zip(known, sums, strict=True)]
    with transaction.atomic():
        write_sums(by_hour, by_day)


def _series(load: Load) -> Iterator[Any]:
    from playground.services.usage_rollup import Series

    for key in range(1, load.keys + 1):
        for model in range(load.models):
            yield Series("full", key, f"caller-{key}", f"model-{model}", f"model-{model}_1", model + 1, "chat")


def _sums(load: Load) -> list[int]:
    from playground.models.usage import SUM_COLUMNS

    requests = max(1, round(load.requests / (load.days * 24 * load.keys * load.models)))
    sums = dict.fromkeys(SUM_COLUMNS, 0)
    sums |= {"requests": requests, "prompt_tokens": 900 * requests, "completion_tokens": 250 * requests}
    sums |= {"first_tokens": requests, "first_token_ms": 300 * requests, "durations": requests}
    sums |= {"duration_ms": 4000 * requests, "client_errors": random.random() < 0.02}
    for _request in range(requests):
        sums[f"first_token_{min(15, max(0, round(random.gauss(5, 2)))):02}"] += 1
        sums[f"duration_{min(15, max(0, round(random.gauss(6, 2)))):02}"] += 1
    return list(sums.values())


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Medians for one address. On a machine that others use, the CPU's time is what can be compared."""

    wall_ms: float
    cpu_ms: float


def measure(get: Callable[[str], Any], *, rounds: int = 7) -> dict[str, Figure]:
    """Ask for each address some times, after one request that warms it."""
    figures = {}
    for name, address in ADDRESSES.items():
        get(address)
        wall, cpu = [], []
        for _round in range(rounds):
            began, busy = time.perf_counter(), time.process_time()
            answer = get(address)
            wall.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - busy) * 1000)
            assert answer.status_code == 200, answer.status_code
        figures[name] = Figure(wall_ms=statistics.median(wall), cpu_ms=statistics.median(cpu))
    return figures


def usage_rows() -> list[tuple[str, str, str]]:
    """As the table of ``make bench`` shows it; measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.usage"], capture_output=True, text=True, check=True, timeout=900
    )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    slowest = max((name for name in told if "CSV" not in name), key=lambda name: told[name])
    title = "usage page, 10 million requests"
    return [
        (f"{title}: median of {len(told)} addresses", f"{statistics.median(told.values()):.0f} ms", "300 ms"),
        (f"  slowest page ({slowest})", f"{told[slowest]:.0f} ms", "300 ms"),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
        os.environ |= {"BERTH_DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "dashboard.settings"}
        import django

        django.setup()
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.test import Client

        settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
        settings.ALLOWED_HOSTS.append("testserver")
        call_command("migrate", verbosity=0)
        load = Load()
        began = time.perf_counter()
        rows = fill(load)
        taken = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).glob("berth.sqlite3*")) / 1e6
        print(f"{load.requests:,} requests: {rows:,} rows, {size:.0f} MB, written in {taken:.0f} s")
        client = Client()
        admin = User.objects.create_superuser("bench")
        client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
        figures = measure(client.get)
        for name, figure in figures.items():
            print(f"{name:32} {figure.wall_ms:7.0f} ms, CPU {figure.cpu_ms:5.0f} ms   target 300 ms")
        print(json.dumps({name: figure.wall_ms for name, figure in figures.items()}))


if __name__ == "__main__":
    main()
