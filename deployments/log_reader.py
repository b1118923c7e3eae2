"""Reads the log of an attempt from one end to the other, for the command line and for the file to download.

From its live stream while it runs, and from what the database kept once it ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from django.utils.translation import gettext as _

from .exceptions import NotFoundError, RuntimeUnavailableError
from .log_position import Gap, LogPosition, Piece, kept_text
from .log_text import plain
from .logs import stream_key
from .models import Attempt, Deployment
from .redis import RedisError, StreamEntry, client
from .runtimes.base import LogLine

PAGE_LINES = 1000


def newest_logged_attempt(deployment: Deployment) -> int | None:
    """The number of the newest attempt that has printed anything. Raises RuntimeUnavailableError."""
    number = deployment.attempt
    if kept_text(deployment.pk, number) is None and _page(deployment.pk, number, "0-0"):
        return number
    return deployment.attempts.exclude(log="").values_list("number", flat=True).last()


class LogReader:
    """One attempt's log, piece by piece; ``ended`` is true once there will be no more."""

    def __init__(self, deployment_id: int, attempt: int) -> None:
        self.deployment_id = deployment_id
        self.attempt = attempt
        self.position = LogPosition()
        self.ended = False

    def read(self) -> list[Piece]:
        """What is new, empty for nothing at the moment. Raises RuntimeUnavailableError when Redis is away.

        Of an attempt that has ended, the database's text is the truth: a stream may have lost lines.
        """
        if self.ended:
            return []
        # Asked before the stream is read, so that nothing is written between the two.
        kept = kept_text(self.deployment_id, self.attempt)
        is_new = self.position.cursor == 0
        entries = [] if kept and is_new else self._entries(is_over=kept is not None)
        pieces = self.position.take(entries)
        if kept is not None and not entries:
            pieces += self.position.take_kept(kept)
            self.ended = True
        self.ended = self.ended or self.position.is_complete
        return pieces

    def _entries(self, *, is_over: bool) -> list[StreamEntry]:
        try:
            return _page(self.deployment_id, self.attempt, self.position.entry_id)
        except RuntimeUnavailableError:
            if is_over:
                return []
            raise


def require_attempt(deployment_id: int, attempt: int) -> None:
    """Raises NotFoundError for an attempt that never was."""
    known = Attempt.objects.filter(deployment=deployment_id, number=attempt).exists()
    if attempt < 1 or (not known and not Deployment.objects.filter(pk=deployment_id, attempt__gte=attempt).exists()):
        raise NotFoundError(_("This run had no attempt %(number)s.") % {"number": attempt})


def log_file_lines(deployment_id: int, attempt: int) -> Iterator[str]:
    """The whole log as lines of plain text, with times and streams while they are known.

    Raises NotFoundError for an attempt that never was, RuntimeUnavailableError when only Redis has it and is away.
    """
    require_attempt(deployment_id, attempt)
    reader = LogReader(deployment_id, attempt)
    while pieces := reader.read():
        for piece in pieces:
            yield f"{_with_time(piece)}\n"


def text_of(piece: Piece) -> str:
    """A line as it was printed, or the words for a gap."""
    return piece.text if isinstance(piece, LogLine) else str(piece)


def _with_time(piece: Piece) -> str:
    if isinstance(piece, Gap):
        return str(piece)
    if not piece.at:
        return plain(piece.text)
    at = datetime.fromtimestamp(piece.at, UTC).isoformat(timespec="milliseconds")
    return f"{at} {piece.stream:<5} {plain(piece.text)}"


def _page(deployment_id: int, attempt: int, after: str) -> list[StreamEntry]:
    try:
        return client().xrange(stream_key(deployment_id, attempt), min=f"({after}", count=PAGE_LINES)
    except RedisError as error:
        sentence = _("The log cannot be read now: Redis does not answer (%(detail)s).") % {"detail": error}
        raise RuntimeUnavailableError(sentence) from error
