"""What a Dockerfile's COPY takes its files from: nothing, a folder of the node, or an uploaded archive."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.host_paths import allowed_host_path

from .archives import unpack
from .sizes import in_words

NONE, FOLDER, ARCHIVE = "none", "folder", "archive"
#: Of a folder. Weights lie in such folders, so the bound is wide; the engine copies all of it.
MOST_FOLDER_BYTES = 200 * 1024**3
MOST_FOLDER_FILES = 100_000
MOST_DEPTH = 100
#: Names of files that hold secrets more often than not.
_SECRET_FILES = {
    ".env",
    ".netrc",
    ".npmrc",
    ".pypirc",
    "credentials.json",
    "id_rsa",
    "id_ed25519",
    "id_ecdsa",
    "id_dsa",
}
_SECRET_ENDS = (".pem", ".key", ".p12", ".pfx", ".kdbx")
_SECRET_PATHS = ((".aws", "credentials"), (".docker", "config.json"), ("huggingface", "token"))
MOST_WARNINGS = 20


@dataclass(frozen=True, kw_only=True)
class Context:
    """A build context as a delivery and a build keep it.

    ``digest`` is of an archive's bytes, and of a folder's names, sizes and times; ``warnings`` are paths in it that
    look like secrets.
    """

    kind: str = NONE
    path: str = ""
    name: str = ""
    digest: str = ""
    size_bytes: int = 0
    files: int = 0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object, as Delivery.context holds it."""
        return {**asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Context:
        """Rebuild from :meth:`to_json`; an empty object is the empty context."""
        return cls(**{**data, "warnings": tuple(data.get("warnings", ()))})

    @property
    def is_gone_from_here(self) -> bool:
        """Whether a folder of this host is there no more. One that only another node has was never seen from here.

        One that cannot be looked at, as on a server that is away, is not gone.
        """
        if self.kind != FOLDER or not self.digest:
            return False
        try:
            return not stat.S_ISDIR(Path(self.path).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, ValueError):
            return False

    def is_source_of(self, other: Context) -> bool:
        """Whether both take the same files; a folder's own may have changed meanwhile, which nobody can see here."""
        if self.kind == FOLDER:
            return (self.kind, self.path) == (other.kind, other.path)
        return (self.kind, self.digest) == (other.kind, other.digest)


def read_folder(path: str) -> Context:
    """Look through a folder of this node. Raises InvalidInputError for one that may not be a build context."""
    real = Path(allowed_host_path(path))
    if not real.is_dir():
        raise InvalidInputError(_("There is no folder %(path)s on this node.") % {"path": path})
    digest, size, count, warnings = hashlib.sha256(), 0, 0, []
    for entry in _entries(real):
        relative = Path(entry.path).relative_to(real).as_posix()
        try:
            status = entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                _require_inside(real, Path(entry.path), relative)
        except FileNotFoundError:  # somebody works in the folder
            continue
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            message = _("The build context holds %(path)s, which is a device, a socket or a pipe.")
            raise InvalidInputError(message % {"path": relative})
        count += 1
        if stat.S_ISREG(status.st_mode):
            size += status.st_size
        if count > MOST_FOLDER_FILES:
            message = _("The build context %(path)s holds more than %(count)s files. Choose a folder below it.")
            raise InvalidInputError(message % {"path": path, "count": f"{MOST_FOLDER_FILES:,}"})
        if size > MOST_FOLDER_BYTES:
            message = _("The build context %(path)s is larger than %(size)s. Choose a folder below it.")
            raise InvalidInputError(message % {"path": path, "size": in_words(MOST_FOLDER_BYTES)})
        digest.update(f"{relative}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        if is_secret_file(relative):
            warnings.append(relative)
    return Context(
        kind=FOLDER,
        path=str(real),
        name=real.name,
        digest=digest.hexdigest(),
        size_bytes=size,
        files=count,
        warnings=tuple(sorted(warnings)[:MOST_WARNINGS]),
    )


def read_archive(data: bytes, *, name: str, into: Path) -> Context:
    """Unpack an archive into the empty folder ``into`` and say what is in it. Raises InvalidInputError."""
    size, paths = unpack(data, into)
    return Context(
        kind=ARCHIVE,
        name=PurePosixPath(name.replace("\\", "/")).name[:200],
        digest=hashlib.sha256(data).hexdigest(),
        size_bytes=size,
        files=len(paths),
        warnings=tuple(sorted(path for path in paths if is_secret_file(path))[:MOST_WARNINGS]),
    )


def is_secret_file(path: str) -> bool:
    """Whether a file of this relative path holds a secret more often than not."""
    parts = PurePosixPath(path.lower()).parts
    name = parts[-1] if parts else ""
    return (
        name in _SECRET_FILES
        or (name.startswith(".env.") and not name.endswith((".example", ".sample", ".template")))
        or name.endswith(_SECRET_ENDS)
        or parts[-2:] in _SECRET_PATHS
    )


def _entries(folder: Path, *, depth: int = 0) -> Iterator[os.DirEntry[str]]:
    """Everything below ``folder``, in a steady order; links are not followed."""
    if depth > MOST_DEPTH:
        message = _("The build context holds folders more than %(count)d deep. Choose a folder below it.")
        raise InvalidInputError(message % {"count": MOST_DEPTH})
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        message = _("%(path)s cannot be read: %(detail)s.")
        raise InvalidInputError(message % {"path": folder, "detail": error.strerror}) from error
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), depth=depth + 1)


def _require_inside(root: Path, link: Path, relative: str) -> None:
    target = link.readlink()
    if not Path(os.path.realpath(link)).is_relative_to(root):
        message = _("The build context holds the link %(path)s, which leads out of it (to %(target)s).")
        raise InvalidInputError(message % {"path": relative, "target": target})
