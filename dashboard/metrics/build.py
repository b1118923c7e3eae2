"""Which Berth this is."""

from __future__ import annotations

import platform
import tomllib
from functools import cache

from prometheus_client.core import InfoMetricFamily
from prometheus_client.metrics_core import Metric

from dashboard.environment import BASE_DIR


def build_family() -> Metric:
    """``berth_build_info``: always 1."""
    told = {"version": _version(), "python": platform.python_version()}
    return InfoMetricFamily("berth_build", "The version of Berth, and of the Python that runs it.", value=told)


@cache
def _version() -> str:
    try:
        return str(tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"])
    except (OSError, KeyError, ValueError):
        return "unknown"
