"""Load tests as pages show them. Query counts are constant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.core.paginator import Page, Paginator
from django.utils.translation import gettext as _

from deployments.exceptions import NotFoundError
from deployments.models.job import Job

from .loadtests.asking import KINDS, kinds_for
from .models import LoadTest
from .selectors import ReadyTarget, chat_targets

PAGE_SIZE = 25
#: Runs that one chart tells apart.
MOST_COMPARED = 8


@dataclass(frozen=True, kw_only=True)
class Testable:
    """A ready config, and how it can be asked: names of kinds with their titles, the default first."""

    target: ReadyTarget
    kinds: Sequence[tuple[str, str]]


def testable_configs() -> list[Testable]:
    """Every config that answers now, by name."""
    every = {"openai-text", "ollama-text", "openai-image"}
    return [
        Testable(
            target=ready,
            kinds=[(name, str(KINDS[name].title)) for name in kinds_for(ready.protocol, ready.engine)],
        )
        for ready in chat_targets("", protocols=every).ready
    ]


def load_tests_page(config: str, page: str | None) -> Page[LoadTest]:
    """Those of a config, or all, newest first; two queries."""
    rows = LoadTest.objects.select_related("node").order_by("-pk")
    return Paginator(rows.filter(config=config) if config else rows, PAGE_SIZE).get_page(page)


def live_load_test(config: str) -> LoadTest | None:
    """The one under way, of ``config`` or any, that began last."""
    rows = LoadTest.objects.exclude(state__in=Job.ENDED).select_related("node")
    return (rows.filter(config=config) if config else rows).first()


def newest_load_tests(tests: Iterable[LoadTest]) -> list[LoadTest]:
    """The newest three that measured something, oldest first: what is compared when nobody chose."""
    return sorted([test for test in tests if test.levels][:3], key=lambda test: test.pk)


def chosen_load_tests(numbers: Sequence[int]) -> list[LoadTest]:
    """Those with these numbers, at most :data:`MOST_COMPARED`, oldest first."""
    return list(LoadTest.objects.filter(pk__in=numbers[:MOST_COMPARED]).select_related("node").order_by("pk"))


def find_load_test(test_id: int) -> LoadTest:
    """Raises NotFoundError."""
    test = LoadTest.objects.select_related("node", "delivery").filter(pk=test_id).first()
    if test is None:
        raise NotFoundError(_("There is no such load test. Somebody may have deleted it."))
    return test
