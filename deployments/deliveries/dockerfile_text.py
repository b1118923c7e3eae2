"""Reads a Dockerfile as far as Berth must know it: its instructions with their lines, and its base image.

After Docker's "Dockerfile reference". What a shell within RUN does is hadolint's and the engine's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.secret_references import contains_token, is_secret_name

MOST_CHARACTERS = 100_000
INSTRUCTIONS = frozenset(
    {
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
        *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
    }
)
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(.*)", re.IGNORECASE)
#: A word of its own, as BuildKit has it: neither `<<<text` nor `$((1<<N))` nor `1 << n` opens one.
_HEREDOC = re.compile(r"(?<!\S)\d*<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2(?!\S)")
_FROM = re.compile(r"(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?([-+])([^}]*))?\}|([A-Za-z_]\w*))")
_PAIR = re.compile(r"""([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|'[^']*'|\S*)""")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction: ``word`` in capitals, ``rest`` with its lines joined, and where it begins, from 1."""

    line: int
    word: str
    rest: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong in a line, from 1; 0 is the whole text."""

    line: int
    message: str


class DockerfileError(InvalidInputError):
    """A Dockerfile was refused; ``problem`` names the line."""

    def __init__(self, problem: Problem) -> None:
        message = problem.message
        if problem.line:
            told = {"line": problem.line, "message": problem.message}
            message = _("Line %(line)s of the Dockerfile: %(message)s") % told
        super().__init__(message, fields={"dockerfile": [message]})
        self.problem = problem


def instructions(text: str) -> list[Instruction]:
    """The instructions in order. Raises DockerfileError, naming the line, for a text that does not parse."""
    found = list(_read(text))
    problem = next(_order_problems(found), None)
    if problem:
        raise DockerfileError(problem)
    return found


def secret_problems(found: Sequence[Instruction]) -> Iterator[Problem]:
    """Literal tokens, and values that ARG or ENV give to names of secrets: all of them would lie in the image."""
    for each in found:
        if contains_token(each.rest):
            yield Problem(
                line=each.line,
                message=_("It holds a token, which would stay in the image. Use a build secret (--mount=type=secret)."),
            )
        elif each.word in ("ARG", "ENV") and (name := _secret_given(each)):
            message = _("%(name)s is a secret, and its value would stay in the image. Use a build secret.")
            yield Problem(line=each.line, message=message % {"name": name})


def check(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile that may be built. Raises DockerfileError, naming the line."""
    if len(text) > MOST_CHARACTERS:
        message = _("The Dockerfile is longer than %(count)s characters.") % {"count": f"{MOST_CHARACTERS:,}"}
        raise DockerfileError(Problem(line=0, message=message))
    found = instructions(text)
    problem = next(secret_problems(found), None)
    if problem:
        raise DockerfileError(problem)
    return found


def base_image(found: Sequence[Instruction], arguments: Mapping[str, str]) -> str:
    """What the last stage begins from, through other stages; empty for ``scratch``."""
    known: dict[str, str] = {}
    stages: dict[str, str] = {}
    image = ""
    for each in found:
        if each.word == "ARG" and not stages and not image:
            name, _equals, value = each.rest.partition("=")
            known[name.strip()] = arguments.get(name.strip(), value.strip().strip("\"'"))
        elif each.word == "FROM" and (match := _FROM.match(each.rest)):
            named = _expand(match[1], known)
            image = stages.get(named.lower(), named)
            if match[2]:
                stages[match[2].lower()] = image
    return "" if image == "scratch" else image


def _read(text: str) -> Iterator[Instruction]:
    lines = text.replace("\r\n", "\n").split("\n")
    escape, directives, at = "\\", True, 0
    while at < len(lines):
        line = lines[at].strip()
        begins = at
        at += 1
        if not line or line.startswith("#"):
            if directives and (match := _DIRECTIVE.match(line)):
                escape = match[2].strip() if match[1].lower() == "escape" else escape
            else:
                directives = False
            continue
        directives = False
        parts = [line]
        while parts[-1].endswith(escape) and at < len(lines):
            parts[-1] = parts[-1].removesuffix(escape).rstrip()
            following = lines[at].strip()
            at += 1
            # Comments and empty lines within a continued instruction are passed over.
            parts.append(following if following and not following.startswith("#") else escape)
        parts[-1] = parts[-1].removesuffix(escape)
        joined = " ".join(part for part in parts if part)
        word, _space, rest = joined.partition(" ")
        if word.upper() in ("RUN", "COPY", "ADD"):
            at, body = _heredocs(rest, lines, at, begins)
            rest += body
        yield _instruction(begins + 1, word, rest.strip())


def _instruction(line: int, word: str, rest: str) -> Instruction:
    if word.upper() not in INSTRUCTIONS:
        message = _("“%(word)s” is no instruction of a Dockerfile.") % {"word": word[:50]}
        raise DockerfileError(Problem(line=line, message=message))
    if not rest:
        raise DockerfileError(Problem(line=line, message=_("%(word)s says nothing.") % {"word": word.upper()}))
    return Instruction(line=line, word=word.upper(), rest=rest)


def _heredocs(rest: str, lines: Sequence[str], at: int, begins: int) -> tuple[int, str]:
    """Where the text goes on after the here-documents that ``rest`` opens, and what they hold."""
    body = ""
    for dash, _quote, name in _HEREDOC.findall(rest):
        while True:
            if at >= len(lines):
                message = _("The text that %(name)s should end has no end.") % {"name": name}
                raise DockerfileError(Problem(line=begins + 1, message=message))
            line = lines[at].lstrip("\t") if dash else lines[at]
            at += 1
            if line == name:
                break
            body += f"\n{line}"
    return at, body


def _order_problems(found: Sequence[Instruction]) -> Iterator[Problem]:
    first = next((each for each in found if each.word != "ARG"), None)
    if first is None:
        yield Problem(line=0, message=_("The Dockerfile has no FROM, so nothing could be built."))
    elif first.word != "FROM":
        yield Problem(line=first.line, message=_("%(word)s stands before the first FROM.") % {"word": first.word})
    for each in found:
        if each.word == "FROM" and _FROM.match(each.rest) is None:
            yield Problem(line=each.line, message=_("FROM takes an image, and AS with a name after it."))


def _secret_given(each: Instruction) -> str:
    pairs = [(name, value.strip("\"'")) for name, value in _PAIR.findall(each.rest)]
    if each.word == "ENV" and not pairs:
        name, _space, value = each.rest.partition(" ")
        pairs = [(name, value.strip())]
    return next((name for name, value in pairs if is_secret_name(name) and value and not value.startswith("$")), "")


def _expand(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        own = known.get(match[1] or match[4], "")
        if match[2] == "+":
            return match[3] if own else ""
        return own or match[3] or ""

    return _VARIABLE.sub(value, text)
