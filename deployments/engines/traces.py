"""By what an engine is recognised in somebody else's container: its image, its command, where it is told the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .argument_style import ArgumentStyle, option_value

_PROGRAM = re.compile(r"(?:.*/)?(?:python[\d.]*|ba?sh|uv|numactl|local-ai|[\w.-]+\.(?:py|sh))")


@dataclass(frozen=True, kw_only=True)
class Traces:
    """``images`` are pieces of repository names, ``commands`` of command lines; all in lower case.

    ``model_options`` are spellings of the model's option besides those that are suggested, ``model_after`` a word
    that the model may follow, ``model_pattern`` finds it elsewhere in a command line as its first group.
    ``*_variables`` are variables that say what no argument says.
    """

    images: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    model_options: tuple[str, ...] = ()
    model_after: tuple[str, ...] = ()
    model_pattern: str = ""
    model_variables: tuple[str, ...] = ()
    name_variables: tuple[str, ...] = ()
    context_variables: tuple[str, ...] = ()

    def in_image(self, image: str) -> bool:
        """Whether an image's name tells of the engine; its tag says nothing."""
        repository = re.sub(r"(:[^/:]+)?(@.*)?$", "", image.lower())
        return any(piece in repository for piece in self.images)

    def in_command(self, argv: Sequence[str]) -> bool:
        """Whether a command line starts the engine."""
        line = " ".join(argv).lower()
        return any(piece in line for piece in self.commands)

    def model_of(self, style: ArgumentStyle, argv: Sequence[str], environment: Mapping[str, str]) -> str:
        """The model that the engine is told to serve; empty when it is not told."""
        if told := option_value(argv, (*style.model, *self.model_options)):
            return told
        if self.model_pattern and (found := re.search(self.model_pattern, " ".join(argv))):
            return found[1]
        if self.model_after and (positional := self._positional(argv)):
            return positional
        return first_of(environment, self.model_variables)

    def _positional(self, argv: Sequence[str]) -> str:
        """The argument behind a word such as ``serve``, else the first one, unless that is an option or a program."""
        at = max((argv.index(word) + 1 for word in self.model_after if word in argv), default=0)
        candidate = argv[at] if at < len(argv) else ""
        is_model = candidate and not candidate.startswith("-") and (at or not _PROGRAM.fullmatch(candidate))
        return candidate if is_model else ""


def first_of(environment: Mapping[str, str], names: Sequence[str]) -> str:
    """The value of the first of ``names`` that is set to something; empty when none is."""
    return next((environment[name] for name in names if environment.get(name)), "")
