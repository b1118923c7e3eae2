"""Values of NVML's C header (nvmlReturn_t and others), and how its errors and strings are read."""

from __future__ import annotations

from typing import Any

NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
TIMEOUT = 10
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
VERSION_MISMATCH = 18
GPU_NOT_FOUND = 28
#: The driver is not loaded; its library is not there.
NO_DRIVER = frozenset({9, 12})
UNKNOWN = 999
#: What a GPU that fell off the bus answers to anything.
LOST = frozenset({GPU_IS_LOST, GPU_NOT_FOUND, UNKNOWN})
#: Not one GPU but the whole library must be opened again.
CLOSED = frozenset({1, VERSION_MISMATCH}) | NO_DRIVER
#: NVML_NVLINK_DEVICE_TYPE_SWITCH
SWITCH = 2
#: NVML_P2P_STATUS_OK
P2P_OK = 0

#: nvmlClocksEventReasons, in the words of :data:`deployments.gpu_readings.LIMITERS`.
LIMITER_BITS = {
    0x01: "idle",
    0x02: "applications",
    0x04: "power_cap",
    0x80: "power_brake",
    0x20: "thermal_software",
    0x40: "thermal_hardware",
    0x08: "hardware",
    0x10: "sync",
}
#: NVML_GPU_RECOVERY_ACTION_*, as a reading writes them.
RECOVERY_ACTIONS = {
    0: "",
    1: "gpu_reset",
    2: "node_reboot",
    3: "drain_p2p",
    4: "drain_and_reset",
    5: "recover_imex_domain",
    6: "bus_reset",
    7: "system_reboot",
}
#: nvmlValueType_t: the member of the union that holds the value.
VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def code_of(error: Any) -> int:
    """The return value that an NVMLError stands for."""
    return int(getattr(error, "value", UNKNOWN))


def text_of(value: Any) -> str:
    """A string of NVML; older bindings give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def reason_of(code: int) -> str:
    """Why a field is missing, as :class:`deployments.gpu_readings.GpuReading` has it."""
    if code in {NOT_SUPPORTED, FUNCTION_NOT_FOUND}:
        return "not_supported"
    return {NO_PERMISSION: "no_permission", TIMEOUT: "timeout"}.get(code, "error")


def field_value(value: Any) -> Any:
    """The number of an nvmlFieldValue_t whose ``nvmlReturn`` is success."""
    return getattr(value.value, VALUE_MEMBERS[int(value.valueType)])
