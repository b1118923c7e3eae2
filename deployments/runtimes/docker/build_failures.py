"""What a failed build printed, in a sentence with a code."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from deployments.exceptions import BuildError

from .build_output import BuildOutput

_PARSE = re.compile(r"dockerfile parse error (?:on )?line (\d+): (.*)", re.IGNORECASE)
_MISSING_FILE = re.compile(r'"?(/[^"\s]*)"?: not found|"(/[^"]+)" not found')
_EXIT = re.compile(r"exit code: (\d+)")
UNREACHABLE = (
    *("no such host", "dial tcp", "network is unreachable", "i/o timeout", "connection refused", "tls handshake"),
    *("temporary failure in name resolution", "connection reset", "server misbehaving"),
)
NOT_THERE = ("pull access denied", "not found", "manifest unknown", "repository does not exist", "unauthorized")
SILENT_ENGINE = ("cannot connect to the docker daemon", "error during connect")


def failure(output: BuildOutput, exit_code: int) -> BuildError:
    """Why the client ended with ``exit_code``."""
    last = next((line for line in reversed(output.log.last()) if line.strip()), "")
    said = output.error or last
    lowered = "\n".join([said, *output.log.last()]).lower()
    if "no space left on device" in lowered:
        return BuildError(
            _("The node's disk is full. Delete images or build cache there, then build again."), code="no_disk_space"
        )
    if parse := _PARSE.search("\n".join([said, last])):
        told = _("Line %(line)s of the Dockerfile does not parse: %(detail)s") % {"line": parse[1], "detail": parse[2]}
        return BuildError(told, code="dockerfile_invalid")
    if any(sign in lowered for sign in SILENT_ENGINE):
        return BuildError(
            _("The container engine does not answer: %(detail)s") % {"detail": last}, code="engine_silent"
        )
    step = output.failed_step
    if step is None:
        return BuildError(
            _("The build ended with code %(code)s: %(detail)s") % {"code": exit_code, "detail": said[:500]},
            code="build_failed",
        )
    if "load metadata for" in step.text or "] FROM " in step.text:
        return _base_failure(step.text.rpartition(" ")[2], said)
    if (missing := _MISSING_FILE.search(said)) and _EXIT.search(said) is None:
        told = _("“%(step)s” needs %(path)s, which the build context does not hold.")
        return BuildError(told % {"step": step.text, "path": missing[1] or missing[2]}, code="file_missing")
    exited = _EXIT.search(said)
    why = _("exit code %(code)s") % {"code": exited[1]} if exited else said[:300]
    told = _("The step “%(step)s” failed: %(why)s.") % {"step": step.text, "why": why.rstrip(".")}
    if words := output.last_words():
        said_last = _("It printed last: %(words)s") % {"words": words[:300]}
        told = f"{told} {said_last}"
    return BuildError(told, code="step_failed")


def _base_failure(image: str, said: str) -> BuildError:
    lowered = said.lower()
    if any(sign in lowered for sign in UNREACHABLE):
        told = _(
            "The base image %(image)s is not on this node, and its registry cannot be reached. Check its name in FROM, "
            "or bring the image here from an archive, on the step Push. (%(detail)s)"
        )
        return BuildError(told % {"image": image, "detail": said[-300:].strip()}, code="no_network")
    if any(sign in lowered for sign in NOT_THERE):
        told = _("The base image %(image)s does not exist, or needs a sign-in to its registry. Check its name in FROM.")
        return BuildError(told % {"image": image}, code="base_image_missing")
    told = _("The base image %(image)s cannot be used: %(detail)s")
    return BuildError(told % {"image": image, "detail": said[:300]}, code="base_image_failed")
