"""The work of one ImageBuild: prepares its context, builds, and keeps its row as far as it has come."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from deployments.exceptions import BuildError
from deployments.jobs import Watch
from deployments.models import ContextArchive, ImageBuild
from deployments.progress import Progress
from deployments.runtimes.docker.build_output import BuildOutput
from deployments.runtimes.docker.building import BuildRequest, build, end_leftovers
from deployments.runtimes.docker.built_images import digest_of, find_image
from deployments.runtimes.docker.labels import INSTALLATION

from .archives import unpack
from .contexts import ARCHIVE, FOLDER, Context, read_folder
from .dockerfile_text import base_image, check

logger = logging.getLogger(__name__)
#: How often the row is written while the client prints; the page asks twice a second, so a line is there within one.
WRITE_EVERY_S = 0.25
#: And while it prints nothing, for the seconds of the step that runs.
WRITE_SELDOM_S = 1.0
DELIVERY_LABEL = "berth.delivery"
REVISION_LABEL = "berth.revision"
BASE_LABEL = "org.opencontainers.image.base.digest"
BASE_NAME_LABEL = "org.opencontainers.image.base.name"


def build_image(job: ImageBuild, watch: Watch) -> None:
    """Build the image of ``job`` on this node. Repeatable: what an earlier worker left is ended and deleted first."""
    clear_build(job)
    watch.check()
    folder = _folder(job)
    folder.mkdir(parents=True, mode=0o700)
    try:
        _build(job, watch, folder, _mark(job))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_build(job: ImageBuild) -> None:
    """End the client and delete the files of a worker that died. Repeatable."""
    if ended := end_leftovers(_mark(job)):
        logger.warning("Build %s: ended %s processes of an earlier worker", job.pk, ended)
    shutil.rmtree(_folder(job), ignore_errors=True)


def _mark(job: ImageBuild) -> str:
    return f"build-{settings.BERTH_INSTALLATION}-{job.pk}"


def _folder(job: ImageBuild) -> Path:
    return Path(settings.BERTH_DATA_DIR) / "builds" / str(job.pk)


def _build(job: ImageBuild, watch: Watch, folder: Path, mark: str) -> None:
    image = base_image(check(job.dockerfile), job.arguments)
    digest = digest_of(image) if image else ""
    labels = {
        INSTALLATION: settings.BERTH_INSTALLATION,
        DELIVERY_LABEL: str(job.delivery_id),
        REVISION_LABEL: str(job.pk),
        **({BASE_NAME_LABEL: image} if image else {}),
        **({BASE_LABEL: digest} if digest else {}),
    }
    watch.write(labels=labels, base_image=image, base_digest=digest, steps=[], log="")
    watch.check()
    request = BuildRequest(
        mark=mark,
        folder=folder,
        context=_context(Context.from_json(job.context), folder, watch),
        dockerfile=job.dockerfile,
        tag=job.tag,
        arguments=job.arguments,
        secrets=_secrets(job.secret_names),
        labels=labels,
        no_cache=job.no_cache,
    )
    telling = _Telling(watch)
    try:
        image_id, output = build(request, tick=telling.tick)
    finally:
        telling.write()
    found = find_image(image_id)
    watch.write(
        image_id=image_id,
        size_bytes=found.size_bytes if found else None,
        base_digest=digest or output.base_digest,
    )


class _Telling:
    """Writes what was printed into the row, a few times a second at most, and gives up when the job is to end."""

    def __init__(self, watch: Watch, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._clock = clock
        self._written_at = float("-inf")
        self._written_lines = 0
        self._output: BuildOutput | None = None

    def tick(self, output: BuildOutput) -> None:
        """Take in how far the build is. Raises JobCancelledError."""
        self._output = output
        steps = output.steps()
        running = next((step for step in reversed(steps) if step.state == "running"), None)
        ended = sum(step.state != "running" for step in steps)
        self._watch.report(Progress(step=running.text[:100] if running else "", done=ended, unit="steps"))
        has_news = output.log.lines != self._written_lines
        if self._clock() - self._written_at >= (WRITE_EVERY_S if has_news else WRITE_SELDOM_S):
            self.write()
        self._watch.check()

    def write(self) -> None:
        """Write it now."""
        self._written_at = self._clock()
        if self._output is not None:
            self._written_lines = self._output.log.lines
            steps = [step.to_json() for step in self._output.steps()]
            self._watch.write(steps=steps, log=self._output.log.text())


def _context(context: Context, folder: Path, watch: Watch) -> Path:
    """The folder that holds the context on this node. Raises InvalidInputError or BuildError."""
    if context.kind == FOLDER:
        found = read_folder(context.path)
        # What it held when it was built; the page that chose it may be on another host.
        watch.write(context=found.to_json())
        return Path(found.path)
    unpacked = folder / "context"
    unpacked.mkdir()
    if context.kind == ARCHIVE:
        archive = ContextArchive.objects.filter(digest=context.digest).first()
        if archive is None:
            message = _("The uploaded build context %(name)s is not here any more. Upload it again.")
            raise BuildError(message % {"name": context.name}, code="context_missing")
        unpack(bytes(archive.data), unpacked)
    return unpacked


def _secrets(names: list[str]) -> dict[str, str]:
    """The values of this node's secrets. Raises BuildError for one that it has not."""
    missing = [name for name in names if not settings.BERTH_SECRETS.get(name)]
    if missing:
        message = _("This node has no value for the secret %(names)s. Set it in Berth's environment there.")
        raise BuildError(message % {"names": ", ".join(missing)}, code="secret_missing")
    return {name: settings.BERTH_SECRETS[name] for name in names}
