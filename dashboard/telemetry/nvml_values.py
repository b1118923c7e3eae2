"""Values of NVML's C header (nvmlReturn_t and others), and how its errors and strings are read."""

from __future__ import annotations

from typing import Any

INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NOT_FOUND = 6
FUNCTION_NOT_FOUND = 13
VERSION_MISMATCH = 18
#: The driver is not loaded; its library is not there.
NO_DRIVER = frozenset({9, 12})
UNKNOWN = 999
#: Not one GPU but the whole library must be opened again.
CLOSED = frozenset({1, VERSION_MISMATCH}) | NO_DRIVER
#: NVML_NVLINK_DEVICE_TYPE_SWITCH
SWITCH = 2
#: NVML_P2P_STATUS_OK
P2P_OK = 0


def code_of(error: Any) -> int:
    """The return value that an NVMLError stands for."""
    return int(getattr(error, "value", UNKNOWN))


def text_of(value: Any) -> str:
    """A string of NVML; older bindings give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
