"""The installation's id and key are made once, whoever comes first."""

from __future__ import annotations

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashboard.identity import installation_id, node_name, secret_key


def test_they_stay_what_they_were(tmp_path: Path) -> None:
    assert installation_id(tmp_path) == installation_id(tmp_path)
    assert secret_key(tmp_path) == secret_key(tmp_path)
    assert len(installation_id(tmp_path)) == 8


def test_of_many_at_once_all_read_the_first_ones(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(installation_id, [tmp_path / "new"] * 32))) == 1


def test_only_the_owner_may_read_the_key(tmp_path: Path) -> None:
    secret_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_a_new_host_name_does_not_rename_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "first")
    assert node_name(tmp_path) == "first"
    monkeypatch.setattr(socket, "gethostname", lambda: "second")
    assert node_name(tmp_path) == "first"
