"""Secrets in what a build prints: hidden in its log, its error and its steps, however they are printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.runtimes.docker.build_failures import failure
from deployments.runtimes.docker.build_output import BuildOutput
from deployments.secret_references import HIDDEN

SECRET = "hf_averysecretvalue0123456789"
CONTROLS = ["\x1b[0m", "\x1b[1;31m", "\0", "\r", "\b", "\x7f"]


def told(output: BuildOutput) -> str:
    """All of an output that reaches a row or a page."""
    steps = [step.to_json() for step in output.steps()]
    return "\n".join([output.log.text(), output.error, output.last_words(), str(steps), str(failure(output, 1))])


@given(st.sampled_from(CONTROLS), st.integers(0, len(SECRET)), st.sampled_from(["", "token=", "https://u:"]))
def test_a_secret_with_control_characters_in_it_is_hidden(control: str, at: int, before: str) -> None:
    output = BuildOutput(secrets=[SECRET])
    output.take("#5 [2/2] RUN x")
    output.take(f"#5 0.1 {before}{SECRET[:at]}{control}{SECRET[at:]}@host")
    output.take(f"#5 ERROR: {SECRET[:at]}{control}{SECRET[at:]}: exit code: 1")
    assert SECRET not in told(output)
    assert f"{before}{HIDDEN}@host" in output.log.text()


@pytest.mark.parametrize("value", [f"{SECRET}\r\n", f"-----BEGIN-----\r\n{SECRET}\r\n-----END-----\r\n"])
def test_a_secret_of_windows_lines_is_hidden_line_by_line(value: str) -> None:
    output = BuildOutput(secrets=[value])
    output.take("#5 [2/2] RUN x")
    for line in value.splitlines():
        output.take(f"#5 0.1 {line}")
    assert SECRET not in told(output)


def test_the_longest_secret_is_hidden_first() -> None:
    output = BuildOutput(secrets=["abcd", "abcdefgh"])
    output.take("abcdefgh abcd")
    assert output.log.text() == f"{HIDDEN} {HIDDEN}"
