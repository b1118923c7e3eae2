"""Uploaded build contexts: whole ones are unpacked, hostile ones refused, and nothing is written beside the folder."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.deliveries import archives
from deployments.deliveries.archives import unpack
from deployments.exceptions import InvalidInputError

DEVICES = {"fifo": tarfile.FIFOTYPE, "character": tarfile.CHRTYPE, "block": tarfile.BLKTYPE}


def entry(
    name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, kind=tarfile.SYMTYPE, link=target)


def tar(*entries: tuple[tarfile.TarInfo, bytes], gzipped: bool = False) -> bytes:
    packed = io.BytesIO()
    mode = "w:gz" if gzipped else "w"
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return packed.getvalue()


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "outer" / "inner"
    inside.mkdir(parents=True)
    return inside


def beside(folder: Path) -> list[str]:
    """What lies around the folder that was unpacked into."""
    outer = folder.parent
    return [str(path) for path in (*outer.parent.iterdir(), *outer.iterdir()) if path not in (outer, folder)]


def _without_bytes(value: bytes | str) -> str:
    """An id that is the same in each process: archives hold the time, and random content."""
    return "archive" if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    "data",
    [
        tar(entry("app/run.sh", data=b"echo")),
        tar(entry("./app/run.sh", data=b"echo"), gzipped=True),
        zipped(("app/run.sh", b"echo")),
    ],
    ids=_without_bytes,
)
def test_whole_archives_are_unpacked(folder: Path, data: bytes) -> None:
    assert unpack(data, folder) == (4, ["app/run.sh"])
    assert (folder / "app" / "run.sh").read_bytes() == b"echo"


def test_links_that_stay_inside_are_kept(folder: Path) -> None:
    unpack(tar(entry("lib/v2/x", data=b"x"), link("lib/now", "v2"), link("deep/er/x", "../../lib/v2/x")), folder)
    assert (folder / "lib" / "now" / "x").read_bytes() == b"x"
    assert (folder / "deep" / "er" / "x").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tar(entry("/etc/passwd")), "absolute path /etc/passwd"),
        (tar(entry("../evil")), "../evil, which leads out of it"),
        (tar(entry("a/../../evil")), "leads out of it"),
        (zipped(("../evil", b"")), "leads out of it"),
        (zipped(("..\\evil", b"")), "leads out of it"),
        (zipped(("C:\\evil", b"")), "absolute path"),
        (tar(link("out", "/etc")), "the link out, which leads out of it (to /etc)"),
        (tar(link("a/out", "../../etc")), "leads out of it (to ../../etc)"),
        (zipped((special("out", stat.S_IFLNK | 0o777), b"/etc")), "the link out, which leads out of it"),
        (tar(link("d/e/up", "../.."), link("x", "d/e/up/..")), "the link x, which leads out of it"),
        (tar(link("d/e/up", "../.."), link("x", "d/e/up/.."), link("x/evil", "y")), "x/evil, which lies below a link"),
        (tar(link("d/e/up", "../.."), link("x", "d/e/up/.."), link("x/new/evil", "y")), "lies below a link"),
        (tar(link("a", "b"), entry("a", data=b"x")), "a twice"),
        (tar(entry("a", data=b"x"), entry("a", data=b"y")), "a twice"),
        (tar(entry("a"), entry("a/b")), "a/b twice"),
        (tar(entry("a", kind=tarfile.LNKTYPE, link="/etc/passwd")), "the hard link a"),
        *((tar(entry(name, kind=kind)), f"{name}, which is a device or a pipe") for name, kind in DEVICES.items()),
        (zipped((special("pipe", stat.S_IFIFO | 0o644), b"")), "pipe, which is a device or a pipe"),
        (zipped(("n" * 300, b"")), "a path that is no file's"),
        (zipped(("a", os.urandom(99)), method=zipfile.ZIP_LZMA), "packed in a rare way"),
        (zipped(("a", os.urandom(99)), method=zipfile.ZIP_BZIP2), "packed in a rare way"),
        (tar(entry("name-\udcff")), "a name that is no text"),
        (b"MZ no archive at all", "no whole tar, tar.gz or zip archive"),
        (tar(entry("a", data=os.urandom(9000)), gzipped=True)[:4000], "no whole tar"),
        (b"", "no whole tar"),
    ],
    ids=_without_bytes,
)
def test_hostile_archives_are_refused_and_leave_nothing_beside_the_folder(folder: Path, data: bytes, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        unpack(data, folder)
    assert said in str(refused.value)
    assert beside(folder) == []


def test_a_zip_with_an_entry_of_no_name_is_refused(folder: Path) -> None:
    data = zipped(("a", b"x"))
    with pytest.raises(InvalidInputError, match="a path that is no file's"):
        unpack(data.replace(b"a", b"\0"), folder)


def test_a_zip_whose_entries_lie_before_its_beginning_is_refused(folder: Path) -> None:
    data = bytearray(zipped(("a", b"x")))
    # The offset of the directory in the record at the end: zipfile takes it for bytes put before the archive.
    at = data.index(b"PK\x05\x06") + 16
    data[at : at + 4] = (1 << 16).to_bytes(4, "little")
    with pytest.raises(InvalidInputError, match="no whole tar"):
        unpack(bytes(data), folder)


def test_an_encrypted_zip_is_refused(folder: Path) -> None:
    data = bytearray(zipped(("a", b"x")))
    for at, mark in ((6, b"PK\x03\x04"), (8, b"PK\x01\x02")):
        data[data.index(mark) + at] |= 1
    with pytest.raises(InvalidInputError, match="a in the archive is encrypted"):
        unpack(bytes(data), folder)


@pytest.mark.parametrize("pack", [lambda data: tar(entry("b", data=data), gzipped=True), lambda d: zipped(("b", d))])
def test_a_bomb_is_refused_before_it_is_written_whole(
    folder: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "RATIO_FROM_BYTES", 1 << 20)
    with pytest.raises(InvalidInputError, match="The archive is a bomb"):
        unpack(pack(bytes(6 << 20)), folder)
    assert (folder / "b").stat().st_size < 6 << 20


def test_ten_gigabytes_of_holes_are_refused_by_what_they_unpack_to(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse file says 10 GB in some bytes of header; nothing of it is compressed."""
    monkeypatch.setattr(archives, "RATIO_FROM_BYTES", 1 << 20)
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(10 * 1024**3)
    packed = subprocess.run(["tar", "--sparse", "-cC", tmp_path, "holes"], capture_output=True, check=True).stdout
    assert len(packed) < 20_000
    with pytest.raises(InvalidInputError, match="The archive is a bomb"):
        unpack(packed, folder)
    assert (folder / "holes").stat().st_size < 8 << 20


@pytest.mark.parametrize(
    "names",
    [
        ("e\u0301", "\u00e9"),  # one letter, composed and not
        ("Dockerfile", "dockerfile"),
        ("a\u2215b", "a/c"),  # a division sign that looks like a slash
        ("\u202etxt.exe", "x"),  # written from right to left
        ("\uff0e\uff0e/x", "y"),  # dots of full width lead nowhere
        ("a\nb", "a b"),
    ],
)
def test_names_that_only_look_alike_are_files_of_their_own(folder: Path, names: tuple[str, str]) -> None:
    for packed in (tar(*(entry(name, data=b"x") for name in names)), zipped(*((name, b"x") for name in names))):
        into = Path(tempfile.mkdtemp(dir=folder))
        assert unpack(packed, into)[1] == list(names)
        assert all((into / name).read_bytes() == b"x" for name in names)


def test_bounds_of_count_and_size_hold(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    with pytest.raises(InvalidInputError, match="more than 2 files"):
        unpack(tar(*(entry(f"f{number}") for number in range(3))), folder)
    monkeypatch.setattr(archives, "MOST_UNPACKED_BYTES", 10)
    with pytest.raises(InvalidInputError, match="unpacks to more than 10 bytes"):
        unpack(zipped(("large", b"x" * 11)), folder)
    monkeypatch.setattr(archives, "MOST_UPLOAD_BYTES", 10)
    with pytest.raises(InvalidInputError, match="The archive is larger than 10 bytes"):
        unpack(b"x" * 11, folder)


_NAMES = st.lists(st.sampled_from(["a", "b", "..", "c", "."]), min_size=1, max_size=4).map("/".join)


@given(st.lists(st.tuples(_NAMES, st.one_of(st.none(), _NAMES)), min_size=1, max_size=8))
def test_no_mix_of_files_and_links_writes_outside(entries: list[tuple[str, str | None]]) -> None:
    packed = tar(*(entry(name, data=b"x") if to is None else link(name, to) for name, to in entries))
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, "outer", "inner")
        folder.mkdir(parents=True)
        try:
            unpack(packed, folder)
        except InvalidInputError:
            pass
        else:
            assert all(path.resolve().is_relative_to(folder.resolve()) for path in folder.rglob("*"))
        assert beside(folder) == []


_WHOLE = (
    tar(entry("a/b", data=b"text" * 99), link("c", "a"), gzipped=True),
    zipped(("a/b", b"text" * 99), ("c/", b"")),
)


@given(st.sampled_from(_WHOLE), st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_archive_is_unpacked_or_refused_and_never_an_error(
    whole: bytes, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer, "outer", "inner")
        folder.mkdir(parents=True)
        try:
            _size, paths = unpack(bytes(data), folder)
        except InvalidInputError:
            pass
        else:
            assert all((folder / path).exists() or (folder / path).is_symlink() for path in paths)
        assert beside(folder) == []
