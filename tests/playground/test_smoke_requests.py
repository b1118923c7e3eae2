"""Smoke requests: each is ok or a sentence with the server's own words."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from aiohttp import web

from playground.loadtests.smoke import TITLES, Smoke, run_smoke
from playground.loadtests.target import Target
from tests.fakes import upstream as scripts
from tests.fakes.upstream import Script, ScriptedUpstream

NAMES = ["models", "chat", "chat_stream", "vision", "images", "embeddings"]


async def smoke(script: Script, names: list[str], **options: Any) -> tuple[list[Smoke], ScriptedUpstream]:
    async with ScriptedUpstream(script) as upstream:
        target = Target(url=upstream.endpoint, model="served", config="tiny", engine="vllm", direct=True)
        return await asyncio.to_thread(run_smoke, target, names, **options), upstream


async def talk(upstream: ScriptedUpstream, request: web.Request) -> web.StreamResponse:
    if request.path == "/v1/models":
        return web.json_response({"object": "list", "data": [{"id": "served"}]})
    if request.path == "/v1/embeddings":
        return web.json_response({"data": [{"embedding": [0.1], "index": 0}]})
    if request.path == "/v1/images/generations":
        return web.json_response({"data": [{"b64_json": "aGk="}]})
    return await scripts.answer(upstream, request)


async def test_a_server_that_can_do_everything_is_ok() -> None:
    told: list[str] = []
    found, upstream = await smoke(talk, NAMES, on_result=lambda each: told.append(each.name))
    assert [(each.name, each.is_ok, each.sentence) for each in found] == [(name, True, "ok") for name in NAMES]
    assert told == NAMES
    assert all(each.ms > 0 for each in found)
    assert all(Smoke(**each.to_json()) == each for each in found)
    shown = next(seen for seen in upstream.seen if b"image_url" in seen.body).json["messages"][0]["content"][1]
    assert base64.b64decode(shown["image_url"]["url"].partition(",")[2]).startswith(b"\x89PNG")


async def test_refusals_are_told_in_the_servers_own_words() -> None:
    found, _upstream = await smoke(scripts.refuse, NAMES)
    assert {each.is_ok for each in found} == {False}
    words = {each.sentence for each in found}
    assert words == {"Refused with status 400: the prompt is too long for the context"}


@pytest.mark.parametrize(
    ("script", "name", "words"),
    [
        (scripts.telling({"data": []}), "models", "no list of models"),
        (scripts.telling({"data": []}), "embeddings", "ended without a word"),
        (scripts.end_without_done, "chat_stream", "broke off"),
        (scripts.die_before_headers, "vision", "broke off"),
        (scripts.think_until_left, "chat", "said nothing for 0.2 s"),
        (scripts.think_until_left, "vision", "said nothing for 0.2 s"),
    ],
)
async def test_whatever_goes_wrong_is_a_sentence(script: Script, name: str, words: str) -> None:
    found, _upstream = await smoke(script, [name], timeout_s=0.2 if "nothing" in words else 10.0)
    assert words in found[0].sentence


def test_a_server_that_is_not_there_is_a_sentence_and_everything_has_a_title() -> None:
    target = Target(url="http://127.0.0.1:9", model="m", config="m", engine="vllm", direct=True)
    found = run_smoke(target, ["models", "chat"])
    assert ["cannot be reached" in each.sentence for each in found] == [True, True]
    assert all(str(title) for title in TITLES.values())
