"""The step Dockerfile: what stands in it, what is wrong with it, and what changed since it was last built."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import PurePosixPath

from django.utils.translation import gettext as _

from deployments.exceptions import InvalidInputError
from deployments.models import Delivery, ImageBuild

from .contexts import Context
from .dockerfile_text import DockerfileError, Problem, instructions, secret_problems
from .linting import Finding, lint
from .steps import State, StepState


@dataclass(frozen=True, kw_only=True)
class Review:
    """What is said beside the editor: ``problems`` keep it from being built, ``findings`` do not.

    ``findings`` are None where there is no linter.
    """

    problems: list[Problem]
    findings: list[Finding] | None


def review(text: str) -> Review:
    """Parse and lint ``text``."""
    if not text.strip():
        return Review(problems=[Problem(line=0, message=_("The Dockerfile is empty."))], findings=[])
    findings = lint(text)
    try:
        problems = list(secret_problems(instructions(text)))
    except DockerfileError as error:
        problems = [error.problem]
    else:
        # Berth's reading is coarser than hadolint's: what only that one cannot parse, the engine may not either.
        parse = [each for each in findings or () if each.code == "DL1000"]
        problems += [Problem(line=each.line, message=each.message) for each in parse]
    return Review(problems=problems, findings=findings)


def changes_since(build: ImageBuild | None, text: str) -> list[tuple[str, str]]:
    """The lines that differ from what was last built, each with ``+``, ``-`` or a blank; empty when none do."""
    if build is None or build.dockerfile == text:
        return []
    lines = difflib.unified_diff(build.dockerfile.splitlines(), text.splitlines(), lineterm="", n=2)
    return [("@" if line.startswith("@@") else line[0], line[1:] if line[0] in "+- " else line) for line in lines][2:]


def last_built(delivery: Delivery) -> ImageBuild | None:
    """The newest build that was done."""
    return delivery.image_builds.filter(state=ImageBuild.State.DONE).defer("log", "steps").first()


def dockerfile_path(path: str) -> PurePosixPath:
    """Where in a context a Dockerfile is taken from. Raises InvalidInputError for a path that leaves it."""
    wanted = PurePosixPath(path or "Dockerfile")
    if wanted.is_absolute() or ".." in wanted.parts:
        message = _("%(path)s leads out of the build context.") % {"path": path}
        raise InvalidInputError(message, fields={"path": [message]})
    return wanted


def step_state(delivery: Delivery) -> StepState:
    """How the step stands: a text that parses and holds no secret is done while its context is there."""
    if not delivery.dockerfile.strip():
        return StepState(state=State.OPEN, sentence=_("Nobody has written a Dockerfile yet."))
    try:
        problem = next(secret_problems(instructions(delivery.dockerfile)), None)
    except InvalidInputError as error:
        return StepState(state=State.FAILED, sentence=str(error))
    if problem:
        message = _("Line %(line)s: %(message)s") % {"line": problem.line, "message": problem.message}
        return StepState(state=State.FAILED, sentence=message)
    context = Context.from_json(delivery.context)
    if context.is_gone_from_here:
        message = _("The build context %(path)s is not there any more. Put it back, or choose another one.")
        return StepState(state=State.FAILED, sentence=message % {"path": context.path})
    return StepState(
        state=State.DONE,
        sentence=_("It parses and can be built."),
        who=delivery.dockerfile_by,
        when=delivery.dockerfile_at,
    )
