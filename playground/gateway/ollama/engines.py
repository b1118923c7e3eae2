"""What engines that speak OpenAI's chat take besides it, for options that only Ollama's API has.

vLLM 0.32 and SGLang (Sampling Parameters, OpenAI-Compatible Server), LMDeploy 0.16 (lmdeploy/serve/openai/protocol.py),
llama.cpp (tools/server/README.md), LocalAI 4.9 (core/schema/prediction.go), TGI 3.3 (router/src/lib.rs). An engine that
nobody knows gets nothing that OpenAI's own reference does not name: it may refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """``options`` maps Ollama's option names to the engine's.

    ``template_thinking`` tells whether the chat template can be told to think or not, ``reasoning`` the member of a
    message in which earlier reasoning goes back, ``counts_stream`` whether it may be asked for the usage of a stream,
    and ``formats`` how a JSON schema is given.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    template_thinking: bool = False
    reasoning: str = ""
    counts_stream: bool = True
    formats: Literal["openai", "tgi"] = "openai"


_SAMPLING: Final = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"}
_LLAMA: Final = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repeat_penalty"}
_DIALECTS: Final[dict[str, Dialect]] = {
    "vllm": Dialect(options=_SAMPLING, template_thinking=True, reasoning="reasoning"),
    "sglang": Dialect(options=_SAMPLING, template_thinking=True, reasoning="reasoning_content"),
    "lmdeploy": Dialect(options=_SAMPLING, template_thinking=True),
    "llama.cpp": Dialect(options=_LLAMA, template_thinking=True, reasoning="reasoning_content"),
    "localai": Dialect(options=_LLAMA),
    "tgi": Dialect(formats="tgi"),
}
_UNKNOWN: Final = Dialect(counts_stream=False)


def dialect_of(engine: str) -> Dialect:
    """How ``engine`` is asked."""
    return _DIALECTS.get(engine, _UNKNOWN)
