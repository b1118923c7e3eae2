"""The docker runtime: implements the Protocol of :mod:`deployments.runtimes.base` with one container a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException

from deployments.exceptions import LaunchError, RuntimeFaultError, RuntimeUnavailableError
from deployments.registries.credentials import Credentials
from deployments.runtimes.base import Cancelled, LogChunk, Report, RunObservation, RunSpec, RunState

from . import events, images, labels
from .engine import answers, connect, new_connection, ping, refuse, server_version, silent
from .node_log import NodeLog
from .observations import STATES, observation
from .options import Reach, container_options, host_options

PORT = "berth.port"
CONFLICT = 409
#: Removing a container takes the engine a moment; what is still there after this is said to be.
REMOVED_WITHIN_S = 10.0
#: "task ID: already exists": said by containerd, which lives through the engine's death.
LEFT_HALF_STARTED = "already exists"


class DockerRuntime:
    """Implements :class:`deployments.runtimes.base.Runtime`; ``logs`` is the node's folder for copies of logs.

    ``credentials_for`` knows names and passwords for the registries of images.
    """

    name = "docker"

    def __init__(
        self, reach: Reach, *, logs: Path, credentials_for: Callable[[str], Credentials] = lambda _image: Credentials()
    ) -> None:
        self.reach = reach
        self._credentials_for = credentials_for
        self._logs = logs

    def is_offered(self) -> bool:
        """Whether the engine answers; see the Protocol."""
        try:
            ping(connect())
        except RuntimeUnavailableError:
            return False
        return True

    def version(self) -> str:
        """The engine's; see the Protocol."""
        with answers() as client:
            return server_version(client)

    def has_image(self, image: str) -> bool:
        """Whether the image is on this host; see the Protocol."""
        with answers() as client:
            try:
                client.inspect_image(image)  # type: ignore[no-untyped-call]  # missing in the stubs
            except ImageNotFound:
                return False
        return True

    def ensure_image(self, image: str, *, report: Report, cancelled: Cancelled) -> None:
        """Pull the image unless it is here; see the Protocol."""
        if not self.has_image(image):
            images.pull(image, credentials=self._credentials_for(image), report=report, cancelled=cancelled)

    def create(self, run: RunSpec) -> None:
        """Create the container, or adopt ours of that name; see the Protocol. Code ``name_in_use`` for another's."""
        with answers() as client:
            if self._find(client, run.name, refuse_foreign=True) is not None:
                return
            try:
                self._ensure_network(client)
                options = container_options(run, self.reach)
                options["labels"] |= {PORT: str(run.port)}
                limits = client.create_host_config(**host_options(run, self.reach))
                client.create_container(**options, host_config=limits)
            except ImageNotFound as error:
                message = _("The image %(image)s is not on this host.") % {"image": run.image}
                raise LaunchError(message, code="image_missing", image=run.image) from error
            except APIError as error:
                # Of two workers that create at once, one hears that the name is taken: by the other, or by a stranger.
                taken = error.response is not None and error.response.status_code == CONFLICT
                if not taken or self._find(client, run.name, refuse_foreign=True) is None:
                    refuse(error)

    def start(self, name: str) -> None:
        """Start what was created; see the Protocol."""
        with answers() as client:
            container = self._find(client, name)
            if container is None:
                raise RuntimeFaultError(_("The run %(name)s does not exist.") % {"name": name}, code="vanished")
            if container["State"]["Status"] != "created":
                return
            try:
                client.start(name)
            except APIError as error:
                if LEFT_HALF_STARTED in str(error):
                    # The engine was killed in the middle of this very start and never gets over it. The container has
                    # not run: without it, the next look makes another.
                    client.remove_container(container["Id"], v=True, force=True)
                    raise silent(error) from error
                refuse(error)

    def observe(self, name: str) -> RunObservation:
        """What the engine says of the container; see the Protocol."""
        try:
            with answers() as client:
                container = self._find(client, name)
        except RuntimeUnavailableError as error:
            return RunObservation(state=RunState.UNKNOWN, detail=error.params.get("detail") or str(error))
        if container is None:
            return RunObservation(state=RunState.GONE)
        return observation(container, self.reach, port=int(container["Config"]["Labels"].get(PORT) or 0))

    def stop(self, name: str, *, force: bool) -> None:
        """Signal the container's first process; see the Protocol. A paused one is woken, or it would never hear."""
        with answers() as client:
            container = self._find(client, name)
            if container is None or STATES.get(container["State"]["Status"]) is not RunState.RUNNING:
                return
            with contextlib.suppress(NotFound), _ended_meanwhile():
                if container["State"]["Paused"]:
                    client.unpause(name)
                client.kill(name, "SIGKILL" if force else "SIGTERM")

    def remove(self, name: str) -> None:
        """Remove the ended container and its anonymous volumes; see the Protocol. Named volumes stay."""
        with answers() as client:
            container = self._find(client, name)
            if container is None:
                self._copy(name).remove()
                return
            if STATES.get(container["State"]["Status"]) is RunState.RUNNING:
                message = _("%(name)s still runs. Stop it before it is removed.")
                raise RuntimeFaultError(message % {"name": name}, code="still_running")
            with contextlib.suppress(NotFound), _ended_meanwhile():
                client.remove_container(container["Id"], v=True)
            ends_at = time.monotonic() + REMOVED_WITHIN_S
            while self._find(client, name) is not None:
                if time.monotonic() > ends_at:
                    message = _("The engine has not removed %(name)s within %(seconds)s s.")
                    told = message % {"name": name, "seconds": int(REMOVED_WITHIN_S)}
                    raise RuntimeFaultError(told, code="still_running")
                time.sleep(0.05)
        self._copy(name).remove()

    def logs(self, name: str, *, cursor: int = 0, limit: int = 1000, fetch: bool = True) -> LogChunk:
        """Lines of the node's copy, brought up to date unless a follower does so; see the Protocol."""
        copy = self._copy(name)
        if fetch:
            with answers() as client:
                container = self._find(client, name)
                if container is not None:
                    # After the end the whole log is wanted: a follower may still be at its last lines.
                    has_ended = STATES.get(container["State"]["Status"]) is RunState.EXITED
                    copy.catch_up(client, name, has_ended=has_ended)
        return copy.read(cursor=cursor, limit=limit)

    def follow(self, name: str, *, ended: Callable[[], bool]) -> None:
        """Keep the node's copy of the log in step; see the Protocol."""
        client = new_connection()
        try:
            if self._runs(client, name):
                self._copy(name).follow(client, name, ended=ended, runs=lambda: self._runs(client, name))
        except (DockerException, RequestException, OSError) as error:
            raise silent(error) from error
        finally:
            client.close()

    def _runs(self, client: Any, name: str) -> bool:
        container = self._find(client, name)
        return container is not None and STATES.get(container["State"]["Status"]) is RunState.RUNNING

    def _copy(self, name: str) -> NodeLog:
        return NodeLog(self._logs / name)

    def owned(self) -> Mapping[str, RunState]:
        """All runs of this installation, by one list; see the Protocol."""
        with answers() as client:
            found = client.containers(all=True, filters=labels.ours())
        return {
            container["Names"][0].lstrip("/"): STATES.get(container["State"], RunState.UNKNOWN)
            for container in sorted(found, key=lambda each: str(each["Names"]))
            if container["Names"]
        }

    def members(self, name: str) -> frozenset[int]:
        """Pids as the engine's host counts them; see the Protocol."""
        try:
            with answers() as client:
                if self._find(client, name) is None:
                    return frozenset()
                table = client.top(name)
        except (APIError, RuntimeUnavailableError):
            return frozenset()
        column = table["Titles"].index("PID")
        return frozenset(int(row[column]) for row in table["Processes"] or [])

    def changes(self, *, ended: Callable[[], bool]) -> Iterator[str]:
        """Names from the engine's events; see the Protocol."""
        return events.changes(ended=ended)

    def _find(self, client: Any, name: str, *, refuse_foreign: bool = False) -> dict[str, Any] | None:
        """What the engine knows of our container of that name; None when there is none, or it is not ours."""
        try:
            container: dict[str, Any] = client.inspect_container(name)
        except NotFound:
            return None
        if labels.is_ours(container["Config"]["Labels"]):
            return container
        if refuse_foreign:
            message = _("A container called %(name)s is here already and is not Berth's (%(id)s).")
            told = message % {"name": name, "id": container["Id"][:12]}
            raise LaunchError(told, code="name_in_use", name=name, detail=told)
        return None

    def _ensure_network(self, client: Any) -> None:
        if not self.reach.network:
            return
        try:
            client.inspect_network(self.reach.network)
        except NotFound:
            with _ended_meanwhile():  # made by another worker at the same time
                client.create_network(self.reach.network, driver="bridge", check_duplicate=True)


@contextlib.contextmanager
def _ended_meanwhile() -> Iterator[None]:
    """What was to be done has happened by itself: the engine calls that a conflict."""
    try:
        yield
    except APIError as error:
        if error.response is None or error.response.status_code != CONFLICT:
            raise
