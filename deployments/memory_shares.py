"""Engines that take a share of each GPU's memory for their KV cache, whatever they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from .engines.argument_style import option_value
from .models import Config

GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Share:
    """``default`` is None where the engine works it out. ``of_all``: of all memory, not of what is free."""

    option: str
    default: float | None
    of_all: bool


#: Sources: vLLM's CacheConfig (0.92 in current versions, 0.9 before), SGLang's server arguments, LMDeploy's
#: TurbomindEngineConfig, whose share is of what is free once the weights are loaded.
SHARES = {
    "vllm": Share(option="--gpu-memory-utilization", default=0.92, of_all=True),
    "sglang": Share(option="--mem-fraction-static", default=None, of_all=True),
    "lmdeploy": Share(option="--cache-max-entry-count", default=0.8, of_all=False),
}


def asked_share(config: Config) -> tuple[Share, float] | None:
    """The share that ``config`` makes its engine take; None when it takes none or chooses by itself."""
    share = SHARES.get(config.engine)
    if share is None:
        return None
    written = option_value(config.arguments, (share.option,))
    try:
        value = float(written) if written else share.default
    except ValueError:
        return None
    return None if value is None or not 0 < value <= 1 else (share, value)


def share_notes(config: Config, sizes: Sequence[int]) -> Iterator[str]:
    """What the engine takes, in words; ``sizes`` are the GPUs that there are, in bytes."""
    asked = asked_share(config)
    if asked is None:
        return
    share, value = asked
    told = {"option": share.option, "percent": f"{value * 100:g}"}
    if not share.of_all:
        yield (
            _(
                "The engine takes %(percent)s %% of what is free after the weights for its KV cache (%(option)s), "
                "so it will hold more than this."
            )
            % told
        )
    elif not sizes:
        yield _("%(option)s claims %(percent)s %% of all memory of each GPU, whatever the estimate says.") % told
    for size in sizes if share.of_all else ():
        yield (
            _("%(option)s is a share of all memory: it claims %(claimed).1f of the %(size).1f GiB of each GPU.")
            % {**told, "claimed": size / GIB * value, "size": size / GIB}
        )


def share_warnings(config: Config, sizes: Sequence[int], per_gpu_gib: float) -> Iterator[str]:
    """Where the share of a GPU that there is would be too small."""
    asked = asked_share(config)
    if asked is None or not asked[0].of_all:
        return
    for size in sizes:
        if size / GIB * asked[1] < per_gpu_gib <= size / GIB:
            yield (
                _("On a GPU of %(size).1f GiB the share that %(option)s allows is smaller than this.")
                % {"size": size / GIB, "option": asked[0].option}
            )
