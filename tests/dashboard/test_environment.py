"""Settings are read in one place, and wrong ones are refused with a sentence that names them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.environment import BASE_DIR, DOCUMENTED, SettingsError, read_environment


@pytest.fixture(autouse=True)
def _only_what_the_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*DOCUMENTED, "BERTH_ROLE", "BERTH_EMBEDDED_REDIS"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_need_no_setting_at_all() -> None:
    environment = read_environment()
    assert (environment.host, environment.port, environment.gateway_port) == ("127.0.0.1", 8000, 8001)
    assert environment.public_url == "http://127.0.0.1:8000"
    assert environment.gateway_url == "http://127.0.0.1:8001"
    assert environment.embedded_redis
    assert environment.database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BERTH_PORT", "http", "BERTH_PORT is wrong: Not a valid integer"),
        ("BERTH_PORT", "70000", "BERTH_PORT is wrong"),
        ("BERTH_GATEWAY_PORT", "0", "BERTH_GATEWAY_PORT is wrong"),
        ("BERTH_LOG_LEVEL", "LOUD", "BERTH_LOG_LEVEL is wrong"),
        ("BERTH_TIME_ZONE", "Mars/Base", "write a name such as Asia/Shanghai"),
        ("BERTH_DEBUG", "perhaps", "BERTH_DEBUG is wrong"),
        ("REDIS_URL", "localhost:6379", "must begin with redis://"),
        ("DATABASE_URL", "mysql://root@localhost/berth", "use PostgreSQL or SQLite"),
        ("DATABASE_URL", "berth.db", "DATABASE_URL is wrong"),
        ("BERTH_PUBLIC_URL", "berth.example", "must begin with http://"),
        ("BERTH_PUBLIC_URL", "https://host.example/berth", "a path is not supported"),
        ("BERTH_GPU_SOURCE", "/tmp/trace.jsonl", "must be replay: and the path of a recording, none, or nvml"),
        ("BERTH_GPU_SOURCE", "replay:", "must be replay: and the path of a recording, none, or nvml"),
        ("BERTH_METRICS_ALLOW", "prometheus", "write networks such as 10.0.0.0/8"),
        ("BERTH_METRICS_ALLOW", "10.0.0.5/8", "has host bits set; write networks"),
        ("BERTH_ADMIN_PASSWORD", "short", "a password has at least 8 characters"),
        ("BERTH_NODE_ADDRESS", "gpu-01", "is not an IP address of this host; write one such as 10.0.0.5"),
        ("BERTH_NODE_ADDRESS", "0.0.0.0", "open to all of its networks; write its private address"),  # noqa: S104
        ("BERTH_NODE_ADDRESS", "::", "open to all of its networks; write its private address"),
        ("BERTH_NODE_ADDRESS", "::ffff:0.0.0.0", "open to all of its networks; write its private address"),
        ("BERTH_NODE_ADDRESS", "224.0.0.1", "is no address of one host; write the private one"),
        ("BERTH_NODE_ADDRESS", "ff02::1", "is no address of one host; write the private one"),
        ("BERTH_NODE_ADDRESS", "255.255.255.255", "is no address of one host; write the private one"),
    ],
)
def test_a_wrong_value_is_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_environment()
    assert said in str(caught.value)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "10.0.0.5", "fd00::5"])
def test_an_address_of_this_host_is_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("BERTH_NODE_ADDRESS", address)
    assert read_environment().node_address == address


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_PORT", "x")
    monkeypatch.setenv("REDIS_URL", "y")
    with pytest.raises(SettingsError) as caught:
        read_environment()
    assert len(str(caught.value).splitlines()) == 2


def test_one_port_cannot_be_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_GATEWAY_PORT", "8000")
    with pytest.raises(SettingsError, match="choose another port"):
        read_environment()


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    read_environment()  # the socket of this host needs none
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.5:2376")
    with pytest.raises(SettingsError) as caught:
        read_environment()
    assert f"{tmp_path} lacks cert.pem, key.pem: put them there, or name their folder" in str(caught.value)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "")
    read_environment()


def test_a_redis_that_up_started_is_found_by_other_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "redis.url").write_text("unix:///tmp/some.sock")
    monkeypatch.setenv("BERTH_DATA_DIR", str(tmp_path))
    assert read_environment().redis_url == "unix:///tmp/some.sock"


def test_manage_py_refuses_to_start_with_a_wrong_setting() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "status"],
        cwd=BASE_DIR,
        env={**os.environ, "BERTH_PORT": "many"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "The setting BERTH_PORT is wrong: Not a valid integer."


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_lists_every_setting(readme: str) -> None:
    text = (BASE_DIR / readme).read_text()
    missing = [name for name in DOCUMENTED if f"| `{name}` |" not in text]
    assert missing == []


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_lists_every_config_as_the_catalogue_has_it(readme: str) -> None:
    from deployments.catalogue.reading import BUILT_IN, read_catalogue

    text = (BASE_DIR / readme).read_text()
    for entry in read_catalogue([BUILT_IN]).configs:
        values = entry.values
        row = f"| `{entry.name}` | {values['model']} | {values['protocol']} | {values['engine']} |"
        assert row in text
