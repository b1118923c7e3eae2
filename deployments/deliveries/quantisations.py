"""Names of quantisations as people and hubs write them: their method, and the bytes of a parameter.

Sources: of GGUF the table of Llama 3.1 8B in llama.cpp's tools/quantize/README.md (bits for each weight, whole
file), and of its older kinds ggml-common.h's blocks of 32 weights (Q4_1 20 bytes, Q5_0 22, Q5_1 24); of AWQ and GPTQ
the sizes of 70B to 110B repositories on the hub (61.5 GB for 111.2 billion, 41.6 GB for 72.7 billion), which keep
embeddings and head at 16 bits, so small models need more; of FP8 405 billion in 410 GB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PLAIN = "16 bits"
#: Bits for each parameter by name.
_GGUF_BITS: Mapping[str, float] = {
    "q2_k": 3.1593,
    "q3_k_m": 3.9960,
    "iq4_xs": 4.4597,
    "q4_0": 4.5,
    "q4_1": 5.0,
    "q4_k_s": 4.6672,
    "q4_k_m": 4.8944,
    "q5_0": 5.5,
    "q5_1": 6.0,
    "q5_k_m": 5.7036,
    "q6_k": 6.5633,
    "q8_0": 8.5008,
}
#: There are more kinds than those above, and llama.cpp gets new ones: Q3_K_XL, IQ2_XXS, TQ1_0.
_GGUF_NAME = re.compile(r"(i?q|tq)[1-8]_[0-9a-z_]+")
_PLAIN_BITS: Mapping[str, float] = {"": 16, "bf16": 16, "fp16": 16, "f16": 16, "float16": 16, "bfloat16": 16}
_METHOD_BITS: Mapping[str, float] = {"fp8": 8.1, "int8": 8.1, "awq": 4.55, "gptq": 4.55, "bitsandbytes": 4.55}
#: Other spellings of a method, by how they begin.
_SPELLINGS: Mapping[str, str] = {
    "awq": "awq",
    "gptq": "gptq",
    "fp8": "fp8",
    "w8a8": "int8",
    "int8": "int8",
    "bitsandbytes": "bitsandbytes",
    "bnb": "bitsandbytes",
    "nf4": "bitsandbytes",
    "gguf": "gguf",
}
#: What a form offers.
KNOWN = ("bf16", "fp8", "awq", "gptq", "int8", "bitsandbytes", *_GGUF_BITS)


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """``method`` as the table of support names it; ``bits`` of a parameter, None where they are not known."""

    method: str
    bits: float | None

    def weights_gb(self, parameters_b: float | None) -> float | None:
        """The size of the weights in GB (10⁹ bytes); None where it is not known."""
        if parameters_b is None or self.bits is None:
            return None
        return parameters_b * self.bits / 8


def quantisation_of(name: str) -> Quantisation:
    """What ``name`` means; an unknown one is its own method."""
    plain = name.strip().lower().replace(" ", "")
    if plain in _PLAIN_BITS:
        return Quantisation(method=PLAIN, bits=_PLAIN_BITS[plain])
    if plain in _GGUF_BITS:
        return Quantisation(method="gguf", bits=_GGUF_BITS[plain])
    if _GGUF_NAME.fullmatch(plain):
        return Quantisation(method="gguf", bits=None)
    method = next((method for start, method in _SPELLINGS.items() if plain.startswith(start)), None)
    if method == "gguf":
        # "gguf-q4_k_m", as some write it.
        return Quantisation(method=method, bits=_GGUF_BITS.get(plain.removeprefix("gguf").strip("-_: ")))
    if method is None:
        return Quantisation(method=plain, bits=None)
    return Quantisation(method=method, bits=_METHOD_BITS[method])
