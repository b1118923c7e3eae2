"""Which folders of a host may be mounted: those below BERTH_HOST_PATHS, and none by default."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils.translation import gettext as _


def host_path_problem(path: str) -> str:
    """Why ``path`` may not be mounted, as a sentence; empty when it may.

    Symbolic links are followed as this process sees them, so that a link below an allowed folder leads nowhere else.
    """
    allowed: tuple[Path, ...] = settings.BERTH_HOST_PATHS
    if not allowed:
        return _("%(path)s is a folder of the host, and none may be mounted. Allow some with BERTH_HOST_PATHS.") % {
            "path": path
        }
    if ".." in PurePosixPath(path).parts:
        return _("%(path)s holds “..”.") % {"path": path}
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(folder)) for folder in allowed):
        return _("%(path)s is not below an allowed folder: %(allowed)s. See BERTH_HOST_PATHS.") % {
            "path": path,
            "allowed": ", ".join(map(str, allowed)),
        }
    return ""
