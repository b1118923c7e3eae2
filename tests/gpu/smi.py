"""What nvidia-smi says of each GPU, and whether a reading says the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.telemetry.nvml_values import LIMITER_BITS
from deployments.gpu_readings import GpuReading

MIB = 1024**2
TIMEOUT_S = 20
ANSI = re.compile(r"\x1b\[[0-9;]*m")
GPU_NAME = re.compile(r"^GPU\d+$")
#: nvidia-smi's words for nothing.
NOTHING = re.compile(r"^\[?(N/A|Not Supported|Unknown Error|GPU requires reset|)\]?$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A field, the questions of nvidia-smi that it is the sum of, and how far both may be apart.

    ``scale`` is how many of the field's units one of nvidia-smi's is; ``tolerance`` is in the field's units,
    ``share`` of the value. Both are asked at different moments, so what moves may differ.
    """

    field: str
    asked: tuple[str, ...]
    scale: float = 1
    tolerance: float = 0
    share: float = 0
    unit: str = ""

    @property
    def written(self) -> str:
        """The tolerance in words."""
        parts = [f"±{self.tolerance / MIB:g} MiB" if self.unit == "MiB" else f"±{self.tolerance:g}"]
        return " and ".join(parts + ([f"{self.share:.0%}"] if self.share else [])) if self.tolerance else "exact"


def _mib(field: str, asked: str) -> Compared:
    # nvidia-smi rounds to whole MiB.
    return Compared(field=field, asked=(asked,), scale=MIB, tolerance=2 * MIB, unit="MiB")


COMPARED = (
    _mib("memory_total_bytes", "memory.total"),
    _mib("memory_used_bytes", "memory.used"),
    _mib("memory_free_bytes", "memory.free"),
    _mib("memory_reserved_bytes", "memory.reserved"),
    Compared(field="utilization_gpu_percent", asked=("utilization.gpu",), tolerance=10),
    Compared(field="utilization_memory_percent", asked=("utilization.memory",), tolerance=10),
    Compared(field="temperature_gpu_celsius", asked=("temperature.gpu",), tolerance=4),
    Compared(field="temperature_memory_celsius", asked=("temperature.memory",), tolerance=6),
    Compared(field="power_watts", asked=("power.draw",), tolerance=25, share=0.1),
    Compared(field="power_limit_watts", asked=("power.limit",), tolerance=0.5),
    Compared(field="clock_sm_mhz", asked=("clocks.current.sm",), tolerance=120),
    Compared(field="clock_sm_max_mhz", asked=("clocks.max.sm",)),
    Compared(field="clock_memory_mhz", asked=("clocks.current.memory",), tolerance=20),
    Compared(field="performance_state", asked=("pstate",)),
    Compared(field="fan_percent", asked=("fan.speed",), tolerance=5),
    Compared(field="pcie_generation", asked=("pcie.link.gen.current",)),
    Compared(field="pcie_width", asked=("pcie.link.width.current",)),
    Compared(field="ecc_corrected", asked=("ecc.errors.corrected.volatile.total",)),
    Compared(field="ecc_uncorrected", asked=("ecc.errors.uncorrected.volatile.total",)),
    Compared(field="remapped_rows", asked=("remapped_rows.correctable", "remapped_rows.uncorrectable")),
)
FURTHER = ("uuid", "index", "name", "driver_version", "clocks_event_reasons.active")
#: The field of older versions.
OLD_NAMES = {"clocks_event_reasons.active": "clocks_throttle_reasons.active"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the result. ``ok`` is None where nothing could be compared, and ``note`` says why."""

    what: str
    expected: str
    seen: str
    allowed: str = ""
    ok: bool | None = True
    note: str = ""


def ask(*arguments: str) -> str:
    """nvidia-smi's answer. Raises RuntimeError with what it says, OSError, subprocess.TimeoutExpired."""
    done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip()[:300])
    return done.stdout


def query_gpus() -> tuple[dict[str, dict[str, str]], list[str]]:
    """By UUID what each question was answered; and the questions that this version does not know."""
    wanted = [*FURTHER, *(name for each in COMPARED for name in each.asked)]
    unknown: list[str] = []
    for _attempt in range(len(wanted)):
        try:
            lines = ask(f"--query-gpu={','.join(wanted)}", "--format=csv,noheader,nounits").splitlines()
        except RuntimeError as error:
            refused = re.search(r'Field "([^"]+)"', str(error))
            if refused is None or refused[1] not in wanted:
                raise
            wanted.remove(refused[1])
            unknown.append(refused[1])
            if refused[1] in OLD_NAMES:
                wanted.append(OLD_NAMES[refused[1]])
            continue
        rows = [dict(zip(wanted, (part.strip() for part in line.split(",")), strict=True)) for line in lines if line]
        found = {row["uuid"]: row for row in rows}
        return _with_remapped_rows(found, unknown), unknown
    raise RuntimeError("nvidia-smi knows none of the questions")


def _with_remapped_rows(found: dict[str, dict[str, str]], unknown: list[str]) -> dict[str, dict[str, str]]:
    """Most versions have a query of its own for these."""
    names = [name for name in unknown if name.startswith("remapped_rows.")]
    if names:
        try:
            lines = ask(f"--query-remapped-rows=gpu_uuid,{','.join(names)}", "--format=csv,noheader,nounits")
        except RuntimeError:
            return found
        for line in lines.splitlines():
            uuid, *values = (part.strip() for part in line.split(","))
            if uuid in found:
                found[uuid] |= dict(zip(names, values, strict=True))
    return found


def query_processes() -> dict[tuple[str, int], int | None]:
    """By UUID and pid the bytes that each process holds."""
    found: dict[tuple[str, int], int | None] = {}
    for line in ask("--query-compute-apps=pid,gpu_uuid,used_memory", "--format=csv,noheader,nounits").splitlines():
        pid, uuid, used = (part.strip() for part in line.split(","))
        found[uuid, int(pid)] = None if NOTHING.match(used) else int(used) * MIB
    return found


def query_links() -> dict[int, set[int]] | None:
    """By index the GPUs that each is joined to by NVLink, over switches or not; None where it is not told.

    The matrix of ``nvidia-smi topo -m`` has "NV" and the count of links in a cell; its head is underlined for people.
    """
    try:
        lines = ANSI.sub("", ask("topo", "-m")).splitlines()
    except (RuntimeError, OSError, subprocess.TimeoutExpired):
        return None
    columns = [cell.strip() for cell in lines[0].split("\t")] if lines else []
    found: dict[int, set[int]] = {}
    for line in lines[1:]:
        cells = [cell.strip() for cell in line.split("\t")]
        if GPU_NAME.match(cells[0]):
            joined = {name for name, cell in zip(columns, cells, strict=False) if cell.startswith("NV")}
            found[int(cells[0][3:])] = {int(name[3:]) for name in joined if GPU_NAME.match(name)}
    return found or None


def compare(before: GpuReading, after: GpuReading, told: Mapping[str, str]) -> list[Row]:
    """Every field of two readings against what nvidia-smi said between them."""
    label = f"GPU {after.index}"
    rows = [
        Row(what=f"{label} index", expected=told["index"], seen=str(after.index), ok=told["index"] == str(after.index)),
        Row(what=f"{label} name", expected=told["name"], seen=after.name, ok=told["name"] == after.name),
    ]
    rows += [_field(label, each, (before, after), told) for each in COMPARED]
    rows.append(_limiters(label, before, after, told))
    rows += _own(label, after)
    return rows


def _field(label: str, each: Compared, readings: tuple[GpuReading, GpuReading], told: Mapping[str, str]) -> Row:
    what = f"{label} {each.field}"
    seen = [getattr(reading, each.field) for reading in readings]
    after = readings[1]
    if any(name not in told for name in each.asked):
        return Row(what=what, expected="?", seen=str(seen[1]), ok=None, note="nvidia-smi does not know it")
    texts = [told[name] for name in each.asked]
    if any(NOTHING.match(text) for text in texts):
        reason = after.missing.get(each.field, "")
        ok = seen[1] is None and bool(reason)
        return Row(what=what, expected=texts[0], seen=f"{seen[1]} ({reason})", allowed="none on both sides", ok=ok)
    expected = sum(float(text.removeprefix("P")) for text in texts) * each.scale
    known = [value for value in seen if value is not None]
    if seen[1] is None or not known:
        return Row(what=what, expected=_short(expected, each), seen=f"None ({after.missing.get(each.field)})", ok=False)
    allowed = each.tolerance + each.share * abs(expected)
    ok = min(known) - allowed <= expected <= max(known) + allowed
    return Row(what=what, expected=_short(expected, each), seen=_short(seen[1], each), allowed=each.written, ok=ok)


def _limiters(label: str, before: GpuReading, after: GpuReading, told: Mapping[str, str]) -> Row:
    text = told.get("clocks_event_reasons.active") or told.get("clocks_throttle_reasons.active") or ""
    seen = "+".join(after.limiters) or "none"
    if not text.startswith("0x"):
        return Row(what=f"{label} limiters", expected=text, seen=seen, ok=None, note="nvidia-smi does not say")
    expected = {name for bit, name in LIMITER_BITS.items() if int(text, 16) & bit}
    # Under load the power cap comes and goes within a second: each reason must be that of one of the two readings.
    ok = expected <= set(before.limiters) | set(after.limiters) or expected in (
        set(before.limiters),
        set(after.limiters),
    )
    allowed = "those of one of two readings"
    return Row(
        what=f"{label} limiters", expected="+".join(sorted(expected)) or "none", seen=seen, allowed=allowed, ok=ok
    )


def _own(label: str, gpu: GpuReading) -> list[Row]:
    """Fields that nvidia-smi has no question for: they are plausible, or there is a reason why not."""
    plausible: list[tuple[str, Callable[[Any], bool], str]] = [
        ("sm_active_percent", lambda value: 50 <= value <= 100, "50 to 100 under full load"),
        ("tensor_active_percent", lambda value: 0 <= value <= 5, "0 to 5: the load uses no tensor core"),
        ("dram_active_percent", lambda value: 0 <= value <= 50, "0 to 50: the load computes in registers"),
        ("energy_joules", lambda value: value > 0, "more than 0"),
    ]
    rows = []
    for field, fits, allowed in plausible:
        value, reason = getattr(gpu, field), gpu.missing.get(field, "")
        rows.append(
            Row(
                what=f"{label} {field}",
                expected=allowed,
                seen=f"{value}" if value is not None else f"None ({reason})",
                ok=fits(value) if value is not None else (None if reason == "not_supported" else False),
                note="" if value is not None else "this GPU does not have it",
            )
        )
    rows.append(Row(what=f"{label} state", expected="ok", seen=gpu.state, ok=gpu.state == "ok"))
    held = gpu.limited_s.keys() & {"power_cap", "thermal_software", "thermal_hardware", "idle"}
    rows.append(
        Row(what=f"{label} limited_s", expected="0 to 60", seen=str(dict(gpu.limited_s)), ok=bool(held) or None)
    )
    return rows


def _short(value: float, each: Compared) -> str:
    return f"{value / MIB:,.0f} MiB" if each.unit == "MiB" else f"{value:g}"
