"""The words that the GPU pages' modules need; ``{…}`` is filled in there."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from .gpu_words import limiter_strings


def gpu_strings() -> dict[str, Any]:
    """Name -> words in the reader's language."""
    return {
        **limiter_strings(),
        "old": _("{n} s old"),
        "long_old": _("{age} old"),
        "foreign": _("foreign"),
        "used": _("other"),
        "reserved": _("reserved"),
        "utilisation": _("busy"),
        "sm": _("SMs"),
        "power": _("power"),
        "clock": _("SM clock"),
        "power_band": _("power cap"),
        "heat_band": _("heat"),
        "hardware_band": _("hardware"),
        "memory": _("used"),
        "temperature": _("temperature"),
        "no_history": _("No history yet: it begins with the first reading and fills from the right."),
        "unreachable": _("The history did not come: Berth or its Redis did not answer. It is asked for again."),
        "marks": {
            "start": _("started"),
            "ready": _("ready"),
            "stop": _("stopped"),
            "crash": _("crashed"),
            "xid": _("GPU fault"),
        },
    }
