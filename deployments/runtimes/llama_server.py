"""llama.cpp's HTTP server from the wheel ``xllamacpp``, with the flags of ``llama-server``.

A program of its own: ``python -I llama_server.py BUNDLE -m MODEL --port PORT …``. BUNDLE is the folder that the
wheel is unpacked in. ``/health`` answers 503 while the model loads and 200 from then on. SIGTERM ends it.
Exit status: 0 after SIGTERM, 1 when it could not serve, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

POOLINGS = ("none", "mean", "cls", "last", "rank")


def parser() -> argparse.ArgumentParser:
    """The flags of llama-server that this program knows; any other one is refused with a sentence."""
    flags = argparse.ArgumentParser(prog="llama_server.py", allow_abbrev=False)
    flags.add_argument("bundle", help="folder with the unpacked wheel xllamacpp")
    flags.add_argument("-m", "--model", required=True, help="GGUF file")
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--port", type=int, default=8080)
    flags.add_argument("-c", "--ctx-size", type=int, default=0, help="tokens over all slots, 0: the model's own")
    flags.add_argument("-np", "--parallel", type=int, default=1, help="slots, requests served at a time")
    flags.add_argument("-n", "--predict", "--n-predict", type=int, default=-1, help="most tokens in an answer")
    flags.add_argument("-t", "--threads", type=int, default=-1)
    flags.add_argument("-b", "--batch-size", type=int, default=2048)
    flags.add_argument("-ub", "--ubatch-size", type=int, default=512)
    flags.add_argument("-ngl", "--gpu-layers", "--n-gpu-layers", type=int, default=-1)
    flags.add_argument("-a", "--alias", help="model name that requests use")
    flags.add_argument("--api-key", default=os.environ.get("LLAMA_API_KEY"), help="key that requests must carry")
    flags.add_argument("--metrics", action="store_true", help="serve /metrics")
    flags.add_argument("--embedding", "--embeddings", action="store_true", help="serve /v1/embeddings besides")
    flags.add_argument("--pooling", choices=POOLINGS, help="how vectors of tokens become one; else the model's own")
    flags.add_argument("-to", "--timeout", type=int, default=3600, help="of a connection, in seconds")
    return flags


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    options = parser().parse_args(argv)
    if not Path(options.model).is_file():
        return fail(f"failed to open GGUF file '{options.model}' (No such file or directory)")
    if not can_listen(options.host, options.port):
        return fail(f"couldn't bind HTTP server socket, {options.host}:{options.port}: Address already in use")
    sys.path.insert(0, options.bundle)
    try:
        import xllamacpp
    except ImportError as error:
        return fail(f"the bundle {options.bundle} has no usable xllamacpp: {error}")
    # Until the model is loaded SIGTERM ends the process at once, since loading never returns to the interpreter.
    try:
        server = xllamacpp.Server(parameters(xllamacpp, options))
    except RuntimeError as error:
        return fail(str(error))
    return wait_for_end(str(server.listening_address))


def parameters(xllamacpp: Any, options: argparse.Namespace) -> Any:
    """The options as llama.cpp's own structure."""
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx_size
    params.n_parallel = options.parallel
    params.n_predict = options.predict
    params.n_batch = options.batch_size
    params.n_ubatch = options.ubatch_size
    params.n_gpu_layers = options.gpu_layers
    params.timeout_read = params.timeout_write = options.timeout
    params.endpoint_metrics = options.metrics
    params.embedding = options.embedding
    if options.pooling:
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}")
    if options.threads > 0:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    if options.alias:
        params.model_alias = {options.alias}
    if options.api_key:
        params.api_keys = [options.api_key]
    return params


def can_listen(host: str, port: int) -> bool:
    """Whether the address is free; llama.cpp itself does not say why it could not have it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True


def wait_for_end(address: str) -> NoReturn:
    """Return to the system at SIGTERM or SIGINT."""
    # Any of the server's threads may take the signal, so that the main thread waits on a pipe, not on a signal.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    say(f"serving on {address}")
    os.read(reader, 1)
    say("ended by a signal")
    # The server's destructor waits for its threads, which may wait for the interpreter: leave without it.
    sys.stdout.flush()
    os._exit(0)


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"llama_server: {text}\n")
    sys.stderr.flush()


def fail(reason: str) -> int:
    """Say why it cannot serve."""
    say(f"error: {reason}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
