"""Folders of a node as build contexts: looked through while somebody works in them, however deep they are."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from deployments.deliveries import contexts
from deployments.deliveries.contexts import MOST_DEPTH, read_folder
from deployments.exceptions import InvalidInputError


@pytest.fixture
def folder(tmp_path: Path, settings: LazySettings) -> Path:
    made = tmp_path / "allowed" / "app"
    made.mkdir(parents=True)
    settings.BERTH_HOST_PATHS = (tmp_path / "allowed",)
    return made


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def test_what_a_folder_holds_is_counted_and_named_by_a_digest(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "x").write_text("1234")
    (folder / "now").symlink_to("lib/x")
    (folder / ".env").write_text("A=1")
    found = read_folder(str(folder))
    assert (found.kind, found.name, found.files, found.size_bytes) == ("folder", "app", 4, 7)
    assert found.warnings == (".env",)
    assert read_folder(str(folder)).digest == found.digest
    (folder / "lib" / "x").write_text("12345")
    assert read_folder(str(folder)).digest != found.digest


@pytest.mark.parametrize("target", ["/etc", "../../..", "up/../.."])
def test_a_link_out_of_it_is_refused(folder: Path, target: str) -> None:
    (folder / "up").symlink_to(".")
    (folder / "out").symlink_to(target)
    with pytest.raises(InvalidInputError, match="the link out, which leads out of it"):
        read_folder(str(folder))


@pytest.mark.parametrize("make", [pipe, listening])
def test_what_is_no_file_is_refused(
    folder: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # the address of a socket is short
    make(Path("odd"))
    with pytest.raises(InvalidInputError, match="odd, which is a device, a socket or a pipe"):
        read_folder(str(folder))


def test_folders_too_deep_are_refused(folder: Path) -> None:
    (folder / "/".join(["d"] * MOST_DEPTH)).mkdir(parents=True)
    assert read_folder(str(folder)).files == MOST_DEPTH
    (folder / "/".join(["d"] * (MOST_DEPTH + 1))).mkdir()
    with pytest.raises(InvalidInputError, match=f"more than {MOST_DEPTH} deep"):
        read_folder(str(folder))


def test_a_file_that_is_deleted_meanwhile_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kept", "temporary"):
        (folder / name).write_text("x")
    entries = contexts._entries

    def deleting(root: Path) -> Iterator[os.DirEntry[str]]:
        for entry in entries(root):
            if entry.name == "temporary":
                Path(entry.path).unlink()
            yield entry

    monkeypatch.setattr(contexts, "_entries", deleting)
    assert read_folder(str(folder)).files == 1


def test_a_folder_that_is_not_there_or_not_allowed_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no folder"):
        read_folder(str(folder / "nowhere"))
    with pytest.raises(InvalidInputError, match="is not below an allowed folder"):
        read_folder(str(tmp_path))
