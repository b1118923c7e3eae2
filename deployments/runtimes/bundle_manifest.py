"""What a bundle consists of: a readable YAML file in the catalogue, one for each bundle."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from django.utils.translation import gettext as _

from deployments.exceptions import CatalogueError

#: Where the manifests of this repository lie.
MANIFESTS = Path(__file__).resolve().parent.parent / "catalogue" / "bundles"
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One wheel. ``sha256`` maps a platform, or ``any``, to the hash of the wheel file."""

    name: str
    version: str
    sha256: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def hash_for(self, platform_name: str) -> str | None:
        """The expected SHA-256 in hex, None when there is no such wheel for that platform."""
        return self.sha256.get(platform_name) or self.sha256.get("any")


@dataclass(frozen=True, kw_only=True)
class BundledFile:
    """A file of the unpacked bundle that is checked: ``path`` relative to its folder, size in bytes, hash."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A bundle: wheels that are unpacked over one another, without their dependencies, and files to check."""

    name: str
    wheels: tuple[Wheel, ...]
    files: tuple[BundledFile, ...]

    def digest_for(self, platform_name: str) -> str:
        """Twelve hex digits that change with anything that changes the unpacked folder."""
        content = [
            [[wheel.name, wheel.version, wheel.hash_for(platform_name)] for wheel in self.wheels],
            [[file.path, file.size_bytes, file.sha256] for file in self.files],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def this_platform() -> str:
    """``linux_x86_64``, ``linux_aarch64``, ``macos_aarch64``, …, as the manifests name platforms."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    return f"{system}_{MACHINES.get(platform.machine().lower(), platform.machine().lower())}"


def read_manifest(path: Path) -> Manifest:
    """The manifest in ``path``. Raises CatalogueError naming file and reason, FileNotFoundError."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        wheels = tuple(_wheel(item) for item in data["wheels"])
        files = tuple(
            BundledFile(path=str(name), size_bytes=int(item["bytes"]), sha256=_sha256(item["sha256"]))
            for name, item in data.get("files", {}).items()
        )
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogueError(f"{path.name}:{line}: {error.problem}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = _("%(file)s:1: this is no bundle manifest: %(reason)s")
        raise CatalogueError(message % {"file": path.name, "reason": repr(error)}) from error
    return Manifest(name=path.stem, wheels=wheels, files=files)


def _wheel(item: dict[str, Any]) -> Wheel:
    hashes = {str(name): _sha256(value) for name, value in item["sha256"].items()}
    return Wheel(name=str(item["name"]), version=str(item["version"]), sha256=hashes)


def _sha256(value: object) -> str:
    text = str(value)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{text!r} is not a SHA-256 in lower-case hex")
    return text
