"""Build contexts from anybody: what is hostile is refused with a sentence, and nothing is written outside."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings

from deployments.deliveries import archives, contexts
from deployments.deliveries.contexts import Context, is_secret_file, read_archive, read_folder
from deployments.exceptions import InvalidInputError

Entry = tuple[str, bytes] | tarfile.TarInfo


def tar(*entries: Entry, mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size, info.mode = len(entry[1]), 0o755
            archive.addfile(info, io.BytesIO(entry[1]))
    return packed.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(*entries: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return packed.getvalue()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "outer" / "context"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("pack", [tar, zipped, lambda *entries: tar(*entries, mode="w")])
def test_an_archive_is_unpacked_with_its_size_and_digest(pack: Callable[..., bytes], into: Path) -> None:
    data = pack(("app/server.py", b"print()"), ("a.txt", b"abc"))
    found = read_archive(data, name="C:\\x\\app.tgz", into=into)
    assert (found.kind, found.name, found.files, found.size_bytes) == ("archive", "app.tgz", 2, 10)
    assert len(found.digest) == 64
    assert (into / "app/server.py").read_bytes() == b"print()"
    assert Context.from_json(found.to_json()) == found


HOSTILE = {
    "a link out of it": (tar(special("l", tarfile.SYMTYPE, "/etc/passwd")), "link l, which leads out of it"),
    "a link upwards": (tar(special("a/l", tarfile.SYMTYPE, "../../x")), "link a/l, which leads out of it"),
    "a file through a link": (
        tar(special("d", tarfile.SYMTYPE, "/tmp"), ("d/hostile-berth", b"evil")),
        "which leads out of it (to /tmp)",
    ),
    "links by way of each other": (
        tar(special("a", tarfile.SYMTYPE, "b/.."), special("b", tarfile.SYMTYPE, "c/.."), ("c/x", b"")),
        "which leads out of it",
    ),
    "a hard link": (tar(special("h", tarfile.LNKTYPE, "/etc/passwd")), "hard link h"),
    "an absolute path": (tar(("/etc/x", b"")), "absolute path /etc/x"),
    "a path upwards": (tar(("../x", b"")), "../x, which leads out of it"),
    "a device": (tar(special("null", tarfile.CHRTYPE)), "null, which is a device or a pipe"),
    "a pipe": (tar(special("p", tarfile.FIFOTYPE)), "p, which is a device or a pipe"),
    "a name twice": (tar(("x", b"1"), ("x", b"2")), "holds x twice"),
    "a file that is a folder too": (tar(("x", b"1"), ("x/y", b"2")), "holds x/y twice"),
    "half an archive": (tar(("x", os.urandom(4000)))[:1000], "no whole tar, tar.gz or zip"),
    "no archive": (b"MZ\x90 hello", "no whole tar, tar.gz or zip"),
    "nothing": (b"", "no whole tar, tar.gz or zip"),
    "a zip upwards": (zipped(("../x", b"")), "../x, which leads out of it"),
    "a zip of another system": (zipped(("C:\\x", b"")), "absolute path C:"),
    "a zip with a link": (zipped(("l", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "link l, which leads out of it"),
    "a zip with a device": (zipped(("d", b""), mode=stat.S_IFBLK | 0o600), "d, which is a device or a pipe"),
}


@pytest.mark.parametrize(("data", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(data: bytes, said: str, into: Path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_archive(data, name="x", into=into)
    assert said in str(refused.value)
    assert [path.name for path in into.parent.iterdir()] == ["context"]
    assert not Path("/tmp/hostile-berth").exists()


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_bomb_is_refused_before_it_fills_the_disk(pack: Callable[..., bytes], into: Path) -> None:
    data = pack(("zeros", bytes(40 * 1024**2)))
    assert len(data) < 100_000
    with pytest.raises(InvalidInputError, match="is a bomb"):
        read_archive(data, name="x", into=into)
    assert (into / "zeros").stat().st_size <= 18 * 1024**2


def test_an_archive_may_not_be_large_nor_hold_many_files(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(InvalidInputError, match="more than 3 files"):
        read_archive(tar(*((f"{n}", b"") for n in range(4))), name="x", into=into)
    monkeypatch.setattr(archives, "MOST_UNPACKED_BYTES", 5)
    with pytest.raises(InvalidInputError, match="unpacks to more than 5 bytes"):
        read_archive(tar(("big", b"123456")), name="x", into=into)
    monkeypatch.setattr(archives, "MOST_UPLOAD_BYTES", 5)
    with pytest.raises(InvalidInputError, match="larger than 5 bytes"):
        read_archive(b"123456", name="x", into=into)


def test_links_that_stay_inside_are_kept(into: Path) -> None:
    read_archive(tar(("a/x", b"1"), special("b/l", tarfile.SYMTYPE, "../a/x")), name="x", into=into)
    assert (into / "b/l").read_bytes() == b"1"


def test_secrets_in_a_context_are_warned_of(into: Path) -> None:
    data = tar((".env", b""), ("keys/id_rsa", b""), ("app/tls.pem", b""), (".env.example", b""), ("env.py", b""))
    assert read_archive(data, name="x", into=into).warnings == (".env", "app/tls.pem", "keys/id_rsa")
    assert is_secret_file("home/.aws/credentials")


@pytest.fixture
def allowed(tmp_path: Path, settings: LazySettings) -> Path:
    folder = tmp_path / "allowed"
    (folder / "app").mkdir(parents=True)
    settings.BERTH_HOST_PATHS = (folder,)
    return folder


def test_a_folder_is_read_with_its_size_and_its_warnings(allowed: Path) -> None:
    (allowed / "app" / ".env").write_text("A=1")
    (allowed / "app" / "link").symlink_to(".env")
    found = read_folder(str(allowed / "app"))
    assert (found.kind, found.size_bytes, found.files, found.warnings) == ("folder", 3, 2, (".env",))
    before = found.digest
    (allowed / "app" / "more").write_text("x")
    assert read_folder(str(allowed / "app")).digest != before


def test_a_folder_that_leads_elsewhere_is_refused(allowed: Path, settings: LazySettings) -> None:
    (allowed / "out").symlink_to("/etc")
    for path, said in (
        ("/etc", "not below an allowed folder"),
        (str(allowed / "out"), "not below an allowed"),
        (str(allowed / "app/../app"), "holds “..”"),
        (str(allowed / "never"), "There is no folder"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            read_folder(path)
    settings.BERTH_HOST_PATHS = ()
    with pytest.raises(InvalidInputError, match="none may be mounted"):
        read_folder(str(allowed))


def test_a_folder_with_a_link_out_a_pipe_or_too_much_is_refused(allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = allowed / "app"
    (app / "l").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInputError, match="link l, which leads out of it"):
        read_folder(str(app))
    (app / "l").unlink()
    os.mkfifo(app / "pipe")
    with pytest.raises(InvalidInputError, match="pipe, which is a device, a socket or a pipe"):
        read_folder(str(app))
    (app / "pipe").unlink()
    (app / "big").write_bytes(b"123456")
    monkeypatch.setattr(contexts, "MOST_FOLDER_BYTES", 5)
    with pytest.raises(InvalidInputError, match="is larger than 5 bytes"):
        read_folder(str(app))
    monkeypatch.setattr(contexts, "MOST_FOLDER_FILES", 0)
    with pytest.raises(InvalidInputError, match="more than 0 files"):
        read_folder(str(app))
