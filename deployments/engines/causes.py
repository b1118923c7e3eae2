"""Why a server ended: from exit code and log to a cause that an operator can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .base import CausePattern, Engine

#: A command that ends this soon, in seconds, did not serve at all.
AT_ONCE_S = 5.0
LINE_CHARACTERS = 300
SIGKILLED = frozenset({-9, 137})
NOT_FOUND = 127

#: Tried in this order, the most telling first. What every engine prints, since they share libraries.
COMMON = (
    CausePattern(
        pattern=r"CUDA out of memory|OutOfMemoryError: (CUDA|HIP)|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
        r"|cudaMalloc failed: out of memory|HIP out of memory",
        cause="cuda_out_of_memory",
    ),
    CausePattern(
        pattern=r"could not select device driver .*gpu|unknown or invalid runtime name: nvidia"
        r"|nvidia-container-cli: initialization error|libcuda\.so\.1: cannot open shared object file"
        r"|Found no NVIDIA driver",
        cause="no_nvidia_runtime",
    ),
    CausePattern(
        pattern=r"CUDA driver version is insufficient|NVIDIA driver on your system is too old"
        r"|unsatisfied condition: cuda|forward compatibility was attempted on non supported HW",
        cause="driver_too_old",
    ),
    CausePattern(pattern=r"[Nn]o space left on device|\[Errno 28\]|Disk quota exceeded", cause="no_disk_space"),
    CausePattern(
        pattern=r"[Aa]ddress already in use|EADDRINUSE|\[Errno 98\]|couldn't bind HTTP server socket",
        cause="port_in_use",
    ),
    CausePattern(
        pattern=r"GatedRepoError|access a gated repo|Cannot access gated repo|Access to model .* is restricted",
        cause="gated_model",
    ),
    CausePattern(
        pattern=r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier"
        r"|does not appear to have a file named|failed to open GGUF file|error loading model",
        cause="bad_model_path",
    ),
    CausePattern(
        pattern=r"couldn't connect to '?https://huggingface\.co|LocalEntryNotFoundError|OfflineModeIsEnabled"
        r"|host='huggingface\.co'.*(Max retries|Failed to (resolve|establish))",
        cause="hub_unreachable",
    ),
    CausePattern(
        pattern=r"unrecognized arguments?:|error: (unknown|invalid) argument|error: unexpected argument"
        r"|No such option|unknown (shorthand )?flag",
        cause="unknown_argument",
    ),
)
#: The last line of a Python traceback: a dotted name that ends as exceptions do, and mostly a message.
EXCEPTION = re.compile(r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b(?:: .*)?)$")


class Cause(NamedTuple):
    """``code`` is a reason code; ``params`` fill its sentence: always ``exit_code`` and ``last_line``."""

    code: str
    params: dict[str, str]


def classify(
    exit_code: int | None,
    out_of_memory: bool,  # noqa: FBT001 - as observed, second in a row of observations
    log_tail: Sequence[str],
    engine: Engine,
    *,
    ran_for_s: float | None = None,
) -> Cause:
    """Why a server that was not asked to end did. Pure and total.

    ``log_tail`` are its last lines, oldest first; the engine's own patterns are tried before the common ones.
    ``exit_code`` is negative for a signal, None when it was lost. ``last_line`` is the line that told the cause.
    """
    lines = [line.rstrip() for line in log_tail if line.strip()]
    last = lines[-1] if lines else ""

    def cause(code: str, line: str = last) -> Cause:
        shown = "?" if exit_code is None else str(exit_code)
        return Cause(code, {"exit_code": shown, "last_line": line.strip()[:LINE_CHARACTERS]})

    if out_of_memory:
        return cause("killed_by_host")
    told = _first_match((*engine.causes, *COMMON), lines)
    if told is not None:
        return cause(*told)
    if exit_code in SIGKILLED:
        return cause("killed_by_host")
    if exit_code == NOT_FOUND:
        return cause("command_not_found")
    exception = _exception(lines)
    if exception:
        return cause("python_error", exception)
    at_once = ran_for_s is not None and ran_for_s <= AT_ONCE_S
    return cause("exited_at_once" if at_once else "exited")


def _first_match(patterns: Iterable[CausePattern], lines: Sequence[str]) -> tuple[str, str] | None:
    """The cause of the first pattern that matches, with the last line that it matches."""
    for each in patterns:
        for line in reversed(lines):
            if re.search(each.pattern, line):
                return each.cause, line
    return None


def _exception(lines: Sequence[str]) -> str:
    """The exception at the end of the last traceback; empty when there is no traceback."""
    if not any("Traceback (most recent call last)" in line for line in lines):
        return ""
    return next((match[1] for line in reversed(lines) if (match := EXCEPTION.search(line))), "")
