"""Archives of images before the engine gets them: whole ones pass, all else is a sentence."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable

import pytest

from deployments.registries.refusals import TransferError
from deployments.transfers.examining import ArchivedImage, examine

CONFIG = json.dumps({"rootfs": {"diff_ids": ["sha256:1"]}}).encode()
MOST_BYTES = 10_000_000
Change = Callable[[tarfile.TarFile], None]


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **columns: object) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for key, value in columns.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(data))


def archive(change: Change | None = None, **manifest: object) -> bytes:
    """An archive of one image with one layer; ``change`` adds to it, ``manifest`` replaces parts of its entry."""
    entry = {"Config": "config.json", "RepoTags": ["team/model:1"], "Layers": ["1/layer.tar"], **manifest}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        add(tar, "config.json", CONFIG)
        add(tar, "1/layer.tar", b"layer" * 1000)
        if change:
            change(tar)
        add(tar, "manifest.json", json.dumps([entry]).encode())
    return packed.getvalue()


def looked_at(data: bytes) -> tuple[ArchivedImage, ...]:
    return examine(io.BytesIO(data), most_bytes=MOST_BYTES, check=lambda: None)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_whole_archive_tells_its_images_and_the_names_that_they_take(pack: Callable[[bytes], bytes]) -> None:
    expected = ArchivedImage(id=f"sha256:{hashlib.sha256(CONFIG).hexdigest()}", names=("team/model:1",))
    assert looked_at(pack(archive())) == (expected,)


def test_a_layer_may_be_a_link_to_another_one_in_the_archive() -> None:
    def link(tar: tarfile.TarFile) -> None:
        add(tar, "2/layer.tar", type=tarfile.SYMTYPE, linkname="../1/layer.tar")

    assert looked_at(archive(link, Layers=["1/layer.tar", "2/layer.tar"]))


def out_by_name(tar: tarfile.TarFile) -> None:
    add(tar, "../../etc/cron.d/evil", b"x")


def absolute(tar: tarfile.TarFile) -> None:
    add(tar, "/etc/passwd", b"x")


def out_by_link(tar: tarfile.TarFile) -> None:
    add(tar, "2/layer.tar", type=tarfile.SYMTYPE, linkname="../../../etc/shadow")


def out_by_absolute_link(tar: tarfile.TarFile) -> None:
    add(tar, "2/layer.tar", type=tarfile.SYMTYPE, linkname="/etc/shadow")


def device(tar: tarfile.TarFile) -> None:
    add(tar, "2/layer.tar", type=tarfile.CHRTYPE)


def bomb(tar: tarfile.TarFile) -> None:
    add(tar, "2/layer.tar", gzip.compress(bytes(4 * MOST_BYTES)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (out_by_name, "leads out of it"),
        (absolute, "leads out of it"),
        (out_by_link, "leads out of it"),
        (out_by_absolute_link, "leads out of it"),
        (device, "neither a file nor a folder"),
        (bomb, "unpacks to more than"),
    ],
)
def test_a_hostile_archive_is_refused_with_the_reason(change: Change, said: str) -> None:
    with pytest.raises(TransferError, match=said) as raised:
        looked_at(archive(change))
    assert raised.value.code == "hostile_archive"


def test_a_whole_archive_that_unpacks_to_too_much_is_refused() -> None:
    def large(tar: tarfile.TarFile) -> None:
        add(tar, "2/layer.tar", bytes(2 * MOST_BYTES))

    with pytest.raises(TransferError, match=r"it unpacks to more than [0-9.]+ GB\)$"):
        looked_at(gzip.compress(archive(large)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive at all",
        bytes(10_240),
        archive()[:3000],
        gzip.compress(archive())[:-20],
        archive(Layers=["1/layer.tar", "missing.tar"]),
        archive(Config="missing.json"),
        archive(Config="1/layer.tar"),
        archive(RepoTags=[1]),
        archive(RepoTags=["x" * 400]),
        archive(Layers=["1/layer.tar"] * 200),
        archive(Layers="1"),
    ],
    ids=[
        "empty",
        "text",
        "zeros",
        "cut",
        "gzip cut",
        "no layer",
        "no config",
        "config is no JSON",
        "tag is a number",
        "long tag",
        "many layers",
        "layers are text",
    ],
)
def test_what_is_no_whole_archive_of_images_is_a_sentence(data: bytes) -> None:
    with pytest.raises(TransferError, match="not a whole archive of images") as raised:
        looked_at(data)
    assert raised.value.code == "bad_archive"
