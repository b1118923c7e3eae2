"""What the tests of images share: asking, reading streams, and looking for what is left."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import aiohttp

from tests.fakes.gateway import RunningGateway, until

ADDRESS: Final = "/v1/images/generations"
#: No test waits longer for an answer.
PATIENCE: Final = aiohttp.ClientTimeout(total=10)


async def draw(gateway: RunningGateway, **changes: Any) -> tuple[int, Any]:
    """Ask for an image; status and the answer."""
    body = {"model": "painter", "prompt": "a lighthouse", "size": "64x64", **changes}
    async with gateway.client.post(ADDRESS, json=body, timeout=PATIENCE) as response:
        return response.status, await response.json()


async def sentence(gateway: RunningGateway, status: int, **changes: Any) -> str:
    """The sentence of a refusal that must have this status."""
    found, answer = await draw(gateway, **changes)
    assert found == status, answer
    return str(answer["error"]["message"])


def pictures(answer: Any) -> list[bytes]:
    """The images of an answer with base64."""
    return [base64.b64decode(entry["b64_json"], validate=True) for entry in answer["data"]]


def told(stream: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of a stream: what its comments say of progress, and its events."""
    frames = [frame for frame in stream.decode().split("\n\n") if frame]
    comments = [json.loads(frame.removeprefix(": progress ")) for frame in frames if frame.startswith(": ")]
    events = [frame.rpartition("data: ")[2] for frame in frames if not frame.startswith(": ")]
    return comments, [json.loads(event) for event in events if event != "[DONE]"]


async def nothing_left(gateway: RunningGateway) -> None:
    """No request in flight or waiting, no byte held, nothing that outlived its request."""
    application = gateway.application
    await until(lambda: gateway.in_flight == {} and application.table.in_flight.total == 0)
    assert application.places.waiting == 0
    await until(lambda: application.budget.used == 0)
    images = application._images
    assert images is not None
    await until(lambda: not images._later)
    assert images._engines is None or not images._engines.turns._locks
