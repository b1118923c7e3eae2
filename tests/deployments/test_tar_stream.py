"""Tars whose headers are bombs: refused before they are in memory, wherever archives of anybody's are read."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.deliveries.archives import unpack
from deployments.exceptions import InvalidInputError
from deployments.registries.refusals import TransferError
from deployments.tar_stream import MOST_HEADER_BYTES, members
from deployments.transfers.examining import examine

MIB = 1024 * 1024
#: What tarfile reads whole: pax, pax for all that follows, GNU's long name and long link.
KINDS = {"pax": b"x", "pax of all": b"g", "long name": b"L", "long link": b"K"}


def bomb(kind: bytes) -> bytes:
    """A gzip of some KB with a header of 64 MiB."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 64 * MIB
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(64 * MIB), compresslevel=1)


def examined(data: bytes, _folder: Path) -> object:
    return examine(io.BytesIO(data), most_bytes=10**12, check=lambda: None)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("read", [unpack, examined], ids=["build context", "archive of images"])
def test_a_header_that_is_a_bomb_is_refused_before_it_is_in_memory(
    tmp_path: Path, kind: bytes, read: Callable[[bytes, Path], object]
) -> None:
    data = bomb(kind)
    tracemalloc.start()
    try:
        with pytest.raises((InvalidInputError, TransferError), match="a header in it is larger than 1 MB"):
            read(data, tmp_path)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert list(tmp_path.iterdir()) == []


def test_names_of_every_length_and_large_contents_are_taken() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, size in (("short", 2 * MOST_HEADER_BYTES), ("long/" * 50 + "name", 1), ("x", 0)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
    packed.seek(0)
    found = []
    for tar, member in members(packed):
        source = tar.extractfile(member)
        assert source is not None
        found.append((member.name[:5], len(source.read())))
    assert found == [("short", 2 * MOST_HEADER_BYTES), ("long/", 1), ("x", 0)]
