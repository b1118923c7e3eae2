"""The ranking of tools: what speaks for and against each, with the arithmetic, and what is not known."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from deployments.deliveries.quantisations import KNOWN
from deployments.deliveries.requirement import AskedProtocol, Hardware, Requirement, Targets, Task
from deployments.deliveries.support import About, EngineSupport, SupportRow, SupportSource, support_table
from deployments.deliveries.tools import Candidate, Verdict, recommend, step_state
from deployments.models import Delivery
from tests.deployments.deliveries import make_requirement

SOURCE = SupportSource(title="A document", url="https://example.org", version="1", read=date(2026, 11, 28))
ALL = "*"


def _ranked(**changes: Any) -> list[Candidate]:
    return recommend(make_requirement(**changes), support_table())


def _names(candidates: list[Candidate], *, excluded: bool = False) -> list[str]:
    return [one.engine for one in candidates if one.is_excluded == excluded]


def _one(name: str, **changes: Any) -> Candidate:
    return next(one for one in _ranked(**changes) if one.engine == name)


def _said(candidate: Candidate, verdict: Verdict) -> str:
    return " ".join(finding.sentence for finding in candidate.findings if finding.verdict == verdict)


def _engine(name: str, **answers: list[str]) -> EngineSupport:
    rows = [
        SupportRow(about=About(about), yes=yes, no=[], others_no=False, note="", source=SOURCE)
        for about, yes in answers.items()
    ]
    return EngineSupport(name=name, rows=rows)


def test_a_llama_for_many_people_goes_to_the_servers_that_batch_and_not_to_those_that_draw() -> None:
    ranked = _ranked()
    assert _names(ranked)[:3] == ["vllm", "lmdeploy", "sglang"]
    assert _names(ranked, excluded=True) == ["comfyui", "sd-webui"]


def test_the_arithmetic_of_the_memory_is_shown() -> None:
    found = _one("vllm")
    assert found.estimate is not None
    lines = {line.key: line.arithmetic for line in found.estimate.lines}
    assert lines == {
        "weights": "8.03 × 10⁹ × 16 bit / 8",
        "kv_cache": "2 × 32 × 8 × 128 × 2 B × 8192 × 16",
        "overhead": "1 × 2.5 GiB",
    }
    sources = {term.source for line in found.estimate.lines for term in line.terms}
    assert sources == {"requirement", "16 bits", "16 bits, the default", "assumed"}
    # 14.96 GiB of weights, 16 GiB of keys and values, 2.5 GiB of overhead; vLLM takes 92 % of 80 GiB.
    assert "Memory: 33.5 GiB on 1 GPU, of 73.6 GiB that it may use of 80." in _said(found, Verdict.YES)


def test_what_does_not_fit_is_excluded_unless_layers_may_run_on_the_processor() -> None:
    small = {"hardware": Hardware(gpu="L4", count=1, memory_gib=24)}
    ranked = _ranked(**small)
    assert _names(ranked) == ["localai", "llama.cpp", "ollama"]
    assert "needs 33.5 GiB on 1 GPU and may use 22.1 GiB of 24" in _said(_one("vllm", **small), Verdict.NO)
    assert "far slower" in _said(_one("llama.cpp", **small), Verdict.WARNING)


def test_more_gpus_share_the_weights() -> None:
    two = _one("vllm", hardware=Hardware(gpu="L4", count=2, memory_gib=24))
    assert two.estimate is not None
    assert not two.is_excluded
    assert two.estimate.per_gpu_gib == pytest.approx((14.96 + 16) / 2 + 2.5, abs=0.02)


@pytest.mark.parametrize(
    ("protocol", "left"),
    [("ollama-text", {"ollama", "localai"}), ("tgi", {"tgi", "localai"})],
)
def test_a_protocol_leaves_those_that_speak_it_or_of_which_it_is_not_known(protocol: str, left: set[str]) -> None:
    ranked = _ranked(protocol=protocol)
    assert set(_names(ranked)) == left
    assert ranked[0].engine != "localai"


def test_images_go_to_those_that_draw_with_their_catches_said() -> None:
    changes = {
        "task": "image",
        "protocol": "openai-image",
        "architecture": "FluxPipeline",
        "targets": Targets(),
        "parameters_b": 12.0,
    }
    ranked = _ranked(**changes)
    assert _names(ranked) == ["localai", "comfyui", "sd-webui"]
    comfyui = _one("comfyui", **changes)
    for sentence in ("no official image", "gateway translates", "same licence"):
        assert sentence in _said(comfyui, Verdict.WARNING)
    assert "KV cache" not in _said(comfyui, Verdict.UNKNOWN)


def test_what_is_not_known_is_said_as_not_known_and_ranks_after_what_is() -> None:
    changes = {"architecture": "BrandNewForCausalLM"}
    assert all(
        "BrandNewForCausalLM. What was read does not say." in _said(one, Verdict.UNKNOWN) for one in _ranked(**changes)
    )
    mistral = _ranked(architecture="MistralForCausalLM", quantisation="gptq")
    assert _names(mistral)[:2] == ["vllm", "sglang"]
    assert "Quantisation: GPTQ. What was read does not say." in _said(
        _one("lmdeploy", quantisation="gptq"), Verdict.UNKNOWN
    )


def test_an_architecture_that_nobody_named_is_a_question_and_no_objection() -> None:
    found = _one("vllm", architecture="")
    assert "does not name it" in _said(found, Verdict.UNKNOWN)
    assert not found.is_excluded


def test_engines_that_run_gguf_refuse_awq_and_take_16_bits_with_a_note() -> None:
    assert {"llama.cpp", "ollama"} <= set(_names(_ranked(quantisation="awq"), excluded=True))
    assert "must be converted first" in _said(_one("llama.cpp"), Verdict.WARNING)
    assert "converted" not in _said(_one("llama.cpp", quantisation="q4_k_m"), Verdict.WARNING)


def test_without_a_gpu_the_engines_of_the_processor_come_first() -> None:
    ranked = _ranked(hardware=Hardware(count=0), quantisation="q4_k_m")
    assert ranked[0].engine == "llama.cpp"
    assert ranked[0].estimate is None
    assert "not known" in _said(_one("vllm", hardware=Hardware(count=0)), Verdict.UNKNOWN)


def test_memory_that_cannot_be_reckoned_is_not_known() -> None:
    found = _one("vllm", parameters_b=None)
    assert "Memory: not known" in _said(found, Verdict.UNKNOWN)
    partly = _one("vllm", layers=None, kv_heads=None, head_dimension=None)
    assert "the KV cache is not in this sum" in _said(partly, Verdict.UNKNOWN)


def test_huge_weights_in_an_image_are_advised_against() -> None:
    big: dict[str, Any] = {
        "parameters_b": 70.6,
        "weights": "baked",
        "hardware": Hardware(gpu="H200", count=4, memory_gib=141),
    }
    assert "Weights of 141 GB" in _said(_one("vllm", **big), Verdict.WARNING)
    assert "Weights of" not in _said(_one("vllm", **{**big, "weights": "mounted"}), Verdict.WARNING)


def test_maintenance_mode_and_licences_are_said_with_their_source() -> None:
    tgi = _one("tgi")
    assert "maintenance mode" in _said(tgi, Verdict.WARNING)
    licence = next(finding for finding in tgi.findings if "Licence of the engine" in finding.sentence)
    assert licence.source is not None
    assert licence.source.version == "3.3.7"


def test_engines_of_which_equally_much_is_known_stay_in_the_tables_order() -> None:
    same = {"task": ["text"], "protocol": ["openai-text"], "architecture": ["LlamaForCausalLM"]}
    table = [_engine("b", **same), _engine("a", **same), _engine("known", **same, quantisation=["16 bits"])]
    assert [one.engine for one in recommend(make_requirement(), table)] == ["known", "b", "a"]


@given(
    task=st.sampled_from(Task.values),
    protocol=st.sampled_from(AskedProtocol.values),
    quantisation=st.sampled_from(["", "unheard-of", *KNOWN]),
    architecture=st.sampled_from(["", "LlamaForCausalLM", "FluxPipeline", "Unheard"]),
    count=st.integers(0, 8),
    memory_gib=st.none() | st.floats(1, 200),
    parameters_b=st.none() | st.floats(0.1, 700),
)
def test_every_engine_is_ranked_once_excluded_ones_last_and_each_says_why(
    *,
    task: str,
    protocol: str,
    quantisation: str,
    architecture: str,
    count: int,
    memory_gib: float | None,
    parameters_b: float | None,
) -> None:
    wanted = Requirement(
        task=task,
        protocol=protocol,
        quantisation=quantisation,
        architecture=architecture,
        parameters_b=parameters_b,
        hardware=Hardware(gpu="Some GPU", count=count, memory_gib=memory_gib),
    )
    ranked = recommend(wanted, support_table())
    assert sorted(one.engine for one in ranked) == sorted(engine.name for engine in support_table())
    excluded = [one.is_excluded for one in ranked]
    assert excluded == sorted(excluded)
    for one in ranked:
        assert one.is_excluded == bool(one.objections)
        assert len(one.findings) >= 5
        assert all(finding.sentence for finding in one.findings)
    kept = [one.unknowns for one in ranked if not one.is_excluded]
    assert kept == sorted(kept)


def test_the_step_is_open_done_and_out_of_date() -> None:
    now = timezone.now()
    assert step_state(Delivery()).state == "open"
    chosen = Delivery(tool="vllm", tool_by="ops1", tool_at=now, requirement_at=now - timedelta(hours=1))
    state = step_state(chosen)
    assert (state.state, state.sentence, state.who, state.when) == ("done", "vllm was chosen.", "ops1", now)
    chosen.tool_reason = "We know it."
    assert step_state(chosen).sentence == "vllm: We know it."
    chosen.requirement_at = now + timedelta(hours=1)
    assert step_state(chosen).state == "stale"
    assert "Choose again." in step_state(chosen).sentence
