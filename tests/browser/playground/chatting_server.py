"""A model server that says what it is told to: the last message of a chat is the name of a script.

Standard library only, so that any process can run it. ``say NAME``: a hostile output, in pieces. ``count N``: N
numbered words, ten milliseconds apart. ``die``: three words, then a closed connection. ``refuse``: status 500 with
words of its own. ``hold``: three words, then silence until the client leaves. ``markdown``, ``reason``, ``tool``.
Anything else is answered at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Run as a script, by a process that knows nothing of tests.
sys.path.insert(0, str(Path(__file__).parents[3]))
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
"""


def delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": None}]}


def script(told: str) -> Iterator[dict[str, Any] | float]:
    """Chunks to send and seconds to wait."""
    verb, _space, rest = told.partition(" ")
    if verb == "say":
        text = HOSTILE[rest]
        for start in range(0, len(text), PIECE):
            yield delta(content=text[start : start + PIECE])
    elif verb == "count":
        for number in range(int(rest)):
            yield delta(content=f"word{number} ")
            yield 0.01
    elif verb in ("die", "hold"):
        for word in ("one ", "two ", "three "):
            yield delta(content=word)
    elif verb == "markdown":
        for start in range(0, len(MARKDOWN), 7):
            yield delta(content=MARKDOWN[start : start + 7])
    elif verb == "reason":
        yield delta(reasoning_content="First I think. ")
        yield delta(reasoning_content="Then I speak.")
        yield delta(content="Said.")
    elif verb == "tool":
        yield delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "tide", "arguments": '{"at": '}}])
        yield delta(tool_calls=[{"index": 0, "function": {"arguments": '"noon"}'}}])
    else:
        yield delta(content=f"You said: {told}")


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
            self.stream(told)

    def stream(self, told: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        tokens = 0
        for part in script(told):
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
