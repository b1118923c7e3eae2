"""The catalogue page without a past and with a long one."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import httpx

from .installation import Installation
from .main_job import SignedIn

REQUESTS = 60
PAST = 1000
MAKE_PAST = f"""
from django.utils import timezone
from deployments.models import Config, Deployment
now = timezone.now()
configs = list(Config.objects.select_related("model"))
Deployment.objects.bulk_create(
    Deployment(config=c, spec=c.serving_spec().to_json(), spec_digest=c.serving_spec().digest, revision=c.revision,
               started_by="bench", phase="stopped", desired="stopped", phase_since=now, ended_at=now)
    for c in (configs[i % len(configs)] for i in range({PAST}))
)
"""
COUNT = """
from django.db import connection
from django.test.utils import CaptureQueriesContext
from deployments.selectors import catalogue_rows
with CaptureQueriesContext(connection) as queries:
    catalogue_rows()
print(len(queries))
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Milliseconds over HTTP, and the queries of the page's rows before and after."""

    empty_ms: float
    full_p95_ms: float
    queries: str


def page_figures(installation: Installation) -> Page:
    """Ask for the whole page, signed in, one request at a time."""
    with httpx.Client(timeout=30, follow_redirects=False) as client:
        browser = SignedIn(installation, client)
        empty = [browser.get_ms("/catalogue/") for _ in range(REQUESTS)]
        before = installation.manage("shell", "--no-imports", "-c", COUNT).strip()
        installation.manage("shell", "--no-imports", "-c", MAKE_PAST)
        after = installation.manage("shell", "--no-imports", "-c", COUNT).strip()
        full = [browser.get_ms("/catalogue/") for _ in range(REQUESTS)]
    return Page(
        empty_ms=statistics.median(empty),
        full_p95_ms=statistics.quantiles(full, n=20)[-1],
        queries=f"{before}, {after}",
    )
