"""Runs in containers, through the Docker SDK. What leaves this package speaks of runs, not of containers."""

from .runtime import DockerRuntime

__all__ = ["DockerRuntime"]
