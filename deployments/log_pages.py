"""Stretches of a log for the page: what lies before a line, after it or around it; and the search over the whole.

Of an attempt that has ended, the database's text is the truth, with the times and streams that its stream still knows.
While it runs, the stream is read, and what was trimmed from it is asked of the node.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from . import log_queries
from .exceptions import InvalidInputError, RuntimeUnavailableError
from .log_position import Gap, LogPosition, Piece, cursor_of, kept_text
from .log_reader import require_attempt
from .log_text import matches
from .logs import stream_key
from .redis import RedisError, StreamEntry, client
from .runtimes.base import LogLine

logger = logging.getLogger(__name__)
PAGE_LINES = 500
READ_LINES = 1000
#: Of very many matches the page gets the numbers of the newest; all are counted.
MOST_MATCHES = 2000
MOST_SEARCHED_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Lines and gaps in their order, and whether there is more before and after."""

    pieces: Sequence[Piece]
    has_older: bool
    has_newer: bool


@dataclass(frozen=True, kw_only=True)
class Matches:
    """``total`` lines match, ``cursors`` are the newest of them, oldest first; ``upto`` is the last line searched."""

    total: int
    cursors: Sequence[int]
    upto: int


def lines_before(deployment_id: int, attempt: int, cursor: int) -> Stretch:
    """The page that ends just before the line ``cursor``. Raises NotFoundError, RuntimeUnavailableError."""
    source = _source(deployment_id, attempt)
    pieces = source.before(cursor, PAGE_LINES)
    if not pieces and cursor > 1:
        pieces = [Gap(cursor - 1, cursor - 1)]
    return Stretch(pieces=pieces, has_older=_first(pieces, 1) > 1, has_newer=True)


def lines_after(deployment_id: int, attempt: int, cursor: int) -> Stretch:
    """The page that begins just after the line ``cursor``. Raises NotFoundError, RuntimeUnavailableError."""
    pieces = _source(deployment_id, attempt).after(cursor, PAGE_LINES + 1)
    return Stretch(pieces=pieces[:PAGE_LINES], has_older=cursor > 0, has_newer=len(pieces) > PAGE_LINES)


def lines_around(deployment_id: int, attempt: int, cursor: int) -> Stretch:
    """The page in whose middle the line ``cursor`` is; of a number beyond the end, the end."""
    source = _source(deployment_id, attempt)
    half = PAGE_LINES // 2
    after = source.after(cursor, half + 1)
    before = source.before(cursor + 1, half)
    return Stretch(pieces=[*before, *after[:half]], has_older=_first(before, 1) > 1, has_newer=len(after) > half)


def search_log(deployment_id: int, attempt: int, text: str) -> Matches:
    """The lines that have ``text`` in them, whatever its case; it is plain text, never a pattern.

    Raises InvalidInputError for nothing or too much to search for, NotFoundError, RuntimeUnavailableError.
    """
    if not text.strip() or len(text) > MOST_SEARCHED_CHARACTERS:
        limit = {"limit": MOST_SEARCHED_CHARACTERS}
        raise InvalidInputError(_("Search for at least one character and at most %(limit)s.") % limit)
    source = _source(deployment_id, attempt)
    if isinstance(source, _Living):
        return source.search(text.lower())
    return _search(source, text.lower()).matches


class _Kept:
    """The database's text, with times and streams from the stream as far as it goes."""

    def __init__(self, stream: _Stream, text: str) -> None:
        self._stream = stream
        self._pieces = LogPosition().take_kept(text)

    def before(self, cursor: int, limit: int) -> list[Piece]:
        """Up to ``limit`` pieces that lie before ``cursor``."""
        return self._timed([piece for piece in self._pieces if _last(piece) < cursor][-limit:])

    def after(self, cursor: int, limit: int) -> list[Piece]:
        """Up to ``limit`` pieces that end after ``cursor``."""
        return self._timed([piece for piece in self._pieces if _last(piece) > cursor][:limit])

    def _timed(self, pieces: list[Piece]) -> list[Piece]:
        lines = [piece for piece in pieces if isinstance(piece, LogLine)]
        if not lines:
            return pieces
        try:
            known = self._stream.lines_between(lines[0].cursor, lines[-1].cursor)
        except RuntimeUnavailableError:
            return pieces
        return [
            _with_time_of(piece, known.get(piece.cursor)) if isinstance(piece, LogLine) else piece for piece in pieces
        ]


class _Stream:
    """The live stream."""

    def __init__(self, deployment_id: int, attempt: int) -> None:
        self._key = stream_key(deployment_id, attempt)

    def before(self, cursor: int, limit: int) -> list[Piece]:
        """Up to ``limit`` pieces that lie before ``cursor``."""
        entries = self._range(last=f"({cursor}-0", count=limit, newest_first=True)[::-1]
        if not entries:
            return []
        entry_id, fields = entries[0]
        return LogPosition(cursor_of(entry_id) - int(fields.get("gap", 1))).take(entries)

    def after(self, cursor: int, limit: int) -> list[Piece]:
        """Up to ``limit`` pieces that end after ``cursor``."""
        return LogPosition(cursor).take(self._range(first=f"({cursor}-0", count=limit))

    def lines_between(self, first: int, last: int) -> dict[int, LogLine]:
        """The lines that the stream still has, by cursor."""
        entries = self._range(first=f"{first}-0", last=f"{last}-9")
        pieces = LogPosition(first - 1).take(entries)
        return {piece.cursor: piece for piece in pieces if isinstance(piece, LogLine)}

    def _range(
        self, *, first: str = "-", last: str = "+", count: int | None = None, newest_first: bool = False
    ) -> list[StreamEntry]:
        try:
            if newest_first:
                return client().xrevrange(self._key, max=last, min=first, count=count)
            return client().xrange(self._key, min=first, max=last, count=count)
        except RedisError as error:
            sentence = _("The log cannot be read now: Redis does not answer (%(detail)s).") % {"detail": error}
            raise RuntimeUnavailableError(sentence) from error


class _Living:
    """The stream, and the node for what the stream lacks; of a silent node the gaps are shown."""

    def __init__(self, stream: _Stream, deployment_id: int, attempt: int) -> None:
        self._stream = stream
        self._run = (deployment_id, attempt)

    def before(self, cursor: int, limit: int) -> list[Piece]:
        """Up to ``limit`` pieces that lie before ``cursor``."""
        pieces = self._stream.before(cursor, limit)
        is_complete = _is_unbroken(pieces) and (len(pieces) >= limit or _first(pieces, cursor) == 1)
        if is_complete or cursor <= 1:
            return pieces
        try:
            page = log_queries.older(*self._run, cursor, limit=limit)
        except RuntimeUnavailableError as error:
            return self._without_node(pieces, error)
        if not page.lines:
            return pieces
        # What lies before these lines is a gap of its own only where the node has nothing more.
        start = 0 if page.reached_start else page.lines[0].cursor - 1
        told = LogPosition(start).take_lines(page.lines)
        last = _last(told[-1])
        return told if last == cursor - 1 else [*told, Gap(cursor - 1 - last, cursor - 1)]

    def after(self, cursor: int, limit: int) -> list[Piece]:
        """Up to ``limit`` pieces that end after ``cursor``."""
        pieces = self._stream.after(cursor, limit)
        if _is_unbroken(pieces):
            return pieces
        try:
            page = log_queries.newer(*self._run, cursor, limit=limit)
        except RuntimeUnavailableError as error:
            return self._without_node(pieces, error)
        return LogPosition(cursor).take_lines(page.lines) or pieces

    def _without_node(self, pieces: list[Piece], error: RuntimeUnavailableError) -> list[Piece]:
        logger.info("Of log %s only the stream is shown: %s", self._run, error)
        return pieces

    def search(self, wanted: str) -> Matches:
        """All lines with a text; in the node's copy too unless the stream has every line."""
        found = _search(self._stream, wanted)
        if found.is_unbroken:
            return found.matches
        try:
            told = log_queries.search(*self._run, wanted)
        except RuntimeUnavailableError:
            if not found.matches.upto:  # nothing was printed, as far as anybody knows
                return found.matches
            raise
        both = sorted({*told.cursors, *found.matches.cursors})
        return Matches(
            total=max(told.total, found.matches.total, len(both)),
            cursors=both[-MOST_MATCHES:],
            upto=max(told.upto, found.matches.upto),
        )


@dataclass(frozen=True, kw_only=True)
class _Found:
    matches: Matches
    is_unbroken: bool


def _search(source: _Kept | _Stream, wanted: str) -> _Found:
    found: list[int] = []
    cursor, is_unbroken = 0, True
    # Of a stream that is empty nobody knows whether it has expired.
    while pieces := source.after(cursor, READ_LINES):
        is_unbroken = is_unbroken and _is_unbroken(pieces)
        found += [it.cursor for it in pieces if isinstance(it, LogLine) and matches(it.text, wanted)]
        cursor = _last(pieces[-1])
    matched = Matches(total=len(found), cursors=found[-MOST_MATCHES:], upto=cursor)
    return _Found(matches=matched, is_unbroken=is_unbroken and cursor > 0)


def _is_unbroken(pieces: Sequence[Piece]) -> bool:
    return not any(isinstance(piece, Gap) for piece in pieces)


def _source(deployment_id: int, attempt: int) -> _Kept | _Living:
    require_attempt(deployment_id, attempt)
    kept = kept_text(deployment_id, attempt)
    stream = _Stream(deployment_id, attempt)
    return _Living(stream, deployment_id, attempt) if kept is None else _Kept(stream, kept)


def _with_time_of(line: LogLine, known: LogLine | None) -> LogLine:
    return line if known is None else replace(line, at=known.at, stream=known.stream)


def _first(pieces: Sequence[Piece], otherwise: int) -> int:
    if not pieces:
        return otherwise
    piece = pieces[0]
    return piece.last - piece.lines + 1 if isinstance(piece, Gap) else piece.cursor


def _last(piece: Piece) -> int:
    return piece.last if isinstance(piece, Gap) else piece.cursor
