"""Numbers as people read them: durations, bytes, rates, memory, and the stable hue of a name."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deployments.progress import EXTRACT, LAYERS, Progress

HUES = 12


def duration_words(seconds: float) -> str:
    """``42 s``, ``12 min``, ``2 h 10 min``, ``3 d 4 h``; negative counts as 0. The module berth/ages does the same."""
    whole = max(0, int(seconds))
    minutes, hours = whole // 60, whole // 3600
    if whole < 60:
        return _("{n} s").format(n=whole)
    if minutes < 60:
        return _("{n} min").format(n=minutes)
    if hours < 24:
        return _("{h} h {m} min").format(h=hours, m=minutes % 60)
    return _("{d} d {h} h").format(d=hours // 24, h=hours % 24)


def step_words(length: timedelta) -> str:
    """A short step's length with one decimal below ten seconds: ``0.9 s``."""
    seconds = length.total_seconds()
    if 0 <= seconds < 10:
        return _("{n} s").format(n=number_format(seconds, decimal_pos=1))
    return duration_words(seconds)


def ago_words(moment: datetime, now: datetime) -> str:
    """``just now`` or ``3 min ago``."""
    seconds = (now - moment).total_seconds()
    if seconds < 5:
        return _("just now")
    return _("{age} ago").format(age=duration_words(seconds))


def byte_words(count: float) -> str:
    """Bytes in powers of ten, as file sizes are given: ``98.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{_decimals(count, whole=unit == 'B')} {unit}"
        count /= 1000
    return f"{_decimals(count)} TB"


def _decimals(value: float, *, whole: bool = False) -> str:
    return number_format(value, decimal_pos=0 if whole or value >= 100 else 1)


def memory_words(gpus: int, memory_gib: float) -> str:
    """``4 × 36 GiB``: GPUs times the memory that each needs; ``no GPU`` without one."""
    if gpus == 0:
        return _("no GPU")
    each = memory_gib / gpus
    return f"{gpus} × {number_format(each, decimal_pos=0 if each >= 10 or each == int(each) else 1)} GiB"


def amount_words(progress: Progress) -> str:
    """What is left and done: ``about 5 s left · 41.2 of 98.0 MB · 12.0 MB/s``; leaves out what is not known."""
    parts = []
    if progress.eta_s is not None:
        parts.append(_("about {age} left").format(age=duration_words(progress.eta_s)))
    if progress.done is not None:
        parts.append(_done(progress))
    if progress.rate:
        parts.append(_("{amount}/s").format(amount=_amount(progress.rate, progress.unit)))
    return " · ".join(parts)


def doing_words(progress: Progress) -> str:
    """What is being done: ``2 of 3 layers``, ``unpacking``, or the step's own name; empty when it has none."""
    if progress.layers is not None:
        return layer_words(progress.layers_done or 0, progress.layers)
    return _("unpacking") if progress.step == EXTRACT else progress.step


def layer_words(done: int, total: int) -> str:
    """``2 of 3 layers``."""
    return ngettext("{done} of {total} layer", "{done} of {total} layers", total).format(done=done, total=total)


def _done(progress: Progress) -> str:
    if progress.unit == LAYERS and progress.total:
        return layer_words(int(progress.done or 0), int(progress.total))
    done = _amount(progress.done or 0, progress.unit)
    if not progress.total:
        return done
    total = _amount(progress.total, progress.unit)
    number, _space, unit = done.rpartition(" ")
    if number and total.endswith(f" {unit}"):
        done = number
    return _("{done} of {total}").format(done=done, total=total)


def _amount(value: float, unit: str) -> str:
    return byte_words(value) if unit == "B" else f"{number_format(value, decimal_pos=0)} {unit}".strip()


def hue_of(name: str) -> int:
    """A stable number from 0 to 11 for a name: the class ``hue-N`` colours it the same everywhere."""
    return zlib.crc32(name.encode()) % HUES
