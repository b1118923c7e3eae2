"""The work of one transfer on its node, under its claim."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.utils.translation import gettext as _

from deployments.exceptions import RuntimeFaultError
from deployments.jobs import Watch, carry_out
from deployments.models import ImageTransfer
from deployments.progress import Progress
from deployments.registries.refusals import TransferError
from deployments.runtimes.docker.pushing import push
from deployments.services.registries import credentials_of

from .archives import draft_path, load, save
from .layers import LayerProgress, Pushed

#: How long to wait after each attempt that broke off; the engine itself tries each layer five times before it gives up.
AGAIN_AFTER_S = (2.0, 5.0, 15.0, 30.0)
POLL_S = 0.2
#: Layers are written about as often as the progress.
WRITE_EVERY_S = 1.0


def run_transfer(transfer_id: int) -> None:
    """Push, save or load, unless somebody does so already. Repeatable; see :func:`deployments.jobs.carry_out`."""
    carry_out(ImageTransfer, transfer_id, _do, clear=lambda row: draft_path(row).unlink(missing_ok=True))


def _do(row: ImageTransfer, watch: Watch) -> None:
    work = {ImageTransfer.Kind.PUSH: _push, ImageTransfer.Kind.SAVE: save, ImageTransfer.Kind.LOAD: load}
    work[ImageTransfer.Kind(row.kind)](row, watch)


def _push(row: ImageTransfer, watch: Watch) -> None:
    """Push until it is there: what broke off goes on where it was, after a pause that grows."""
    for pause_s in (*AGAIN_AFTER_S, None):
        row.attempts += 1
        watch.write(attempts=row.attempts)
        try:
            pushed = _push_once(row, watch)
        except TransferError as error:
            if pause_s is None or not error.is_transient:
                raise
            _wait(pause_s, watch)
        else:
            watch.write(digest=pushed.digest, image_id=pushed.image_id, size_bytes=pushed.size_bytes)
            return


def _push_once(row: ImageTransfer, watch: Watch) -> Pushed:
    if row.registry is None:
        raise RuntimeFaultError(_("The registry was removed meanwhile. Choose another one."), code="no_registry")
    layers = _Layers(watch)
    try:
        return push(
            row.image_id or row.image,
            repository=row.repository,
            tag=row.tag,
            credentials=credentials_of(row.registry),
            report=layers.report,
            cancelled=watch.cancelled,
        )
    finally:
        layers.write()


class _Layers:
    """Writes what is known of each layer, now and then and at the end."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._written_at = float("-inf")
        self._layers: Sequence[LayerProgress] = ()

    def report(self, progress: Progress, layers: Sequence[LayerProgress]) -> None:
        self._layers = layers
        self._watch.report(progress)
        if time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        self._written_at = time.monotonic()
        if self._layers:
            self._watch.write(layers=[layer.to_json() for layer in self._layers])


def _wait(seconds: float, watch: Watch) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        watch.check()
        time.sleep(POLL_S)
