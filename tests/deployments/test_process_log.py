"""The log of a kept process: bounded, complete or with its gaps counted."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deployments.runtimes import log_segments
from deployments.runtimes.base import RunState
from deployments.runtimes.log_lines import read_lines
from deployments.runtimes.log_segments import SegmentWriter
from tests.deployments.benches import ProcessBench, wait_for_state

MOST_BYTES = (log_segments.HEAD_SEGMENTS + log_segments.TAIL_SEGMENTS) * (log_segments.SEGMENT_BYTES + 200_000)


def texts(folder: Path) -> list[str]:
    return [line.text for line in read_lines(folder, cursor=0, limit=10_000).lines]


def write(folder: Path, *pieces: bytes) -> None:
    writer = SegmentWriter(str(folder))
    for piece in pieces:
        writer.feed("out", piece)
    writer.close()


def test_pieces_are_put_together_to_lines(tmp_path: Path) -> None:
    write(tmp_path, b"first ", b"line\nsecond", b"\n\nno end")
    assert texts(tmp_path) == ["first line", "second", "", "no end"]


def test_a_progress_bar_is_a_line_each_time_it_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, b"\r 10%", b"\r 20%\r", b"\n done\r\nnext\n")
    assert texts(tmp_path) == [" 10%", " 20%", " done", "next"]


def test_streams_have_pieces_of_their_own(tmp_path: Path) -> None:
    writer = SegmentWriter(str(tmp_path))
    writer.feed("out", b"to ")
    writer.feed("err", b"oops\n")
    writer.feed("out", b"be\n")
    writer.close()
    lines = read_lines(tmp_path, cursor=0, limit=10).lines
    assert [(line.stream, line.text) for line in lines] == [("err", "oops"), ("out", "to be")]


def test_an_endless_line_is_cut_and_says_by_how_much(tmp_path: Path) -> None:
    write(tmp_path, *[b"x" * 1000] * 10, b"\nshort\n")
    long, short = texts(tmp_path)
    assert long == "x" * log_segments.LINE_BYTES + f" [{10_000 - log_segments.LINE_BYTES} more bytes]"
    assert short == "short"


def test_escape_sequences_and_broken_characters_are_harmless(tmp_path: Path) -> None:
    write(tmp_path, b"\x1b[31mred\x1b[0m \x1b]0;title\x07 a\tb \xff\x00\n")
    assert texts(tmp_path) == ["\x1b[31mred\x1b[0m  a\tb �"]


def test_head_and_tail_are_kept_and_the_gap_is_counted(tmp_path: Path) -> None:
    writer = SegmentWriter(str(tmp_path))
    for start in range(0, 200_000, 500):
        writer.feed("out", b"".join(b"line %d of a long log\n" % number for number in range(start + 1, start + 501)))
    writer.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < MOST_BYTES

    seen, skipped, cursor = 0, 0, 0
    while True:
        chunk = read_lines(tmp_path, cursor=cursor, limit=1000)
        if not chunk.lines:
            break
        assert all(line.text == f"line {line.cursor} of a long log" for line in chunk.lines)
        seen, skipped, cursor = seen + len(chunk.lines), skipped + chunk.skipped_lines, chunk.next_cursor
    assert skipped > 0
    assert seen + skipped == cursor == 200_000
    assert read_lines(tmp_path, cursor=0, limit=1).lines[0].text.startswith("line 1 of")


def test_a_second_writer_goes_on_with_the_numbers(tmp_path: Path) -> None:
    write(tmp_path, b"one\ntwo\n")
    write(tmp_path, b"three\n")
    assert [line.cursor for line in read_lines(tmp_path, cursor=0, limit=10).lines] == [1, 2, 3]


def test_a_line_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    write(tmp_path, b"one\n")
    with (tmp_path / "000000000001.log").open("ab") as file:
        file.write(b"2 17")
    assert texts(tmp_path) == ["one"]
    write(tmp_path, b"two\n")
    assert texts(tmp_path) == ["one", "two"]


def test_lines_lost_to_a_full_disk_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(str(tmp_path))
    writer.feed("out", b"one\n")
    really_write = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 5:
            return really_write(handle, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        writer.feed("out", b"two\nthree\nfour\n")
    writer.feed("out", b"five\n")
    writer.close()
    first = read_lines(tmp_path, cursor=0, limit=10)
    rest = read_lines(tmp_path, cursor=first.next_cursor, limit=10)
    assert [line.text for line in first.lines] == ["one"]
    assert [(line.cursor, line.text) for line in rest.lines] == [(5, "five")]
    assert rest.skipped_lines == 3


@pytest.mark.slow
def test_a_process_that_floods_its_log_costs_bounded_disk(tmp_path: Path) -> None:
    bench = ProcessBench(tmp_path)
    run = bench.program("import sys\nfor _ in range(1000): sys.stdout.write(('y' * 99 + '\\n') * 1000)\nprint('end')")
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    assert wait_for_state(bench.runtime, run.name, RunState.EXITED).exit_code == 0
    folder = tmp_path / "processes" / run.name / "log"
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES
    last = bench.runtime.logs(run.name).lines[-1]
    while chunk := bench.runtime.logs(run.name, cursor=last.cursor).lines:
        last = chunk[-1]
    assert (last.cursor, last.text) == (1_000_001, "end")
    bench.close()
