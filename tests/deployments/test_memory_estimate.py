"""The memory estimate: its figures, its arithmetic, and what it warns of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments.catalogue.checking import check_catalogue
from deployments.catalogue.reading import BUILT_IN, read_catalogue
from deployments.kv_cache import KvCacheType, kv_cache_type
from deployments.lifecycle.phases import Phase
from deployments.memory_estimate import MemoryEstimate, estimate_memory
from deployments.memory_observed import observed_runs, observed_sentence
from deployments.models import Attempt, CatalogueModel, Config
from tests.deployments.editing import make_config, make_run

GIB = 1024**3
GEMMA = {"layers": 46, "kv_heads": 16, "head_dimension": 128}
LLAMA_8B = {"layers": 32, "kv_heads": 8, "head_dimension": 128}


def config(shape: dict[str, int] | None = None, **changes: Any) -> Config:
    """An unsaved config of Llama 3 8B in bf16 on one GPU, with some fields changed."""
    base = {"engine": "vllm", "protocol": "openai-text", "gpus": 1, "weights_gb": 16.1, "context_tokens": 8192}
    return Config(
        **{**base, "memory_gib": 0, "model": CatalogueModel(**(LLAMA_8B if shape is None else shape)), **changes}
    )


def estimated(shape: dict[str, int] | None = None, *, sizes: tuple[int, ...] = (), **changes: Any) -> MemoryEstimate:
    found = estimate_memory(config(shape, **changes), gpu_memory_bytes=sizes)
    assert found is not None
    return found


def built_in() -> dict[str, Config]:
    """The configs that Berth ships, unsaved, each with its model."""
    catalogue = check_catalogue(read_catalogue([BUILT_IN]), known_models=())
    found = {}
    for name, values in catalogue.configs.items():
        made = Config(name=name)
        values.write_to(made, CatalogueModel(name=values.model, **catalogue.models[values.model]))
        found[name] = made
    return found


def kv_gib(estimate: MemoryEstimate) -> float:
    return next(line.total_gib for line in estimate.lines if line.key == "kv_cache")


# Figures


@pytest.mark.parametrize(
    ("name", "total", "per_gpu"),
    [
        ("llama3-8b", 18.5, 18.5),
        ("qwen1.5-110b_1", 69.7, 69.7),
        ("gemma2-27b_4", 63.6, 15.9),
        ("llama3.1-405b_8", 417.6, 52.2),
    ],
)
def test_the_published_figures_come_out(name: str, total: float, per_gpu: float) -> None:
    estimate = estimate_memory(built_in()[name])
    assert estimate is not None
    assert estimate.total_gib == pytest.approx(total, abs=0.3)
    assert estimate.per_gpu_gib == pytest.approx(per_gpu, abs=0.1)


def test_every_config_that_berth_ships_fits_into_what_it_states() -> None:
    for name, shipped in built_in().items():
        estimate = estimate_memory(shipped)
        if estimate is None:
            assert shipped.gpus == 0, name
        elif shipped.protocol != "openai-image":
            assert estimate.complete, name
            assert estimate.warnings == (), name
            assert estimate.total_gib == pytest.approx(shipped.memory_gib, abs=1.1), name


def test_every_model_that_berth_ships_tells_its_shape_unless_it_draws() -> None:
    models = check_catalogue(read_catalogue([BUILT_IN]), known_models=()).models
    without = [name for name, values in models.items() if not (values.get("layers") and values.get("kv_heads"))]
    assert without == ["FLUX.1-dev"]


def test_a_config_without_gpus_needs_no_estimate() -> None:
    assert estimate_memory(config(gpus=0)) is None


def test_the_arithmetic_is_there_to_be_read() -> None:
    weights, cache, overhead = estimated(gpus=2).lines
    assert (weights.arithmetic, round(weights.total_gib, 2)) == ("16.1 × 10⁹ B", 14.99)
    assert (cache.arithmetic, cache.total_gib) == ("2 × 32 × 8 × 128 × 2 B × 8192 × 1", 1.0)
    assert (overhead.arithmetic, overhead.total_gib, overhead.per_gpu_gib) == ("2 × 2.5 GiB", 5.0, 2.5)
    assert overhead.terms[0].source == "assumed"
    assert [(term.value, term.source) for term in cache.terms] == [
        (32, "model"),
        (8, "model"),
        (128, "model"),
        (4, "16 bits, the default"),
        (8192, "config"),
        (1, "config"),
    ]


def test_more_requests_at_full_context_need_more_cache() -> None:
    assert kv_gib(estimated(concurrent_requests=16)) == 16.0


def test_without_a_context_of_its_own_the_models_counts() -> None:
    cache = estimated({**LLAMA_8B, "native_context_tokens": 4096}, context_tokens=None).lines[1]
    assert (cache.total_gib, cache.terms[4].source) == (0.5, "model")


def test_heads_are_divided_over_gpus_and_no_further() -> None:
    two, sixteen = estimated(gpus=2), estimated(gpus=16)
    assert [line.per_gpu_gib for line in (two.lines[1], sixteen.lines[1])] == [0.5, 0.125]
    assert kv_gib(sixteen) == 2.0, "each head is kept twice"


def test_a_model_split_by_layers_divides_its_cache_over_all_gpus() -> None:
    assert estimated(gpus=16, engine="llama.cpp").lines[1].per_gpu_gib == 1 / 16


def test_a_model_that_draws_needs_what_its_config_states() -> None:
    estimate = estimated({}, protocol="openai-image", engine="localai", memory_gib=26, weights_gb=33.7)
    assert (estimate.total_gib, estimate.complete, [line.key for line in estimate.lines]) == (26, True, ["stated"])
    assert "The weights alone are 31.4 GiB" in estimate.warnings[0]
    assert estimated({}, protocol="openai-image", memory_gib=40, weights_gb=33.7).warnings == ()


# The type of the KV cache


@pytest.mark.parametrize(
    ("engine", "arguments", "environment", "key", "value"),
    [
        ("vllm", [], {}, 2, 2),
        ("vllm", ["--kv-cache-dtype", "fp8"], {}, 1, 1),
        ("vllm", ["--kv-cache-dtype=fp8_e5m2"], {}, 1, 1),
        ("vllm", ["--kv-cache-dtype", "auto"], {}, 2, 2),
        ("sglang", ["--kv-cache-dtype", "fp8_e4m3"], {}, 1, 1),
        ("sglang", ["--kv-cache-dtype", "fp4_e2m1"], {}, 0.5, 0.5),
        ("tgi", ["--kv-cache-dtype", "fp8_e4m3fn"], {}, 1, 1),
        ("lmdeploy", ["--quant-policy", "8"], {}, 1, 1),
        ("lmdeploy", ["--quant-policy", "4"], {}, 0.5, 0.5),
        ("lmdeploy", ["--quant-policy", "0"], {}, 2, 2),
        ("llama.cpp", ["-ctk", "q8_0"], {}, 34 / 32, 2),
        ("llama.cpp", ["--cache-type-k", "q8_0", "-ctv", "q4_0"], {}, 34 / 32, 18 / 32),
        ("ollama", [], {"OLLAMA_KV_CACHE_TYPE": "q8_0"}, 34 / 32, 34 / 32),
    ],
)
def test_the_width_of_the_cache_is_read_from_the_engines_own_options(
    engine: str, arguments: list[str], environment: dict[str, str], key: float, value: float
) -> None:
    found = kv_cache_type(engine, arguments, environment)
    assert (found.key_bytes, found.value_bytes, found.known) == (key, value, True)


def test_a_cache_of_8_bits_is_half_as_large_and_says_which_option_made_it_so() -> None:
    estimate = estimated(arguments=["m", "--kv-cache-dtype", "fp8"])
    assert kv_gib(estimate) == 0.5
    assert estimate.lines[1].terms[3].source == "--kv-cache-dtype fp8"
    mixed = estimated(engine="llama.cpp", arguments=["-ctk", "q8_0"])
    assert mixed.lines[1].arithmetic.startswith("32 × 8 × 128 × (1.0625 + 2) B")


def test_an_option_that_is_not_understood_is_told_and_16_bits_are_assumed() -> None:
    assert kv_cache_type("vllm", ["--kv-cache-dtype", "int3"], {}) == KvCacheType(
        source="--kv-cache-dtype int3", known=False
    )
    assert "int3” is not understood" in estimated(arguments=["--kv-cache-dtype", "int3"]).warnings[0]


# Warnings and notes


def test_what_is_not_known_is_left_out_and_told() -> None:
    estimate = estimated({}, weights_gb=None)
    assert [line.key for line in estimate.lines] == ["overhead"]
    assert not estimate.complete
    assert len(estimate.warnings) == 2


@pytest.mark.parametrize(
    ("gpus", "words"), [(3, "cannot be divided over 3 GPUs"), (16, "more than one of the 16 GPUs")]
)
def test_heads_that_do_not_divide_are_told(gpus: int, words: str) -> None:
    assert words in " ".join(estimated(gpus=gpus).warnings)


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_heads_that_divide_are_not_spoken_of(gpus: int) -> None:
    assert estimated(gpus=gpus).warnings == ()


def test_an_estimate_above_what_the_config_states_is_told() -> None:
    assert "exceeds the 16 GiB" in estimated(memory_gib=16).warnings[0]
    assert estimated(memory_gib=18.4).warnings == (), "rounding"


def test_a_share_of_all_memory_is_told_in_gib_of_the_gpus_that_there_are() -> None:
    note = estimated(sizes=(150754820096,), arguments=["--gpu-memory-utilization", "0.90"]).notes[0]
    assert note == "--gpu-memory-utilization is a share of all memory: it claims 126.4 of the 140.4 GiB of each GPU."
    assert "claims 92 % of all memory" in estimated().notes[0]
    assert "80 % of what is free after the weights" in estimated(engine="lmdeploy").notes[0]
    assert estimated(engine="sglang").notes == (), "it works its share out by itself"


def test_a_share_that_is_too_small_is_told() -> None:
    estimate = estimated(sizes=(24 * GIB,), arguments=["--gpu-memory-utilization=0.7"])
    assert "On a GPU of 24.0 GiB the share" in estimate.warnings[0]


# Observed


def observe(of: Config, *peaks_gib: float | None, load_s: float = 90) -> None:
    for peak in peaks_gib:
        began = timezone.now()
        Attempt.objects.create(
            deployment=make_run(of, Phase.STOPPED),
            number=1,
            started_at=began,
            ready_at=began + timedelta(seconds=load_s),
            peak_memory_bytes=None if peak is None else int(peak * GIB),
        )


@pytest.mark.django_db
def test_earlier_runs_check_the_estimate(django_assert_num_queries: Any) -> None:
    made = make_config(weights_gb=16.1)
    observe(made, 61.2, 61.2, 61.2, None)
    with django_assert_num_queries(1):
        runs = observed_runs(made)
    assert [(run.load_s, run.peak_gib is None) for run in runs] == [(90, True), (90, False), (90, False), (90, False)]
    estimate = estimated()
    assert observed_sentence(runs, estimate) == "Observed 61.2 GiB in 3 runs; the estimate says 18.5 GiB."
    observe(made, 58)
    assert observed_sentence(observed_runs(made), estimate).startswith("Observed 58.0 to 61.2 GiB in 4 runs;")


@pytest.mark.django_db
def test_runs_of_another_revision_or_that_never_answered_say_nothing() -> None:
    made = make_config()
    observe(made, 61.2)
    Attempt.objects.update(ready_at=None)
    assert observed_runs(made) == []
    observe(made, 61.2)
    Config.objects.update(revision=7)
    made.refresh_from_db()
    assert observed_runs(made) == []
    assert observed_sentence([], estimated()) == ""
