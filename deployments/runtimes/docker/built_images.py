"""Asks this node's engine about images that were built, and deletes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from deployments.exceptions import BuildError

from .engine import answers, connect


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """What the engine says of an image."""

    image_id: str
    size_bytes: int
    labels: dict[str, str]


def find_image(image: str) -> BuiltImage | None:
    """The image of that id or name; None when the engine has none. Raises RuntimeUnavailableError."""
    with answers() as client:
        try:
            found = _inspect(client, image)
        except ImageNotFound:
            return None
    labels = (found.get("Config") or {}).get("Labels") or {}
    return BuiltImage(image_id=found["Id"], size_bytes=int(found["Size"]), labels=labels)


def image_ids() -> set[str]:
    """The ids of all images here, with a name or without. Raises RuntimeUnavailableError."""
    with answers() as client:
        return {str(each) for each in client.images(quiet=True)}


def digest_of(image: str) -> str:
    """What ``image`` is at this moment: its digest here or at its registry, else its id here; empty when not known."""
    with answers() as client:
        try:
            found = _inspect(client, image)
        except ImageNotFound:
            found = None
        except APIError:
            return ""
        if found is not None:
            digests = [str(each).rpartition("@")[2] for each in found.get("RepoDigests") or ()]
            return digests[0] if digests else str(found["Id"])
    engine: Any = connect()  # its stubs leave the call untyped
    try:
        return str(engine.inspect_distribution(image)["Descriptor"]["digest"])
    except (DockerException, RequestException, LookupError):
        return ""  # the build itself will say what is wrong with it


def delete_image(image_id: str) -> None:
    """Delete an image with all its names; one that is gone already is fine. Raises BuildError when it is in use."""
    with answers() as client:
        try:
            client.remove_image(image_id, force=True)
        except ImageNotFound:
            return
        except APIError as error:
            told = _("The engine keeps the image: %(detail)s") % {"detail": (error.explanation or str(error))[:300]}
            raise BuildError(told, code="image_in_use") from error


def _inspect(client: Any, image: str) -> dict[str, Any]:
    """The engine's whole answer; the SDK's stubs leave the call untyped."""
    answer: dict[str, Any] = client.inspect_image(image)
    return answer
