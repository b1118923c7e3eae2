"""How wide a config's engine stores keys and values: what its arguments and environment say.

Sources of the option names: vLLM's and SGLang's server arguments (``--kv-cache-dtype``), LMDeploy's
``--quant-policy``, TGI's launcher (``--kv-cache-dtype``), llama.cpp's server (``--cache-type-k``), Ollama's FAQ
(``OLLAMA_KV_CACHE_TYPE``). The quantised types of ggml hold blocks of 32 values with a scale of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .engines.argument_style import option_value

DEFAULT_BYTES = 2.0
#: Bytes for each element by the names that engines use; "auto" is the model's own type, 16 bits wide.
WIDTHS: Mapping[str, float] = {
    "auto": DEFAULT_BYTES,
    "f32": 4.0,
    "float32": 4.0,
    "f16": 2.0,
    "float16": 2.0,
    "bf16": 2.0,
    "bfloat16": 2.0,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
    "fp4_e2m1": 0.5,
}
LMDEPLOY_POLICIES: Mapping[str, float] = {"0": 2.0, "4": 0.5, "8": 1.0}


@dataclass(frozen=True, kw_only=True)
class KvCacheType:
    """Bytes for each element of a key and of a value. ``source`` is the option that says so, empty for the default.

    ``known`` is False when an option has a value that is not understood; then 16 bits are assumed.
    """

    key_bytes: float = DEFAULT_BYTES
    value_bytes: float = DEFAULT_BYTES
    source: str = ""
    known: bool = True


def kv_cache_type(engine: str, arguments: Sequence[str], environment: Mapping[str, str]) -> KvCacheType:
    """What the config asks its engine for."""
    if engine == "lmdeploy":
        return _one("--quant-policy", option_value(arguments, ("--quant-policy",)), policies=True)
    if engine == "ollama":
        return _one("OLLAMA_KV_CACHE_TYPE", environment.get("OLLAMA_KV_CACHE_TYPE"))
    if engine == "llama.cpp":
        key = _one("--cache-type-k", option_value(arguments, ("--cache-type-k", "-ctk")))
        value = _one("--cache-type-v", option_value(arguments, ("--cache-type-v", "-ctv")))
        return KvCacheType(
            key_bytes=key.key_bytes,
            value_bytes=value.value_bytes,
            source=" ".join(filter(None, (key.source, value.source))),
            known=key.known and value.known,
        )
    return _one("--kv-cache-dtype", option_value(arguments, ("--kv-cache-dtype",)))


def _one(option: str, value: str | None, *, policies: bool = False) -> KvCacheType:
    if value is None:
        return KvCacheType()
    source = f"{option} {value}"
    widths = LMDEPLOY_POLICIES if policies else WIDTHS
    # fp8, fp8_e4m3, fp8_e5m2, fp8_inc, fp8_e4m3fn: all are one byte.
    width = 1.0 if value.startswith("fp8") else widths.get(value)
    if width is None:
        return KvCacheType(source=source, known=False)
    return KvCacheType(key_bytes=width, value_bytes=width, source=source)
