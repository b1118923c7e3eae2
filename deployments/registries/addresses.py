"""What may be written as a registry's address, a repository and a tag. Pure, except for the look at a host's address.

Source: the OCI distribution specification, "Pulling manifests", for repositories and tags.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

from django.utils.translation import gettext as _

_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
LONGEST_PATH = 255
#: Docker Hub: names of images mean it where they name no registry, and its API is served by another host.
HUB = "docker.io"
_HUB_SERVER = "registry-1.docker.io"
_HUB_NAMES = frozenset({HUB, "index.docker.io", _HUB_SERVER})


def address_problem(address: str) -> str:
    """Why this cannot be a registry's address, as a sentence; empty when it can."""
    if not _ADDRESS.fullmatch(address) or not 0 < port_of(address) < 65536:
        return _("Write host, or host:port, without http:// and without a path.")
    # The engine takes a first part without dot, port or “localhost” for a folder of the public registry.
    host = host_of(address)
    if "." not in host and ":" not in address and host != "localhost":
        return _("Write a whole host name, as in registry.example.org, or add the port.")
    return ""


def path_problem(path: str) -> str:
    """Why this cannot be a repository within a registry; empty when it can."""
    if len(path) > LONGEST_PATH or not _PATH.fullmatch(path):
        return _("Use lower-case letters and digits, with dots, dashes, underscores and slashes between them.")
    return ""


def tag_problem(tag: str) -> str:
    """Why this cannot be a tag; empty when it can."""
    if not _TAG.fullmatch(tag):
        return _("Use up to 128 letters, digits, dots, dashes and underscores; begin with a letter or digit.")
    return ""


def registry_named_by(image: str) -> str:
    """The address of the registry that an image's name means, in its one spelling."""
    return split_image(image)[0]


def split_image(image: str) -> tuple[str, str]:
    """The address of the registry that an image's name means, and its name there, by the engine's own rule.

    Source: distribution/reference, "splitDockerDomain": a folder has no capitals, so that a first part with some is a
    host.
    """
    first, slash, rest = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return HUB, image
    return canonical(first), rest


def canonical(address: str) -> str:
    """The one spelling of an address: hosts know no capitals, and the public registry has several names."""
    lowered = address.lower()
    return HUB if lowered in _HUB_NAMES else lowered


def server_of(address: str) -> str:
    """Who answers for a registry, as ``host`` or ``host:port``."""
    return _HUB_SERVER if canonical(address) == HUB else address


def host_of(address: str) -> str:
    """The host of ``host`` or ``host:port``, without the brackets of IPv6."""
    host, colon, port = address.rpartition(":")
    return (host if colon and port.isdecimal() else address).strip("[]")


def port_of(address: str) -> int:
    """The port, 443 where none is written."""
    _host, colon, port = address.rpartition(":")
    return int(port) if colon and port.isdecimal() else 443


def is_near(address: str) -> bool:
    """Whether every address of the registry's host is this host's own or private: only then may TLS be left out.

    Not so for a host that is not found, or has a name that no host can have.
    """
    host = host_of(address)
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port_of(address), type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    addresses = [ip_address(str(each).partition("%")[0]) for each in found]
    return bool(addresses) and all(each.is_loopback or each.is_private for each in addresses)
