"""What ``name:/path[:ro]`` or ``/host/path:/path[:ro]`` means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Volume:
    """``source`` is the name of a volume, or an absolute path of the host."""

    source: str
    target: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Volume:
        """Read one entry of ``Config.volumes``; checked before by :mod:`deployments.config_items`."""
        source, _colon, rest = text.partition(":")
        target, _colon, mode = rest.partition(":")
        return cls(source=source, target=target, read_only=mode == "ro")

    @property
    def is_host_path(self) -> bool:
        """Whether it is a folder of the host."""
        return self.source.startswith("/")
