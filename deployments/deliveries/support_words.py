"""The sentences of the table of support: its notes, which are keys there so that they can be translated."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

NOTES: Mapping[str, Promise] = {
    "gemma2_on_hopper": gettext_lazy(
        "On Hopper GPUs its soft-capping failed with FlashAttention 3; try it before you build."
    ),
    "pytorch_engine": gettext_lazy("Only with its PyTorch engine (--backend pytorch), not with TurboMind."),
    "maintenance": gettext_lazy("The project is in maintenance mode: it gets fixes, no new models."),
    "gguf_first": gettext_lazy("It runs GGUF: 16-bit weights must be converted first."),
    "import_first": gettext_lazy("It runs GGUF: 16-bit weights are converted when they are imported."),
    "no_official_image": gettext_lazy("There is no official image: the Dockerfile starts from scratch."),
    "berth_translates": gettext_lazy(
        "It speaks its own protocol; Berth's gateway translates, a client without Berth must speak it itself."
    ),
    "copyleft": gettext_lazy("Whoever passes the image on must offer its source under the same licence."),
}
