"""Runs each engine's contract once for every answer that is listed for it."""

from __future__ import annotations

import pytest

from tests.deployments.engines.contract import Contract, answers_of

LISTS = {"deviation": "deviations", "loading": "loading", "bar": "progress", "cause": "causes"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run for each entry of the engine's list."""
    if metafunc.cls is None or not issubclass(metafunc.cls, Contract):
        return
    for argument, section in LISTS.items():
        if argument in metafunc.fixturenames:
            entries = list(answers_of(metafunc.cls.name)[section]) or [None]
            metafunc.parametrize(argument, entries, ids=[str(entry)[:40] for entry in entries])
