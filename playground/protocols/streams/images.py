"""OpenAI's images, whole or as events: https://platform.openai.com/docs/api-reference/images-streaming

Berth's gateway tells progress in comments of the stream, ``: progress {"step": 3, "steps": 20}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from .base import SERVED, count, failure_in, parsed, served_in
from .events import BrokeOff, Drawn, Event, Failure, Step

#: All images of one request, in bytes of base64.
LARGEST: Final = 128 * 1024 * 1024
#: More than anybody may ask for at once.
MOST: Final = 16
_PROGRESS: Final = ": progress "


class ImageReader:
    """See :class:`~.base.EventReader`. A line may be one image of many megabytes: bytes are gathered, not added up."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._taken = 0
        self._drawn = 0
        self._over = False

    def feed(self, chunk: bytes) -> list[Event]:
        if self._over:
            return []
        self._taken += len(chunk)
        if self._taken > LARGEST:
            self._over = True
            return [Failure(message="the server sent more than 128 MB", code="too_long")]
        *ended, rest = chunk.split(b"\n")
        found: list[Event] = []
        for part in ended:
            self._line += part
            found += self._read()
        self._line += rest
        return found

    def end(self) -> list[Event]:
        found = self._read()
        if not self._over and not self._drawn:
            found.append(BrokeOff())
        self._over = True
        return found

    def _read(self) -> list[Event]:
        line, self._line = self._line.decode(errors="replace").strip(), bytearray()
        found = [] if self._over else list(_events(line))
        self._drawn += sum(isinstance(event, Drawn) for event in found)
        if self._drawn > MOST:
            found = [Failure(message=f"the server sent more than {MOST} images", code="too_many")]
        self._over |= any(isinstance(event, Failure) for event in found)
        return found


def _events(line: str) -> Iterator[Event]:
    if line.startswith(_PROGRESS):
        told = parsed(line.removeprefix(_PROGRESS)) or {}
        step, steps = count(told.get("step")), count(told.get("steps"))
        if step is not None and steps is not None:
            yield Step(step=step, steps=steps)
        return
    if line.startswith(SERVED):
        yield served_in(line)
        return
    content = line.removeprefix("data:").strip()
    if content == line and not line.startswith("{"):
        # An event's name, another comment, an empty line.
        return
    if content != "[DONE]":
        yield from _object(content)


def _object(text: str) -> Iterator[Event]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        yield Failure(message=f"the server sent something that is not JSON: {text[:200]}", code="not_json")
        return
    failure = failure_in(content)
    if failure is not None:
        yield failure
    elif content.get("data") == []:
        yield Failure(message="the server sent no image", code="no_image")
    elif isinstance(content.get("data"), list):
        for entry in content["data"]:
            yield _image(entry if isinstance(entry, dict) else {}, content)
    elif str(content.get("type", "")).endswith(".completed"):
        yield _image(content, content)


def _image(entry: dict[str, Any], told: dict[str, Any]) -> Event:
    image = entry.get("b64_json")
    if not isinstance(image, str) or not image:
        return Failure(message="the server sent no image as base64", code="no_image")
    seed = told.get("seed")
    is_seed = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63
    return Drawn(image=image, seed=seed if is_seed else None)
