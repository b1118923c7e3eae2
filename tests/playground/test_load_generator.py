"""What the load generator measures, against servers whose times are known, which die, refuse or break off."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from playground.loadtests.figures import Level, percentile
from playground.loadtests.ramp import Ramp
from playground.loadtests.settings import LoadSettings
from playground.loadtests.target import RenewedToken, Target
from playground.loadtests.thread import LoadRun
from playground.loadtests.words import error_words
from tests.fakes import upstream as scripts
from tests.fakes.paced_server import Pace, PacedServer, Told
from tests.fakes.upstream import Script, ScriptedUpstream

SMALL: dict[str, Any] = {"warm_up": 0, "requests": 4, "concurrency": (2,), "level_s": 10, "total_s": 20}


def target(url: str, **changes: Any) -> Target:
    fields: dict[str, Any] = {"model": "served", "config": "tiny", "engine": "vllm", "direct": True}
    return Target(**{"url": url, **fields, **changes})


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(script) as upstream:
        yield upstream


async def ramp(script: Script, *, url: str = "", **changes: Any) -> Ramp:
    """All levels against a scripted server."""
    async with serving(script) as upstream:
        run = Ramp(target(url or upstream.endpoint), LoadSettings(**{**SMALL, **changes}))
        await run.run()
    return run


def paced(pace: Pace, settings: LoadSettings) -> tuple[list[Level], list[Told]]:
    """The levels, and what the server really did. On a busy machine the calmest of three, as the generator says."""
    tries: list[tuple[float, list[Level], list[Told]]] = []
    while len(tries) < 3 and (not tries or min(tries, key=lambda each: each[0])[0] > 2):
        with PacedServer(pace=pace) as server, LoadRun(target(server.url), settings) as run:
            assert run.wait(20)
            late_ms = max(level["late_ms"] or 0.0 for level in run.levels)
            tries.append((late_ms, run.levels, server.told))
    return min(tries, key=lambda each: each[0])[1:]


def test_percentiles_agree_with_a_server_that_knows_its_times_within_five_percent() -> None:
    pace = Pace(first_s=lambda number: 0.4 + 0.02 * (number * 7 % 20), token_s=0.03, tokens=10)
    settings = LoadSettings(concurrency=(20, 40), requests=20, warm_up=0, prompt_tokens=20)
    levels, told = paced(pace, settings)
    for level, answers in zip(levels, (told[:20], told[20:]), strict=True):
        assert level["done"] == len(answers)
        firsts = sorted(1000 * (each.first_at - each.asked_at) for each in answers)
        totals = sorted(1000 * (each.last_at - each.asked_at) for each in answers)
        tokens = sorted(1000 * (each.last_at - each.first_at) / 9 for each in answers)
        for known, spread in ((firsts, "first_token_ms"), (totals, "total_ms"), (tokens, "per_token_ms")):
            measured = level[spread]  # type: ignore[literal-required]
            for name, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
                assert measured[name] == pytest.approx(percentile(known, percent), rel=0.05), (spread, name)
        assert level["output_tokens"] == 10
        assert level["prompt_tokens"] == 64
        assert level["estimated"] is False


async def test_the_prompt_is_as_long_as_it_should_be_once_the_server_told_what_it_counts() -> None:
    def counting(words: int) -> int:
        return words + 31

    async def count(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        words = len(upstream.seen[-1].json["messages"][0]["content"].split())
        whole = {**scripts.WHOLE, "usage": {"prompt_tokens": counting(words), "completion_tokens": 3}}
        return web.json_response(whole)

    run = await ramp(count, stream=False, warm_up=1, prompt_tokens=200, context_length=500, output_tokens=3)
    assert run.levels[0]["prompt_tokens"] == 200
    assert run.context is not None
    assert run.context.tokens == 500


async def test_a_whole_answer_has_no_first_token() -> None:
    run = await ramp(scripts.answer, stream=False)
    level = run.levels[0]
    assert level["done"] == 4
    assert level["first_token_ms"] is None
    assert level["per_token_ms"] is None
    assert level["total_ms"] is not None
    assert level["output_tokens"] == 3


async def test_pieces_stand_for_tokens_that_nobody_counted() -> None:
    stream = [scripts.frame("He"), scripts.frame("llo"), scripts.frame("!"), b"data: [DONE]\n\n"]
    run = await ramp(scripts.saying(*stream))
    assert run.levels[0]["estimated"] is True
    assert run.levels[0]["output_tokens"] == 3
    assert run.levels[0]["per_token_ms"] is not None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (scripts.refuse, "Refused with status 400: the prompt is too long for the context"),
        (scripts.end_without_done, "The answer broke off before its end."),
        (scripts.saying(scripts.STREAM[1], b'data: {"error":{"message":"out of blocks"}}\n\n'), "out of blocks"),
        (scripts.saying(b"data: [DONE]\n\n"), "The model ended without a word."),
        (scripts.telling({"oops": 1}), "The model ended without a word."),
        (scripts.saying(b"<html>", content_type="application/json"), "not JSON: <html>"),
        (scripts.die_within_whole, "broke off before its end (the connection ended"),
        (scripts.die_before_headers, "broke off before its end (the connection ended"),
    ],
)
async def test_each_kind_of_error_is_told_once_with_its_number(script: Script, words: str) -> None:
    run = await ramp(script)
    level = run.levels[0]
    assert level["done"] == 0
    assert level["failed"] == 4
    assert [error["count"] for error in level["errors"]] == [4]
    assert words in error_words(level["errors"][0])
    assert level["total_ms"] is None


async def test_a_server_that_dies_ends_the_level_with_what_came() -> None:
    served = 0

    async def die_after_ten(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        nonlocal served
        served += 1
        if served > 10:
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(upstream.stop()))
            return await scripts.die_before_headers(upstream, request)
        return await scripts.answer(upstream, request)

    run = await ramp(die_after_ten, requests=500, concurrency=(2, 4, 8))
    assert len(run.levels) == 1
    level = run.levels[0]
    assert level["ended"] == "gone"
    assert level["done"] == 10
    assert level["requests"] < 30
    assert {error["code"] for error in level["errors"]} <= {"broke_off", "unreachable"}


async def test_a_server_that_refuses_everything_is_not_asked_five_hundred_times() -> None:
    run = await ramp(scripts.refuse, requests=500, concurrency=(8, 16))
    assert [level["ended"] for level in run.levels] == ["refusing"]
    assert run.levels[0]["requests"] < 50


async def test_nothing_is_measured_where_no_warm_up_request_is_answered() -> None:
    run = await ramp(scripts.answer, url="http://127.0.0.1:9", warm_up=2)
    assert run.levels == []
    assert run.failure is not None
    assert "cannot be reached" in error_words(run.failure)


async def test_requests_under_way_when_the_time_is_over_count_with_their_age() -> None:
    run = await ramp(scripts.think_until_left, stream=False, level_s=1, concurrency=(2, 4))
    assert len(run.levels) == 1, "a level that brought nothing is the last one"
    level = run.levels[0]
    assert level["ended"] == "time"
    assert level["unfinished"] == 2
    assert level["total_ms"] is not None
    assert level["total_ms"]["p50"] >= 1000


async def test_levels_for_which_no_time_is_left_are_not_begun() -> None:
    async def slow(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return await scripts.answer(upstream, request)

    run = await ramp(slow, concurrency=(1, 2, 3), requests=5, total_s=1, level_s=1)
    assert len(run.levels) < 3
    assert run.is_cut or run.levels[-1]["ended"] == "time"


def test_a_cancel_ends_every_stream_at_once_and_keeps_the_level() -> None:
    pace = Pace(first_s=lambda _number: 0.01, token_s=1.0, tokens=100)
    settings = LoadSettings(concurrency=(8, 16), requests=8, warm_up=0)
    with PacedServer(pace=pace) as server, LoadRun(target(server.url), settings) as run:
        ends_at = time.monotonic() + 10
        while len(server.told) < 8:
            assert time.monotonic() < ends_at
            time.sleep(0.01)
        assert run.current is not None
        began = time.monotonic()
        run.cancel()
        assert run.wait(5)
        assert time.monotonic() - began < 0.5
    assert [level["ended"] for level in run.levels] == ["cancelled"]
    assert run.levels[0]["unfinished"] == 8


async def test_ollama_and_tgi_streams_are_counted_by_their_servers() -> None:
    ollama = [
        b'{"message":{"content":"He"},"done":false}\n',
        b'{"message":{"content":"llo"},"done":false}\n',
        b'{"message":{"content":""},"done":true,"prompt_eval_count":9,"eval_count":2}\n',
    ]
    run = await ramp(scripts.saying(*ollama, content_type="application/x-ndjson"), kind="ollama")
    assert (run.levels[0]["done"], run.levels[0]["prompt_tokens"], run.levels[0]["output_tokens"]) == (4, 9, 2)
    tgi = [
        b'data:{"index":1,"token":{"id":1,"text":"He"},"generated_text":null,"details":null}\n\n',
        (
            b'data:{"index":2,"token":{"id":2,"text":"llo"},"generated_text":"Hello","details":'
            b'{"finish_reason":"length","generated_tokens":2,"input_length":7}}\n\n'
        ),
    ]
    run = await ramp(scripts.saying(*tgi), kind="tgi")
    assert (run.levels[0]["done"], run.levels[0]["prompt_tokens"], run.levels[0]["output_tokens"]) == (4, 7, 2)


async def test_images_and_embeddings_are_timed_whole_and_make_no_tokens() -> None:
    image = {"created": 1, "data": [{"b64_json": "aGk="}]}
    run = await ramp(scripts.telling(image), kind="images")
    assert (run.levels[0]["done"], run.levels[0]["tokens_per_s"], run.levels[0]["first_token_ms"]) == (4, None, None)
    vectors = {"data": [{"embedding": [0.1], "index": 0}], "usage": {"prompt_tokens": 20, "total_tokens": 20}}
    run = await ramp(scripts.telling(vectors), kind="embeddings")
    assert (run.levels[0]["prompt_tokens"], run.levels[0]["tokens_per_s"]) == (20, None)


async def test_what_is_sent_is_as_long_as_wanted_and_differs_from_request_to_request() -> None:
    async with serving(scripts.answer) as upstream:
        settings = LoadSettings(**{**SMALL, "prompt_tokens": 50, "output_tokens": 9})
        await Ramp(target(upstream.endpoint, token=lambda: "secret"), settings).run()
    bodies = [seen.json for seen in upstream.seen]
    texts = [body["messages"][0]["content"] for body in bodies]
    assert len(set(texts)) == 4
    assert {len(text.split()) for text in texts} == {50}
    assert bodies[0]["max_tokens"] == 9
    assert bodies[0]["ignore_eos"] is True
    assert bodies[0]["stream_options"] == {"include_usage": True}
    assert upstream.seen[0].headers["authorization"] == "Bearer secret"
    assert upstream.seen[0].path == "/v1/chat/completions"


async def test_an_engine_that_nobody_knows_is_sent_nothing_beyond_the_reference() -> None:
    async with serving(scripts.answer) as upstream:
        await Ramp(target(upstream.endpoint, engine="custom"), LoadSettings(**SMALL)).run()
    assert "ignore_eos" not in json.loads(upstream.seen[0].body)


def test_paths_are_the_gateways_or_the_servers_own() -> None:
    from playground.loadtests.asking import KINDS

    through = target("http://here", direct=False)
    assert through.path(KINDS["tgi"], stream=True) == "/tgi/tiny/generate_stream"
    assert target("http://there").path(KINDS["tgi"], stream=False) == "/generate"
    assert through.path(KINDS["chat"], stream=True) == "/v1/chat/completions"


def test_a_token_is_made_again_before_it_ends() -> None:
    now = 0.0
    made: list[float] = []

    def make() -> str:
        made.append(now)
        return str(now)

    token = RenewedToken(make, clock=lambda: now)
    assert (token(), token(), len(made)) == ("0.0", "0.0", 1)
    now = 21.0
    assert token() == "21.0"
