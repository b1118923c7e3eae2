"""Hears of Xid events, the driver's reports of errors, as they happen."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .nvml_values import FUNCTION_NOT_FOUND, NOT_SUPPORTED, TIMEOUT, code_of

logger = logging.getLogger(__name__)
#: nvmlEventTypeXidCriticalError
XID = 0x8
WAIT_MS = 1000
#: UUID of the GPU, number of the error, epoch seconds.
OnXid = Callable[[str, int, float], None]


class XidListener:
    """A thread that waits in the driver; it opens and closes the library for itself, which counts its users."""

    def __init__(self, module: Any, uuids: tuple[str, ...], on_xid: OnXid) -> None:
        self.module = module
        self.uuids = uuids
        self.on_xid = on_xid
        self.works = True
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="gpu-xids", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self.thread.start()

    def stop(self) -> None:
        """End within a wait; not waited for where the driver hangs."""
        self.stopping.set()
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join(2 * WAIT_MS / 1000)

    def _run(self) -> None:
        try:
            self.module.nvmlInit()
        except self.module.NVMLError as error:
            logger.info("Xid events are not heard: %s", error)
            self.works = False
            return
        try:
            self._listen()
        except (self.module.NVMLError, AttributeError) as error:
            # Where there are no events it is not tried again before the library is opened anew.
            never = isinstance(error, AttributeError) or code_of(error) in {NOT_SUPPORTED, FUNCTION_NOT_FOUND}
            self.works = never
            logger.info("Xid events are not heard: %s", error)
        finally:
            with contextlib.suppress(self.module.NVMLError):
                self.module.nvmlShutdown()

    def _listen(self) -> None:
        module = self.module
        events = module.nvmlEventSetCreate()
        try:
            names: dict[int, str] = {}
            for uuid in self.uuids:
                # A GPU that has no such events does not keep the others from being heard.
                with contextlib.suppress(module.NVMLError):
                    handle = module.nvmlDeviceGetHandleByUUID(uuid)
                    module.nvmlDeviceRegisterEvents(handle, XID, events)
                    names[_address(handle)] = uuid
            while names and not self.stopping.is_set():
                try:
                    event = module.nvmlEventSetWait_v2(events, WAIT_MS)
                except module.NVMLError as error:
                    if code_of(error) != TIMEOUT:
                        raise
                else:
                    if int(event.eventType) != XID:
                        continue
                    # The driver is not asked whose it is: a GPU that fell off the bus answers nothing.
                    self._tell(names.get(_address(event.device), ""), int(event.eventData))
        finally:
            with contextlib.suppress(module.NVMLError):
                module.nvmlEventSetFree(events)

    def _tell(self, uuid: str, xid: int) -> None:
        try:
            self.on_xid(uuid, xid, time.time())
        except Exception:
            logger.exception("An Xid event was not told")


def _address(handle: Any) -> int:
    """Tells handles apart: they are pointers."""
    try:
        return int(ctypes.cast(handle, ctypes.c_void_p).value or 0)
    except (ctypes.ArgumentError, TypeError):
        return id(handle)
