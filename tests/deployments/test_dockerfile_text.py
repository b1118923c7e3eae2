"""Reading any Dockerfile: continued lines, here-documents and what only looks like one, and secrets untold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.deliveries.dockerfile_text import check, instructions
from deployments.exceptions import InvalidInputError

TOKEN = "hf_" + "abcdefghijklmnopqrst"


def read(text: str) -> list[tuple[int, str, str]]:
    return [(each.line, each.word, each.rest) for each in instructions(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\nrun true\n", [(1, "FROM", "a"), (2, "RUN", "true")]),
        ("# escape=`\nFROM a\nRUN one `\n  two\n", [(2, "FROM", "a"), (3, "RUN", "one two")]),
        ("FROM a\r\nRUN one \\\r\n# why\r\n\r\n  two\r\n", [(1, "FROM", "a"), (2, "RUN", "one two")]),
        (
            "FROM a\nRUN <<EOF\nRNU true\nEOF\nUSER b",
            [(1, "FROM", "a"), (2, "RUN", "<<EOF\nRNU true"), (5, "USER", "b")],
        ),
        (
            "FROM a\nCOPY <<-'X' <<Y /d/\n\tone\n\tX\ntwo\nY",
            [(1, "FROM", "a"), (2, "COPY", "<<-'X' <<Y /d/\none\ntwo")],
        ),
        ("ARG V=1\nFROM a:$V", [(1, "ARG", "V=1"), (2, "FROM", "a:$V")]),
    ],
)
def test_instructions_are_read_with_their_lines(text: str, found: list[tuple[int, str, str]]) -> None:
    assert read(text) == found


@pytest.mark.parametrize("command", ["cat <<<hello", "echo $((1<<N))", "test 1 << n", "sh -c 'cat <<EOF'"])
def test_what_only_looks_like_a_here_document_takes_no_lines(command: str) -> None:
    assert read(f"FROM a\nRUN {command}\nUSER b\n")[1:] == [(2, "RUN", command), (3, "USER", "b")]


@pytest.mark.parametrize(
    "line",
    [
        f"RUN curl -H 'Authorization: Bearer {TOKEN}' x",
        f"RUN <<EOF\nexport X={TOKEN}\nEOF",
        f"LABEL a={TOKEN}",
        "ENV API_KEY=letmein",
        "ENV API_KEY letmein",
        'ENV A=1 HF_TOKEN="letmein"',
        "ARG DB_PASSWORD=letmein",
    ],
)
def test_a_secret_in_the_text_is_refused_with_its_line_and_without_its_value(line: str) -> None:
    with pytest.raises(InvalidInputError, match="Line 2 of the Dockerfile: ") as refused:
        check(f"FROM a\n{line}\n")
    assert "build secret" in str(refused.value)
    assert "letmein" not in str(refused.value)
    assert TOKEN not in str(refused.value)


@given(st.text(alphabet="FROMRUNCPY a\\\n<-E'\"#=$`", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = check(f"FROM a\n{text}")
    except InvalidInputError:
        return
    assert found[0].word == "FROM"
    lines = [each.line for each in found]
    assert lines == sorted(set(lines))
