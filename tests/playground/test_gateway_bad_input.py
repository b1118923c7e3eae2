"""What a client does wrong: the right status and the protocol's own error, whichever way a model is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from deployments.actors import Actor
from playground.gateway import body
from playground.key_rules import NO_RULES, KeyRules
from playground.services.keys import create_key
from tests.fakes import upstream as scripts
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import ScriptedUpstream
from tests.playground.error_shapes import WAYS, words_of

pytestmark = pytest.mark.django_db(transaction=True)

TALK = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


@dataclass(frozen=True)
class Wrong:
    """One mistake. ``rules`` are those of the key, ``path`` changes the address for one that names the config."""

    status: int
    words: str
    send: dict[str, Any] = field(default_factory=lambda: {"json": TALK})
    rules: KeyRules = NO_RULES
    key: str = ""
    path: Callable[[str], str] = str


MISTAKES = {
    "malformed JSON": Wrong(400, "not valid JSON", {"data": b'{"model": "tiny", "messages": ['}),
    "no object": Wrong(400, "must be a JSON object", {"data": b"[1]"}),
    "unknown model": Wrong(
        404, "called none", {"json": {**TALK, "model": "none"}}, path=lambda path: path.replace("tiny", "none")
    ),
    "a name that no UTF-8 has": Wrong(
        404,
        "is called ",
        {"json": {**TALK, "model": "\ud800"}},
        path=lambda path: path.replace("tiny", "%ED%A0%80") if "/tgi/" in path else path,
    ),
    "wrong key": Wrong(401, "key is not known", key="berth-abcdefgh-wrong"),
    "no scope": Wrong(403, "may not send requests of the kind", rules=KeyRules(endpoints=("embeddings",))),
    # Of a day, since no test runs over its end. An answer of unstated length is reserved the whole of it.
    "over a limit": Wrong(429, "has used its 50 tokens per day", rules=KeyRules(tokens_per_day=50)),
    "too large": Wrong(413, "more than", {"json": {**TALK, "padding": "x" * 5000}}),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_each_protocol_is_told_in_its_own_shape(
    gateway: RunningGateway, mistake: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "LIMIT_BYTES", 2000)
    made = await sync_to_async(create_key)("app", actor=Actor.command_line(), rules=mistake.rules)
    headers = {"Authorization": f"Bearer {mistake.key or made.secret}"}
    async with ScriptedUpstream(scripts.answer) as upstream:
        for version, (path, engine) in enumerate(WAYS, start=1):
            protocol = "ollama-text" if engine == "ollama" else "openai-text"
            await gateway.serve(upstream.route(engine=engine, protocol=protocol), version=version)
            if mistake.status == 429 and version == 1:
                async with gateway.client.post(path, headers=headers, **mistake.send) as response:
                    assert response.status == 200
                    await response.read()
            async with gateway.client.post(mistake.path(path), headers=headers, **mistake.send) as response:
                told = await response.json()
                assert response.status == mistake.status, told
                assert ("Retry-After" in response.headers) == (mistake.status == 429)
                assert response.headers["X-Request-Id"]
            assert mistake.words in words_of(path, mistake.status, told)
    assert len(upstream.seen) == (mistake.status == 429)
    application = gateway.application
    assert (gateway.in_flight, application.places.waiting, application.budget.used) == ({}, 0, 0)
