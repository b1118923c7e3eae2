"""The installation's id and key are made once, whoever comes first."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dashboard.identity import installation_id, secret_key


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
