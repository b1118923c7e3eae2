"""Compose's durations and sizes, as in ``1m30s`` and ``16gb`` (the specification's 11-extension)."""

from __future__ import annotations

import re

_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s|d)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_AS_CONFIGS_WRITE_IT = re.compile(r"\d+[kmg]")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmg]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def duration_s(text: str) -> float | None:
    """A duration in seconds; None when it is none. A bare number is seconds."""
    text = text.strip()
    if text.isdecimal():
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def size_of(text: str) -> str:
    """A size as a config writes it, as in ``16g``; empty when it is none. What is no whole unit is rounded up."""
    if _AS_CONFIGS_WRITE_IT.fullmatch(text.strip()):
        return text.strip()
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return ""
    size = float(match[1]) * _UNITS[match[2].lower()]
    for unit in "gmk":
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{int(size // _UNITS[unit])}{unit}"
    return f"{max(1, -(-int(size) // 1024))}k"
