"""A program that holds GPU memory and computes, and says over HTTP when it is ready: a model server without a model.

It speaks to the driver itself (libcuda), so it needs neither CUDA's toolkit nor a Python package. On each GPU that
CUDA_VISIBLE_DEVICES names it takes ``--gib`` in pieces and then runs a small kernel. ``--pretend FOLDER`` writes into
a file what it would hold, for a driver that is a stand-in.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GIB = 1024**3
BLOCKS, THREADS = 2048, 256
#: Multiplies and adds; compiled by the driver for whatever GPU it finds.
PTX = """.version 6.3
.target {target}
.address_size 64
.visible .entry spin(.param .u64 out, .param .u32 rounds)
{{
  .reg .pred %p<2>;
  .reg .f32 %f<2>;
  .reg .b32 %r<3>;
  .reg .b64 %rd<3>;
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r1, [rounds];
  cvta.to.global.u64 %rd2, %rd1;
  mov.f32 %f1, 0f3F800000;
  mov.u32 %r2, 0;
AGAIN:
  fma.rn.f32 %f1, %f1, 0f3F7FFFFF, 0f33800000;
  add.u32 %r2, %r2, 1;
  setp.lt.u32 %p1, %r2, %r1;
  @%p1 bra AGAIN;
  st.global.f32 [%rd2], %f1;
  ret;
}}
"""
TARGETS = ("sm_75", "sm_52")
FOLDERS = ("", "/usr/local/nvidia/lib64/", "/usr/local/nvidia/lib/", "/usr/lib/x86_64-linux-gnu/", "/usr/lib64/")


class Cuda:
    """The few calls of the driver's API: https://docs.nvidia.com/cuda/cuda-driver-api/"""

    def __init__(self) -> None:
        self.library = _library()
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Raises RuntimeError with the driver's number."""
        result = getattr(self.library, name)(*arguments)
        if result != 0:
            raise RuntimeError(f"{name} failed with {result}")

    def count(self) -> int:
        """The GPUs that this process may use."""
        found = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(found))
        return found.value

    def enter(self, ordinal: int) -> None:
        """Use this GPU in this thread."""
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def allocate(self, size: int) -> ctypes.c_uint64:
        """Plain memory of the current GPU."""
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer

    def kernel(self) -> ctypes.c_void_p:
        """The small program, compiled. Raises RuntimeError when the driver takes none of the targets."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        for position, target in enumerate(TARGETS):
            try:
                self.call("cuModuleLoadData", ctypes.byref(module), PTX.format(target=target).encode() + b"\0")
                break
            except RuntimeError:
                if position == len(TARGETS) - 1:
                    raise
        self.call("cuModuleGetFunction", ctypes.byref(function), module, b"spin")
        return function

    def run(self, function: ctypes.c_void_p, out: ctypes.c_uint64, rounds: int) -> float:
        """One run of the kernel; the seconds that it took."""
        began = time.perf_counter()
        values = (out, ctypes.c_uint32(rounds))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        self.call("cuLaunchKernel", function, BLOCKS, 1, 1, THREADS, 1, 1, 0, None, pointers, None)
        self.call("cuCtxSynchronize")
        return time.perf_counter() - began


def _library() -> ctypes.CDLL:
    """The driver's library, where the loader or one of the usual folders has it. Raises OSError."""
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(folder + "libcuda.so.1")
    raise OSError("libcuda.so.1 is not on this machine")


def hold(ordinal: int, options: argparse.Namespace, cuda: Cuda, loaded: threading.Semaphore) -> None:
    """Take the memory of one GPU, tell that, and compute until the process ends."""
    cuda.enter(ordinal)
    out = cuda.allocate(1024)
    for _ in range(options.gib):
        cuda.allocate(GIB)
        time.sleep(options.piece_s)
    function, rounds = cuda.kernel(), 10_000
    while cuda.run(function, out, rounds) < 0.02 and rounds < 2**30:
        rounds *= 2
    print(f"GPU {ordinal}: {options.gib} GiB held, {rounds} rounds", flush=True)
    loaded.release()
    while options.busy > 0:
        took = cuda.run(function, out, rounds)
        time.sleep(took * (1 / options.busy - 1))


def pretend(options: argparse.Namespace) -> None:
    """Write what would be held, growing, for the stand-in driver."""
    uuids = [uuid for uuid in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if uuid]
    path = Path(options.pretend) / f"{os.getpid()}.json"
    for held in range(options.gib + 1):
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"pid": os.getpid(), "uuids": uuids, "bytes": held * GIB}))
        new.rename(path)
        time.sleep(options.piece_s)


class Answers(BaseHTTPRequestHandler):
    """Every path answers that it is ready: the server is started once it is."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        """A model's answer, for the probe that asks for one."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        answer = {"choices": [{"text": "1", "message": {"role": "assistant", "content": "1"}, "index": 0}]}
        self.wfile.write(json.dumps({**answer, "usage": {"completion_tokens": 1}}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: probes come every second."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gib", type=int, default=4, help="on each GPU")
    parser.add_argument("--piece-s", type=float, default=0.3, help="pause after each GiB")
    parser.add_argument("--busy", type=float, default=1.0, help="share of the time in which it computes")
    parser.add_argument("--pretend", default="")
    options = parser.parse_args()
    # The threads are inside the driver: nothing has to be put in order.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if options.pretend:
        pretend(options)
    else:
        cuda, loaded = Cuda(), threading.Semaphore(0)
        count = cuda.count()
        for ordinal in range(count):
            threading.Thread(target=_held, args=(ordinal, options, cuda, loaded), daemon=True).start()
        for _ in range(count):
            loaded.acquire()
    print("ready", flush=True)
    ThreadingHTTPServer(("127.0.0.1", options.port), Answers).serve_forever()
    return 0


def _held(ordinal: int, options: argparse.Namespace, cuda: Cuda, loaded: threading.Semaphore) -> None:
    try:
        hold(ordinal, options, cuda, loaded)
    except Exception as error:  # noqa: BLE001 - the edge of a thread: the process must not live on without it
        print(f"GPU {ordinal}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
