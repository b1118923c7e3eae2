"""Numbers of GPUs in templates; the module gpus/numbers writes them the same way."""

from __future__ import annotations

from typing import TypeGuard

from django import template

from deployments.gpu_readings import GpuReading
from deployments.placement.views import GIB
from deployments.presentation import gpu_words, words

register = template.Library()
DASH = "–"


@register.filter
def gib(size: float | str | None) -> str:
    """``61.2``: GiB with one decimal, without the unit."""
    return _rounded(size / GIB, 1) if _is_known(size) else DASH


@register.filter
def whole_gib(size: float | str | None) -> str:
    """``1,128``: whole GiB."""
    return _rounded(size / GIB, 0) if _is_known(size) else DASH


@register.filter
def whole(value: float | str | None) -> str:
    """A whole number, or a dash when it is not known."""
    return _rounded(value, 0) if _is_known(value) else DASH


@register.filter
def kilowatts(watts: float | str | None) -> str:
    """``3.1 kW``, ``812 W``: a sum of power."""
    if not _is_known(watts):
        return DASH
    return f"{_rounded(watts, 0)} W" if watts < 1000 else f"{_rounded(watts / 1000, 1)} kW"


@register.filter
def rate(bytes_s: float | str | None) -> str:
    """``1.2 MB/s``."""
    return f"{words.byte_words(bytes_s)}/s" if _is_known(bytes_s) else DASH


@register.filter
def source(name: str) -> str:
    """Where readings come from, in words."""
    return gpu_words.source_words(name)


@register.filter
def flag(name: str) -> str:
    """A flag of a run as a sentence."""
    return gpu_words.flag_words(name)


@register.filter
def flag_fix(name: str) -> str:
    """What to do about a flag."""
    return gpu_words.flag_fix(name)


@register.filter
def why_missing(gpu: GpuReading | None, field: str) -> str:
    """Why a value is not there; empty when it is."""
    if gpu is None or getattr(gpu, field) is not None:
        return ""
    return gpu_words.missing_words(gpu.missing.get(field, ""))


def _is_known(value: float | str | None) -> TypeGuard[float]:
    """An attribute of nothing reaches a filter as an empty string."""
    return isinstance(value, int | float)


def _rounded(value: float, decimals: int) -> str:
    # Django's number_format cuts digits off instead of rounding, and groups no thousands in Chinese; browsers do.
    return f"{value:,.{decimals}f}"
