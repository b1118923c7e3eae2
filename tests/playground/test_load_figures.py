"""The arithmetic of load tests: percentiles, levels, errors, prompts, settings, verdicts, GPUs. No network."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.exceptions import InvalidInputError
from playground.loadtests.asking import KINDS, kinds_for
from playground.loadtests.figures import Level, Span, error_kinds, error_share, level_figures, percentile, spread
from playground.loadtests.gpu_figures import figures_of
from playground.loadtests.meters import StreamMeter
from playground.loadtests.outcomes import LoadError, Outcome
from playground.loadtests.prompts import WORDS, prompt, words_for
from playground.loadtests.settings import LoadSettings, read_concurrency
from playground.loadtests.smoke import smoke_names
from playground.loadtests.verdicts import TARGETS, Verdict, verdicts
from playground.loadtests.wires import OPENAI
from playground.loadtests.words import judged_words
from tests.fakes.upstream import STREAM_WITH_USAGE


def done(sent: float, first: float, ended: float, *, tokens: int = 11, prompt_tokens: int | None = 20) -> Outcome:
    return Outcome(
        sent_at=sent,
        first_at=first,
        last_at=ended,
        ended_at=ended,
        output_tokens=tokens,
        prompt_tokens=prompt_tokens,
        pieces=tokens,
    )


def figures(*outcomes: Outcome, began: float = 0.0, ended: float = 10.0) -> Level:
    return level_figures(outcomes, Span(began=began, ended=ended), concurrency=2, makes_tokens=True)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=200))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (50, 95, 99):
        assert percentile(sorted(values), percent) == pytest.approx(cuts[percent - 1], rel=1e-9, abs=1e-9)


def test_a_spread_of_nothing_is_none_and_of_one_is_that_one() -> None:
    assert spread([]) is None
    assert spread([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0, "n": 1}


def test_a_level_counts_rates_over_its_own_time() -> None:
    level = figures(done(0, 1, 6), done(0, 2, 7), done(5, 6, 10))
    assert level["requests_per_s"] == 0.3
    assert level["tokens_per_s"] == 3.3
    assert level["first_token_ms"] == {"p50": 1000, "p95": 1900, "p99": 1980, "n": 3}
    assert level["per_token_ms"] is not None
    assert level["per_token_ms"]["p50"] == 500
    assert level["stream_tokens_per_s"] is not None
    assert level["stream_tokens_per_s"]["p50"] == 2
    assert (level["prompt_tokens"], level["output_tokens"], level["most_tokens"]) == (20, 11, 31)
    assert level["estimated"] is False


def test_failed_requests_give_no_times_and_open_ones_give_their_age() -> None:
    failed = Outcome(sent_at=0, first_at=0.1, ended_at=0.2, error=LoadError("refused", "no", 503))
    level = figures(done(0, 1, 2), failed, Outcome(sent_at=4), Outcome(sent_at=3, first_at=5, last_at=6, pieces=4))
    assert (level["done"], level["failed"], level["unfinished"], level["requests"]) == (1, 1, 2, 4)
    assert level["total_ms"] is not None
    assert level["total_ms"]["n"] == 3
    assert level["total_ms"]["p99"] == pytest.approx(6980)
    assert level["first_token_ms"] is not None
    assert level["first_token_ms"]["p99"] > 5800
    assert error_share(level) == 0.5


def test_a_level_in_which_nothing_came_has_no_figures_but_its_errors() -> None:
    level = figures(Outcome(sent_at=0, ended_at=1, error=LoadError("silent", "5")))
    assert (level["total_ms"], level["tokens_per_s"], level["prompt_tokens"], level["most_tokens"]) == (None,) * 4
    assert error_share(level) == 1
    assert figures()["errors"] == []


def test_errors_that_differ_in_numbers_only_are_one_kind() -> None:
    errors = [LoadError("refused", f"request {number} has 0x{number:x}ff", 500) for number in range(30)]
    errors += [LoadError("refused", "request 1 has 0x1ff", 429)]
    assert [(kind["status"], kind["count"]) for kind in error_kinds(errors)] == [(500, 30), (429, 1)]
    many = error_kinds(LoadError("failed", "x" * number) for number in range(50))
    assert len(many) == 21
    assert (many[0]["code"], many[0]["count"]) == ("other", 30)


def test_pieces_are_counted_however_the_bytes_are_cut() -> None:
    stream = b"".join(STREAM_WITH_USAGE)
    for size in (1, 2, 3, 7, 50, len(stream)):
        outcome = Outcome(sent_at=0)
        meter = StreamMeter(OPENAI, outcome)
        for place in range(0, len(stream), size):
            meter.feed(stream[place : place + size], now=float(place + 1))
        meter.end(999.0)
        assert outcome.error is None
        assert (outcome.prompt_tokens, outcome.output_tokens) == (7, 3)
        assert outcome.pieces == 2


def test_prompts_are_the_same_again_and_none_begins_like_another() -> None:
    assert prompt(7, words=40) == prompt(7, words=40)
    assert len(prompt(7, words=40).split()) == 40
    assert len(prompt(7, words=400).split()) == 400
    assert prompt(7, words=400, seed=1).split()[:4] != prompt(7, words=400, seed=2).split()[:4]
    begins = {" ".join(prompt(number, words=40).split()[:4]) for number in range(1000)}
    assert len(begins) > 990
    assert len(WORDS) == len(set(WORDS))


@pytest.mark.parametrize(
    ("words", "counted", "wanted"), [(100, 131, 69), (100, None, 100), (100, 90, 110), (10, 500, 1)]
)
def test_the_first_answer_tells_how_many_words_make_the_tokens(words: int, counted: int | None, wanted: int) -> None:
    assert words_for(100, words=words, counted=counted) == wanted if words == 100 else 1


@pytest.mark.parametrize(
    "changes",
    [
        {"concurrency": ()},
        {"concurrency": (2, 2)},
        {"concurrency": (4, 2)},
        {"concurrency": (0, 1)},
        {"concurrency": (1, 1000)},
        {"concurrency": tuple(range(1, 20))},
        {"requests": 0},
        {"requests": 100_000},
        {"prompt_tokens": 0},
        {"output_tokens": 10**9},
        {"warm_up": -1},
        {"level_s": 0},
        {"total_s": 10**6},
        {"context_length": -1},
    ],
)
def test_what_is_out_of_bounds_is_a_sentence(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        LoadSettings(**changes)


def test_settings_come_back_as_they_were_kept() -> None:
    settings = LoadSettings(kind="tgi", concurrency=(1, 3), requests=2, context_length=4096)
    assert LoadSettings.from_json({**settings.to_json(), "of_a_newer_version": 1}) == settings
    assert [settings.requests_at(users) for users in (1, 3)] == [2, 3]
    assert settings.total_requests == 5


def test_users_are_read_with_commas_of_both_languages() -> None:
    assert read_concurrency(" 1, 2，16") == (1, 2, 16)
    for text in ("", "1,,2", "one", "-1", "1;2", "1e3"):
        with pytest.raises(InvalidInputError):
            read_concurrency(text)


def level(users: int, **changes: Any) -> Level:
    first = {"p50": 50.0, "p95": 100.0 * users, "p99": 200.0, "n": 10}
    fields: dict[str, Any] = {
        "concurrency": users,
        "done": 10,
        "failed": 0,
        "unfinished": 0,
        "requests_per_s": float(users),
        "tokens_per_s": 100.0 * users,
        "first_token_ms": first,
        "most_tokens": 300,
    }
    return Level(**{**fields, **changes})  # type: ignore[typeddict-item]


def judged(targets: dict[str, Any], *levels: Level, **options: Any) -> dict[str, tuple[float | None, bool | None]]:
    found = verdicts(targets, levels, **options)
    assert all(isinstance(each, Verdict) for each in found)
    return {each.target: (each.measured, each.passed) for each in found}


def test_each_target_is_judged_by_the_level_that_tells() -> None:
    wanted = {
        "requests_per_s": 4,
        "concurrent_users": 4,
        "first_token_ms": 400,
        "tokens_per_s": 401,
        "context_length": 300,
    }
    assert judged(wanted, level(1), level(2), level(4)) == {
        "requests_per_s": (4.0, True),
        "concurrent_users": (4, True),
        "first_token_ms": (400.0, True),
        "tokens_per_s": (400.0, False),
        "context_length": (300, True),
    }


def test_users_who_wait_too_long_for_the_first_token_are_not_served() -> None:
    both = judged({"concurrent_users": 4, "first_token_ms": 200}, level(1), level(2), level(4))
    assert both == {"concurrent_users": (2, False), "first_token_ms": (400.0, False)}
    assert judged({"first_token_ms": 100}, level(1), level(2)) == {"first_token_ms": (100.0, True)}


def test_a_wanted_number_of_users_that_no_level_reached_fails() -> None:
    found = judged({"concurrent_users": 8, "first_token_ms": 900}, level(1), level(4))
    assert found == {"concurrent_users": (4, False), "first_token_ms": (400.0, False)}


def test_levels_with_errors_or_cut_off_requests_do_not_count() -> None:
    bad = (level(8, failed=1), level(16, unfinished=1), level(32, done=0))
    assert judged({"requests_per_s": 2}, level(1), *bad) == {"requests_per_s": (1.0, False)}
    nothing = judged(dict.fromkeys(TARGETS, 1), *bad)
    assert set(nothing.values()) == {(None, None)}


def test_a_level_with_one_error_in_a_hundred_counts() -> None:
    assert judged({"requests_per_s": 8}, level(8, done=99, failed=1)) == {"requests_per_s": (8.0, True)}


def test_whole_answers_leave_the_first_token_untold() -> None:
    whole = level(4, first_token_ms=None)
    found = judged({"first_token_ms": 100, "concurrent_users": 4}, whole)
    assert found == {"first_token_ms": (None, None), "concurrent_users": (4, True)}


def test_the_context_is_the_longest_that_was_answered() -> None:
    assert judged({"context_length": 8192}, level(1)) == {"context_length": (300, False)}
    assert judged({"context_length": 8192}, level(1), context_tokens=8100) == {"context_length": (8100, True)}


def test_targets_that_are_not_set_are_not_judged() -> None:
    assert verdicts({"requests_per_s": None, "tokens_per_s": 0, "colour": 5, "concurrent_users": True}, []) == []


def history(memory: list[float | None], power: list[float | None]) -> dict[str, Any]:
    fields = {"memory_used_bytes": memory, "power_watts": power, "utilization_gpu_percent": [50.0] * len(memory)}
    at = [100.0 + second for second in range(len(memory))]
    return {"step_s": 1, "at": at, "fields": {name: {"mean": values} for name, values in fields.items()}}


def test_memory_and_power_are_those_of_all_gpus_at_one_moment() -> None:
    two = [history([10, 40, 10], [100, 200, 300]), history([30, 5, None], [100, 100, 100])]
    assert figures_of(two, began=100, ended=102) == {
        "reason": "",
        "gpus": 2,
        "memory_peak_bytes": 45,
        "power_mean_watts": 300.0,
        "power_peak_watts": 400,
        "utilization_mean_percent": 50.0,
    }


def test_a_level_between_two_samples_has_a_reason_instead() -> None:
    assert figures_of([history([1], [1])], began=500, ended=500.2) == {"reason": "no_sample", "gpus": 1}


@pytest.mark.parametrize(
    ("protocol", "engine", "kinds"),
    [
        ("openai-text", "vllm", ["chat", "embeddings"]),
        ("openai-text", "tgi", ["chat", "tgi"]),
        ("ollama-text", "ollama", ["ollama", "chat", "embeddings"]),
        ("openai-image", "comfyui", ["images"]),
    ],
)
def test_a_config_is_asked_as_it_speaks_first(protocol: str, engine: str, kinds: list[str]) -> None:
    assert kinds_for(protocol, engine) == kinds
    assert set(kinds) <= set(KINDS)


def test_smoke_requests_follow_the_protocol_and_what_the_model_can() -> None:
    assert smoke_names("openai-text", "vllm", vision=True) == ["models", "chat", "chat_stream", "vision"]
    assert smoke_names("openai-text", "vllm", embedding=True) == ["models", "embeddings"]
    assert smoke_names("openai-image", "localai") == ["models", "images"]
    assert smoke_names("ollama-text", "ollama") == ["chat", "chat_stream", "ollama", "ollama_stream"]
    assert smoke_names("openai-text", "tgi")[-2:] == ["tgi", "tgi_stream"]


@pytest.mark.parametrize(
    ("measured", "wanted", "said"),
    [
        (12.0, 100.0, ("12", "100")),
        (13_732.71, 20_000.0, ("13,733", "20,000")),
        (0.096, 0.1, ("0.096", "0.1")),
        (99.96, 100.0, ("99.96", "100")),
        (0.0, 0.05, ("0", "0.05")),
        (100.0, 100.0, ("100", "100")),
    ],
)
def test_what_was_measured_never_reads_as_what_was_wanted_unless_it_is(
    measured: float, wanted: float, said: tuple[str, str]
) -> None:
    assert judged_words(measured, wanted) == said
