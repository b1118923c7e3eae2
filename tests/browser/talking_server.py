"""A model server that prints what it is told: POST /print ``[[stream, text], …]``, POST /exit with a code; /health.

Standard library only. ``--lines`` are printed before it is ready, ``--every-ms`` makes it go on by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path == "/exit":
            os._exit(told)
        if self.path == "/print":
            for stream, text in told:
                say(text, stream=stream)
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        """As a model does, whatever was asked: the readiness check wants an answer with words."""
        message = {"role": "assistant", "content": "tiny"}
        body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def say(text: str, *, stream: str = "out") -> None:
    file = sys.stderr if stream == "err" else sys.stdout
    file.write(f"{text}\n")
    file.flush()


def talk(every_ms: int) -> None:
    tones = ("\x1b[32mINFO\x1b[0m", "\x1b[1;33mWARN\x1b[0m", "\x1b[2mDEBUG\x1b[0m")
    number = 0
    while True:
        number += 1
        say(
            f"{tones[number % 3]} request {number} answered in \x1b[36m{number % 97} ms\x1b[0m, {number % 13} in flight"
        )
        if number % 7 == 0:
            say(f"\x1b[91mERROR\x1b[0m request {number} was cut off by its client", stream="err")
        time.sleep(every_ms / 1000)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--every-ms", type=int, default=0)
    options = parser.parse_args()
    sys.stdout.write("".join(f"line {number} of the start\n" for number in range(1, options.lines + 1)))
    sys.stdout.flush()
    if options.every_ms:
        threading.Thread(target=talk, args=[options.every_ms], daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
