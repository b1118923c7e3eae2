"""Folders of the host: a path that cannot be followed is refused with a sentence, not an error."""

from __future__ import annotations

import os.path
from pathlib import Path

import pytest
from pytest_django import Settings

from deployments.host_paths import host_path_problem


@pytest.fixture(autouse=True)
def _allowed_folder(settings: Settings, tmp_path: Path) -> None:
    settings.BERTH_HOST_PATHS = (tmp_path,)


def test_a_path_with_a_nul_is_refused() -> None:
    assert host_path_problem("/a\0b") == "/a\0b cannot be followed on this host."


def test_a_link_that_may_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_path: str) -> str:
        raise PermissionError(13, "Permission denied")  # as /proc/1/root answers in a container

    monkeypatch.setattr(os.path, "realpath", denied)
    assert host_path_problem("/proc/1/root") == "/proc/1/root cannot be followed on this host."
