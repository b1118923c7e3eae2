"""A model server that says what it is told to: the last message of a chat is the name of a script.

Standard library only, so that any process can run it. ``say NAME``: a hostile output, in pieces. ``count N``: N
numbered words, ten milliseconds apart. ``die``: three words, then a closed connection. ``refuse``: status 500 with
words of its own. ``hold``: three words, then silence until the client leaves. ``markdown``, ``reason``, ``tool``.
``pace RATE N``: N tokens of Markdown, RATE a second by the clock. A question of ``harbour_talk`` is answered as a model
would, the short way by a model whose name says so. Anything else a model called harbour answers with some prose, any
other one at once.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Run as a script, by a process that knows nothing of tests.
sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.browser.playground.harbour_talk import ANSWERS
from tests.browser.playground.hostile_outputs import HOSTILE

PIECE = 997
MARKDOWN = """\
# Harbours

A *harbour* is **sheltered water**; see [the list](https://example.org/harbours).

| harbour | depth |
|---|---:|
| Rotterdam | 24 m |
| Hamburg | 17 m |

```python
def depth(tide: float) -> float:
    return 17 + tide
```

The tide obeys $h = a \\cos(\\omega t)$, so that

$$\\int_0^T h \\, dt = 0$$

1. berth
2. load
   - cranes
   - lorries

Then, as the list goes on:

7. leave
"""


def delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": None}]}


#: A paragraph of a model's prose, as tokens: what is streamed at a pace.
PROSE = (
    "## The tide\n\nThe *water* at the pier rises and falls **twice a day**, and `depth` says how far; "
    "whoever draws more than it leaves waits at the roads until it comes back.\n\n"
    "- the gauge is read at the lock\n- the pilot goes by the lower of two readings\n\n"
)
TOKENS = re.findall(r"\s*\S{1,6}|\s+$", PROSE)


Script = Iterator[dict[str, Any] | float]


def paced(rate: float, count: int) -> Script:
    """A token is sent when its time has come, whatever the ones before took."""
    began = time.monotonic()
    for number in range(count):
        yield delta(content=TOKENS[number % len(TOKENS)])
        yield max(0.0, began + (number + 1) / rate - time.monotonic())


def spoken(text: str) -> Script:
    """As a model of some 150 tokens a second."""
    yield 0.06
    for token in re.findall(r"\s*\S{1,5}", text):
        yield delta(content=token)
        yield 0.006


def counted(count: str) -> Script:
    """Numbered words."""
    for number in range(int(count)):
        yield delta(content=f"word{number} ")
        yield 0.01


def cut(text: str, piece: int) -> Script:
    """The text in pieces, as fast as it goes."""
    for start in range(0, len(text), piece):
        yield delta(content=text[start : start + piece])


def pondered(count: str) -> Script:
    """Numbered thoughts, then what comes of them."""
    for number in range(int(count)):
        yield delta(reasoning_content=f"thought{number} ")
        yield 0.01
    yield delta(content="Said.")


THREE_WORDS = [delta(content=word) for word in ("one ", "two ", "three ")]
REASONED = [
    delta(reasoning_content="First I think. "),
    delta(reasoning_content="Then I speak."),
    delta(content="Said."),
]
CALLED = [
    delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "tide", "arguments": '{"at": '}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '"noon"}'}}]),
]
#: The first word of what was said -> what is made of the rest.
VERBS: dict[str, Callable[[str], Script]] = {
    "say": lambda name: cut(HOSTILE[name], PIECE),
    "count": counted,
    "pace": lambda rest: paced(float(rest.split()[0]), int(rest.split()[1])),
    "die": lambda _rest: iter(THREE_WORDS),
    "hold": lambda _rest: iter(THREE_WORDS),
    "markdown": lambda _rest: cut(MARKDOWN, 7),
    "ponder": pondered,
    "reason": lambda _rest: iter(REASONED),
    "tool": lambda _rest: iter(CALLED),
}


def script(told: str, model: str) -> Script:
    """Chunks to send and seconds to wait."""
    verb, _space, rest = told.partition(" ")
    if told in ANSWERS:
        long, short = ANSWERS[told]
        return spoken(short if "short" in model else long)
    if verb in VERBS:
        return VERBS[verb](rest)
    if model.startswith("harbour"):
        return paced(120, 40)
    return iter([delta(content=f"You said: {told}")])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self.whole(200, {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        content = (asked.get("messages") or [{"content": ""}])[-1]["content"]
        told = content if isinstance(content, str) else content[0]["text"] + f" with {len(content) - 1} pictures"
        if told == "refuse":
            self.whole(500, {"error": {"message": "CUDA out of memory, said the engine"}})
        elif not asked.get("stream"):
            self.whole(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "tiny"}}]})
        else:
            self.stream(told, asked["model"])

    def stream(self, told: str, model: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        tokens = 0
        for part in script(told, model):
            if isinstance(part, float):
                time.sleep(part)
                continue
            tokens += 1
            self.event(json.dumps(part))
        if told == "die":
            return
        while told == "hold":
            # A comment finds out that nobody listens any more: writing it fails.
            time.sleep(0.05)
            self.wfile.write(b": still here\n\n")
        self.event(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        usage = {"prompt_tokens": 7, "completion_tokens": tokens}
        self.event(json.dumps({"choices": [], "usage": usage}))
        self.event("[DONE]")

    def event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def whole(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine")
    parser.add_argument("--port", type=int, required=True)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler).serve_forever()
