"""A real HTTP server that plays an engine from a table of answers, and can be told to deviate."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

#: An answer: ``status`` and ``body`` (JSON unless text), or ``lines`` (NDJSON, one object a line).
Answer = Mapping[str, Any]


@dataclass
class EngineServer:
    """Listens on a free port of 127.0.0.1. A list of answers is given one after the other, the last one for ever.

    With ``key``, what lies under ``keyed_paths`` is answered with ``unauthorized`` unless the request carries it.
    ``hold`` (an Event) keeps a path from being answered, by path, until it is set.
    """

    answers: dict[str, Any]
    key: str = ""
    keyed_paths: tuple[str, ...] = ()
    unauthorized: Answer = field(default_factory=lambda: {"status": 401, "body": ""})
    asked: list[tuple[str, Any]] = field(default_factory=list)
    hold: dict[str, threading.Event] = field(default_factory=dict)
    endpoint: str = ""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for event in self.hold.values():
            event.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer_to(self, method: str, path: str, authorization: str) -> Answer:
        """What a request gets."""
        if self.key and path.startswith(self.keyed_paths) and authorization != f"Bearer {self.key}":
            return self.unauthorized
        found = self.answers.get(f"{method} {path.partition('?')[0]}", {"status": 404, "body": "nothing here"})
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        answer: Answer = found
        return answer

    def paths(self) -> list[str]:
        """What was asked, as ``METHOD /path``."""
        return [path for path, _body in self.asked]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def log_message(self, *_: object) -> None:
                return

            def _answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((f"{self.command} {self.path}", json.loads(content) if content else None))
                if event := outer.hold.get(self.path):
                    event.wait(20)
                answer = outer.answer_to(self.command, self.path, self.headers.get("Authorization", ""))
                body = _body(answer)
                try:
                    self.send_response(answer.get("status", 200))
                    self.send_header(
                        "Content-Type", "application/x-ndjson" if "lines" in answer else "application/json"
                    )
                    if not answer.get("cut"):
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    return  # the client gave up

        return Handler


def _body(answer: Answer) -> bytes:
    if "lines" in answer:
        return b"".join(json.dumps(line).encode() + b"\n" for line in answer["lines"])
    body = answer.get("body", "")
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
