"""Ollama's server as far as Berth asks it: a model that is loaded, and a chat that does what the last message says.

``repeat``: it thinks where it was told to, then says what it was asked with. ``look``: how many pictures it was shown.
``tool``, ``die`` (a closed connection), ``fail`` (an error within the stream), ``refuse`` (status 500). Lines and
members follow https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

NAME = "tiny-llama:latest"
NOW = "2026-01-01T00:00:00Z"


async def listed(request: web.Request) -> web.Response:
    return web.json_response({"models": [{"name": NAME, "model": NAME, "size": 1, "size_vram": 1}]})


async def version(request: web.Request) -> web.Response:
    return web.json_response({"version": "0.32.15"})


async def generate(request: web.Request) -> web.Response:
    """An empty request loads the model."""
    return web.json_response({"model": NAME, "created_at": NOW, "response": "", "done": True, "done_reason": "load"})


def script(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages of an answer."""
    said = asked["messages"][-1]
    if said["content"] == "repeat":
        if asked.get("think"):
            yield {"content": "", "thinking": "First I think. "}
            yield {"content": "", "thinking": "Then I speak."}
        yield {"content": json.dumps({name: asked.get(name) for name in ("model", "think", "options")})}
    elif said["content"] == "look":
        yield {"content": f"I see {len(said.get('images', []))} pictures"}
    elif said["content"] == "tool":
        yield {"content": "", "tool_calls": [{"function": {"name": "tide", "arguments": {"at": "noon"}}}]}
    else:
        for word in ("one ", "two ", "three "):
            yield {"content": word}


async def chat(request: web.Request) -> web.StreamResponse:
    asked = json.loads(await request.read())
    told = asked["messages"][-1]["content"]
    if told == "refuse":
        return web.json_response({"error": "model requires more system memory than is available"}, status=500)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)

    async def line(**members: Any) -> None:
        await response.write(json.dumps({"model": asked["model"], "created_at": NOW, **members}).encode() + b"\n")

    for message in script(asked):
        await line(message={"role": "assistant", **message}, done=False)
    if told == "die":
        assert request.transport is not None
        request.transport.close()
    elif told == "fail":
        await response.write(b'{"error": "an error was encountered while running the model"}\n')
    else:
        counts = {"prompt_eval_count": 7, "eval_count": 3, "load_duration": 0}
        await line(message={"role": "assistant", "content": ""}, done=True, done_reason="stop", **counts)
    return response


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine")
    parser.add_argument("--port", type=int, required=True)
    application = web.Application(client_max_size=50 * 1024 * 1024)
    application.router.add_get("/api/version", version)
    application.router.add_get("/api/tags", listed)
    application.router.add_get("/api/ps", listed)
    application.router.add_post("/api/generate", generate)
    application.router.add_post("/api/chat", chat)
    web.run_app(application, host="127.0.0.1", port=parser.parse_args().port, access_log=None, print=None)
