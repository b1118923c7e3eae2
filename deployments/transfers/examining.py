"""Looks through an archive of images before the engine gets it: whole, of known kind, and nothing in it leads astray.

Source: the image specification of Docker, version 1.2, "Combined Image JSON + Filesystem Changeset Format": a tar with
``manifest.json``, ``[{"Config": …, "RepoTags": […], "Layers": […]}]``. Its layers may be links to each other.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from django.utils.translation import gettext as _

from deployments.registries.refusals import TransferError
from deployments.tar_stream import GZIP, members, unzipped

MANIFEST = "manifest.json"
MOST_MEMBERS = 20_000
#: The manifest and the images' settings; layers are larger.
MOST_SMALL_BYTES = 1024 * 1024
MOST_SMALL_IN_ALL = 64 * 1024 * 1024
MOST_IMAGES = 50
#: What the engine's own file systems bear.
MOST_LAYERS = 127
LONGEST_NAME = 300
CHUNK_BYTES = 1024 * 1024
FAULTS = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class ArchivedImage:
    """One image of an archive: the id that the engine will give it, and the names that it would take."""

    id: str
    names: tuple[str, ...]


def examine(stream: IO[bytes], *, most_bytes: int, check: Callable[[], None]) -> tuple[ArchivedImage, ...]:
    """The images of an archive, plain or gzip. Reads it all, from where ``stream`` is; ``check`` may raise to give up.

    Raises TransferError ``bad_archive`` for what is no whole archive of images, ``hostile_archive`` with the reason
    for what leads out of it, or unpacks to more than ``most_bytes``.
    """
    contents = _Contents(most_bytes=most_bytes, check=check)
    try:
        # As a stream: nothing is sought, so that a gzip is unpacked once, and what is passed over is counted.
        for count, (tar, member) in enumerate(members(unzipped(stream))):
            if count >= MOST_MEMBERS:
                raise _hostile(_("it has more than %(n)d files") % {"n": MOST_MEMBERS})
            contents.take(tar, member)
    except FAULTS as error:
        raise TransferError.of("bad_archive", said=str(error)[:200]) from error
    return _images(contents)


@dataclass(kw_only=True)
class _Contents:
    """``small`` holds the text of small files, ``present`` every file by its path, ``links`` path to target."""

    most_bytes: int
    check: Callable[[], None]
    present: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    small: dict[str, bytes] = field(default_factory=dict)
    small_bytes: int = 0
    unpacked_bytes: int = 0

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Look at one member. Raises TransferError."""
        self.check()
        name = _inside(member.name, member.name)
        if member.issym() or member.islnk():
            base = posixpath.dirname(name) if member.issym() else ""
            self.links[name] = _inside(posixpath.join(base, member.linkname), member.name)
        elif member.isreg():
            self.present.add(name)
            self._count(member.size)
            source = tar.extractfile(member)
            if source is not None:
                self._read(source, member, name)
        elif not member.isdir():
            raise _hostile(_("%(name)s is neither a file nor a folder") % {"name": member.name[:100]})

    def _read(self, source: IO[bytes], member: tarfile.TarInfo, name: str) -> None:
        part = source.read(MOST_SMALL_BYTES)
        if member.size <= MOST_SMALL_BYTES:
            self.small[name] = part
            self.small_bytes += len(part)
            if self.small_bytes > MOST_SMALL_IN_ALL:
                raise _hostile(_("its small files are too many"))
        unpacker = zlib.decompressobj(wbits=31) if part.startswith(GZIP) else None
        while part:
            self.check()
            if unpacker is not None:
                self._count(_unpacked(unpacker, part, self.most_bytes - self.unpacked_bytes))
            part = source.read(CHUNK_BYTES)

    def _count(self, size_bytes: int) -> None:
        self.unpacked_bytes += size_bytes
        if self.unpacked_bytes > self.most_bytes:
            message = _("it unpacks to more than %(gb).1f GB")
            raise _hostile(message % {"gb": self.most_bytes / 1e9})


def _unpacked(unpacker: Any, part: bytes, most: int) -> int:
    """How many bytes ``part`` unpacks to; stops counting soon after ``most``."""
    count = 0
    while part and count <= most:
        count += len(unpacker.decompress(part, CHUNK_BYTES))
        part = unpacker.unconsumed_tail
    return count


def _inside(path: str, shown: str) -> str:
    """The path within the archive. Raises TransferError for one that leads out of it."""
    plain = posixpath.normpath(path)
    if path.startswith("/") or plain == ".." or plain.startswith("../") or "\x00" in path:
        raise _hostile(_("%(name)s leads out of it") % {"name": shown[:100]})
    return plain


def _images(contents: _Contents) -> tuple[ArchivedImage, ...]:
    try:
        manifest = json.loads(contents.small[MANIFEST])
        images = tuple(_image(entry, contents) for entry in manifest[:MOST_IMAGES])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        said = _("its %(name)s names what is not in it") % {"name": MANIFEST}
        raise TransferError.of("bad_archive", said=said) from error
    if not images:
        raise TransferError.of("bad_archive", said=_("there is no image in it"))
    return images


def _image(entry: dict[str, Any], contents: _Contents) -> ArchivedImage:
    layers, names = entry["Layers"] or [], entry.get("RepoTags") or []
    if len(layers) > MOST_LAYERS or any(len(name) > LONGEST_NAME for name in names):
        raise ValueError
    for layer in layers:
        path = posixpath.normpath(layer)
        if contents.links.get(path, path) not in contents.present:
            raise KeyError(layer)
    config = contents.small[posixpath.normpath(entry["Config"])]
    if not isinstance(json.loads(config), dict):
        raise TypeError
    return ArchivedImage(id=f"sha256:{hashlib.sha256(config).hexdigest()}", names=tuple(map(str, names)))


def _hostile(reason: str) -> TransferError:
    return TransferError.of("hostile_archive", said=reason)
