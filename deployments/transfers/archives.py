"""Saves an image as a file of the node, and loads one from a file of the node."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from django.conf import settings

from deployments.host_paths import allowed_host_path
from deployments.jobs import Watch
from deployments.models import ContextArchive, ImageTransfer
from deployments.progress import Progress
from deployments.registries.refusals import TransferError
from deployments.runtimes.docker.archives import exported, find_image, imported

from .examining import examine

#: Left free on the disk of the data folder: the database writes there too.
RESERVE_BYTES = 512 * 1024 * 1024
#: Begins the digest of a load whose archive was uploaded; the rest is that of a ContextArchive.
UPLOADED = "sha256:"


def archive_folder() -> Path:
    """Where the archives that this node saved lie; uploaded ones wait in the database."""
    return Path(settings.BERTH_DATA_DIR) / "archives"


def archive_path(row: ImageTransfer) -> Path:
    """Where the archive of a save lies on its node. No part of it is what a person wrote."""
    return archive_folder() / f"{row.pk}.tar"


def draft_path(row: ImageTransfer) -> Path:
    """What is written before it is whole."""
    return archive_path(row).with_suffix(".part")


def save(row: ImageTransfer, watch: Watch) -> None:
    """Write the image's archive; it has its name once it is whole. Repeatable."""
    found = find_image(row.image_id or row.image)
    if found is None:
        raise TransferError.of("image_gone", said=row.image)
    # By its name where that is still the image's: then a load brings the name along.
    named = find_image(row.image) if row.image else None
    name = row.image if named is not None and named.id == found.id else found.id
    path = archive_path(row)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _delete_strays()
    free = shutil.disk_usage(path.parent).free - RESERVE_BYTES
    if free < found.size_bytes:
        need = f"{found.size_bytes / 1e9:.1f} GB, {max(0, free) / 1e9:.1f} GB"
        raise TransferError.of("no_space", said=need)
    draft = draft_path(row)
    meter = _Meter(total=found.size_bytes)
    try:
        with draft.open("wb") as file:
            draft.chmod(0o600)
            for part in exported(name, cancelled=watch.cancelled):
                file.write(part)
                meter.take(part)
                watch.report(meter.progress())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TransferError.of("no_space", said=str(path)) from error
        raise
    finally:
        draft.unlink(missing_ok=True)
    watch.write(path=str(path), digest=meter.digest, size_bytes=meter.done)


def _delete_strays() -> None:
    """Delete the archives of deliveries that were deleted."""
    found = {int(path.stem): path for path in archive_folder().glob("*.tar") if path.stem.isdecimal()}
    known = set(ImageTransfer.objects.filter(pk__in=found).values_list("pk", flat=True))
    for key, path in found.items():
        if key not in known:
            path.unlink(missing_ok=True)


def load(row: ImageTransfer, watch: Watch) -> None:
    """Examine the archive, then give it to the engine. Repeatable: what is there is there."""
    with _opened(row) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        free = shutil.disk_usage(settings.BERTH_DATA_DIR).free - RESERVE_BYTES
        images = examine(file, most_bytes=max(0, free), check=watch.check)
        for image in images:
            for name in image.names:
                here = find_image(name)
                if here is not None and here.id != image.id:
                    raise TransferError.of("name_taken", said=name)
        file.seek(0)
        meter = _Meter(total=size_bytes)

        def read(size: int) -> bytes:
            part = file.read(size)
            meter.take(part)
            return part

        def cancelled() -> bool:
            watch.report(meter.progress())
            return watch.cancelled()

        loaded = imported(read, cancelled=cancelled)
    first = images[0]
    name = first.names[0] if first.names else first.id
    here = find_image(name) or (find_image(loaded[0]) if loaded else None)
    if here is None:
        raise TransferError.of("bad_archive")
    watch.write(image=name, image_id=here.id, digest=meter.digest, size_bytes=here.size_bytes)


@contextmanager
def _opened(row: ImageTransfer) -> Iterator[IO[bytes]]:
    if PurePosixPath(row.path).is_absolute():
        with _opened_here(row.path) as file:
            yield file
        return
    uploaded = ContextArchive.objects.filter(digest=row.digest.removeprefix(UPLOADED)).first()
    if uploaded is None:
        raise TransferError.of("no_upload", said=row.path)
    with tempfile.TemporaryFile(dir=settings.BERTH_DATA_DIR) as file:
        file.write(uploaded.data)
        file.seek(0)
        yield file


@contextmanager
def _opened_here(path: str) -> Iterator[IO[bytes]]:
    """The file, which is one of ours or below an allowed folder; through no link that appeared after the look."""
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(archive_folder())):
        real = allowed_host_path(path)
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise TransferError.of("no_file", said=f"{path}: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise TransferError.of("no_file", said=path)
        yield file


class _Meter:
    """Counts and hashes bytes that pass; ``take`` may be called by another thread."""

    def __init__(self, *, total: int) -> None:
        self.done = 0
        self._total = total
        self._sha256 = hashlib.sha256()
        self._began_at = time.monotonic()

    def take(self, part: bytes) -> None:
        self.done += len(part)
        self._sha256.update(part)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"

    def progress(self) -> Progress:
        total = max(self._total, self.done)
        rate = self.done / max(0.001, time.monotonic() - self._began_at)
        return Progress(done=self.done, total=total, rate=rate, eta_s=(total - self.done) / rate if rate else None)
