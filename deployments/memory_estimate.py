"""How much GPU memory a config needs, with the arithmetic: weights, KV cache and overhead.

KV cache for each token = layers × KV heads × head dimension × (bytes of a key + bytes of a value); with N GPUs,
weights are divided by N and the KV cache by the smaller of N and the KV heads, since heads are not cut. Layers
with a sliding window keep less, so this is an upper bound for them. Memory in GiB, weights in GB (10⁹ bytes) as
hubs tell them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from .kv_cache import KvCacheType, kv_cache_type
from .memory_shares import share_notes, share_warnings
from .models import Config

GIB = 1024**3
#: An assumption: context, activations, CUDA graphs and NCCL took 1.5 to 3 GiB on each GPU.
OVERHEAD_GIB = 2.5
#: Stated sums are whole numbers; less than this over them is rounding.
ROUNDING_GIB = 0.5
#: Engines that split a model by layers, so that a GPU has all heads of its layers.
SPLIT_BY_LAYERS = frozenset({"llama.cpp", "ollama", "localai"})


@dataclass(frozen=True, kw_only=True)
class Term:
    """A number of the arithmetic: what it is, its value with unit, and where it comes from."""

    label: str
    value: float
    unit: str
    source: str

    @property
    def written(self) -> str:
        """The value without needless decimals."""
        return f"{self.value:.10g}"


@dataclass(frozen=True, kw_only=True)
class EstimateLine:
    """One addend: ``key`` is weights, kv_cache, overhead or stated. ``arithmetic`` spells ``terms`` out."""

    key: str
    label: str
    terms: tuple[Term, ...]
    arithmetic: str
    total_gib: float
    per_gpu_gib: float


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """The sum, over all GPUs and for each. ``complete`` is False when a part is not known and was left out."""

    gpus: int
    lines: tuple[EstimateLine, ...]
    total_gib: float
    per_gpu_gib: float
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    complete: bool = True


def estimate_memory(config: Config, *, gpu_memory_bytes: Iterable[int] = ()) -> MemoryEstimate | None:
    """The estimate for ``config``, whose model must be at hand; None when it asks for no GPU.

    ``gpu_memory_bytes`` are the sizes of the GPUs that there are, to say what a share of them means.
    """
    if config.gpus == 0:
        return None
    kv_type = kv_cache_type(config.engine, config.arguments, config.environment)
    stated = _stated(config)
    lines = [stated] if stated else list(_lines(config, kv_type))
    total_gib = sum(line.total_gib for line in lines)
    per_gpu_gib = sum(line.per_gpu_gib for line in lines)
    sizes = sorted(set(gpu_memory_bytes))
    if stated:
        warnings = [*_stated_warnings(config)]
    else:
        warnings = [*_missing_warnings(config, lines, kv_type), *_head_warnings(config)]
        warnings += [*_sum_warnings(config, total_gib), *share_warnings(config, sizes, per_gpu_gib)]
    return MemoryEstimate(
        gpus=config.gpus,
        lines=tuple(lines),
        total_gib=total_gib,
        per_gpu_gib=per_gpu_gib,
        warnings=tuple(warnings),
        notes=tuple(share_notes(config, sizes)),
        complete=stated is not None or len(lines) == 3,
    )


def _stated(config: Config) -> EstimateLine | None:
    """Models that draw have no KV cache, and their engines move parts to the host: what the config states holds."""
    if config.protocol != "openai-image":
        return None
    return EstimateLine(
        key="stated",
        label=_("Stated by the config"),
        terms=(Term(label=_("memory"), value=config.memory_gib, unit="GiB", source=_("config")),),
        arithmetic=f"{config.memory_gib:g} GiB",
        total_gib=config.memory_gib,
        per_gpu_gib=config.memory_gib / config.gpus,
    )


def _lines(config: Config, kv_type: KvCacheType) -> Iterator[EstimateLine]:
    if config.weights_gb:
        total = config.weights_gb * 1e9 / GIB
        yield EstimateLine(
            key="weights",
            label=_("Weights"),
            terms=(Term(label=_("weights"), value=config.weights_gb, unit="GB", source=_("config")),),
            arithmetic=f"{config.weights_gb:g} × 10⁹ B",
            total_gib=total,
            per_gpu_gib=total / config.gpus,
        )
    if (cache := _kv_cache(config, kv_type)) is not None:
        yield cache
    yield EstimateLine(
        key="overhead",
        label=_("Overhead"),
        terms=(Term(label=_("overhead of each GPU"), value=OVERHEAD_GIB, unit="GiB", source=_("assumed")),),
        arithmetic=f"{config.gpus} × {OVERHEAD_GIB:g} GiB",
        total_gib=config.gpus * OVERHEAD_GIB,
        per_gpu_gib=OVERHEAD_GIB,
    )


def _kv_cache(config: Config, kv_type: KvCacheType) -> EstimateLine | None:
    model = config.model
    layers, heads, dimension = model.layers, model.kv_heads, model.head_dimension
    context = config.context_tokens or model.native_context_tokens
    if not (layers and heads and dimension and context):
        return None
    width = kv_type.key_bytes + kv_type.value_bytes
    # Of more GPUs than heads, some hold the same head.
    parts = config.gpus if config.engine in SPLIT_BY_LAYERS else min(config.gpus, heads)
    whole = layers * heads * dimension * width * context * config.concurrent_requests / GIB
    per_gpu = whole / parts
    told = _("model")
    if kv_type.key_bytes == kv_type.value_bytes:
        per_token = f"2 × {layers} × {heads} × {dimension} × {kv_type.key_bytes:g} B"
    else:
        per_token = f"{layers} × {heads} × {dimension} × ({kv_type.key_bytes:g} + {kv_type.value_bytes:g}) B"
    return EstimateLine(
        key="kv_cache",
        label=_("KV cache"),
        terms=(
            Term(label=_("layers"), value=layers, unit="", source=told),
            Term(label=_("key-value heads"), value=heads, unit="", source=told),
            Term(label=_("head dimension"), value=dimension, unit="", source=told),
            Term(
                label=_("bytes of a key and a value"),
                value=width,
                unit="B",
                source=kv_type.source if kv_type.source and kv_type.known else _("16 bits, the default"),
            ),
            Term(
                label=_("context"),
                value=context,
                unit=_("tokens"),
                source=_("config") if config.context_tokens else told,
            ),
            Term(label=_("requests at full context"), value=config.concurrent_requests, unit="", source=_("config")),
        ),
        arithmetic=f"{per_token} × {context} × {config.concurrent_requests}",
        total_gib=per_gpu * config.gpus,
        per_gpu_gib=per_gpu,
    )


def _stated_warnings(config: Config) -> Iterator[str]:
    weights_gib = (config.weights_gb or 0) * 1e9 / GIB
    if weights_gib > config.memory_gib:
        message = _(
            "The weights alone are %(weights).1f GiB, the config states %(stated)g GiB: "
            "it fits only while the engine moves parts of the model to the host's memory."
        )
        yield message % {"weights": weights_gib, "stated": config.memory_gib}


def _missing_warnings(config: Config, lines: Sequence[EstimateLine], kv_type: KvCacheType) -> Iterator[str]:
    if not config.weights_gb:
        yield _("The size of the weights is not known and is left out.")
    if not any(line.key == "kv_cache" for line in lines):
        yield _("The KV cache is left out: the model's layers, heads, head dimension or context are not known.")
    if not kv_type.known:
        yield _("“%(option)s” is not understood; 16 bits for each element are assumed.") % {"option": kv_type.source}


def _sum_warnings(config: Config, total_gib: float) -> Iterator[str]:
    if config.memory_gib and total_gib > config.memory_gib + ROUNDING_GIB:
        message = _("The estimate exceeds the %(stated)g GiB that the config states and that placement looks for.")
        yield message % {"stated": config.memory_gib}


def _head_warnings(config: Config) -> Iterator[str]:
    heads, gpus = config.model.kv_heads, config.gpus
    if not heads or gpus == 1 or config.engine in SPLIT_BY_LAYERS:
        return
    told = {"heads": heads, "gpus": gpus}
    if gpus > heads and gpus % heads == 0:
        yield _("Each of the %(heads)d key-value heads is kept on more than one of the %(gpus)d GPUs.") % told
    elif heads % gpus and gpus % heads:
        yield (
            _("The %(heads)d key-value heads cannot be divided over %(gpus)d GPUs: most engines refuse to start.")
            % told
        )
