"""Which folders of a host may be mounted: those below BERTH_HOST_PATHS, and none by default."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils.translation import gettext as _

from .exceptions import InvalidInputError


def allowed_host_path(path: str) -> str:
    """The folder that ``path`` names once symbolic links are followed, as this process sees them.

    What is mounted must be this and not ``path``: a link below an allowed folder could lead elsewhere by the time
    that the engine follows it. Raises InvalidInputError, with a sentence, for a folder that is not allowed.
    """
    allowed: tuple[Path, ...] = settings.BERTH_HOST_PATHS
    if not allowed:
        message = _("%(path)s is a folder of the host, and none may be mounted. Allow some with BERTH_HOST_PATHS.")
        raise InvalidInputError(message % {"path": path})
    if ".." in PurePosixPath(path).parts:
        raise InvalidInputError(_("%(path)s holds “..”.") % {"path": path})
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError) as error:
        # A link that this process may not read, as /proc/1/root; a NUL.
        raise InvalidInputError(_("%(path)s cannot be followed on this host.") % {"path": path}) from error
    if not any(Path(real).is_relative_to(os.path.realpath(folder)) for folder in allowed):
        message = _("%(path)s is not below an allowed folder: %(allowed)s. See BERTH_HOST_PATHS.")
        raise InvalidInputError(message % {"path": path, "allowed": ", ".join(map(str, allowed))})
    return real


def host_path_problem(path: str) -> str:
    """Why ``path`` may not be mounted, as a sentence; empty when it may."""
    try:
        allowed_host_path(path)
    except InvalidInputError as error:
        return str(error)
    return ""
