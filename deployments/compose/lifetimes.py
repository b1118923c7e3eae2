"""Port, readiness, time-outs, attempts and grace: ``ports``, ``healthcheck``, ``restart``, ``stop_grace_period``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from django.utils.translation import gettext as _

from deployments.config_values import ConfigValues
from deployments.engines.argument_style import option_value

from .durations import duration_s
from .proposal import Draft, Weight
from .tree import Items, Scalar, Table, texts

_PORT_OPTIONS = ("--port", "--server-port", "-p")
#: The address in a health check: with a scheme, or as wget and curl take it without one.
_ADDRESS = re.compile(
    r"(?:https?://[^\s/'\"|;)]+|\b(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::\d+)?)(?P<path>/[^\s'\"|;)]*)?"
)
_MOST_GRACE_S = 600
#: Compose's own defaults (the specification's ``healthcheck``).
_INTERVAL_S, _RETRIES = 30.0, 3


def carry_port(draft: Draft) -> None:
    """Set ``port``: the container's, since Berth chooses the host's."""
    ports = list(dict.fromkeys(_ports(draft)))
    told = option_value(draft.arguments, _PORT_OPTIONS) or ""
    listening = int(told) if told.isdecimal() else draft.engine.default_port
    if not ports:
        why = _("The engine is told to listen there.") if told.isdecimal() else _("It is the engine's default.")
        draft.guess("port", listening, why)
        return
    port = listening if listening in ports else ports[0]
    key = "ports" if draft.service.get("ports") is not None else "expose"
    note = "" if draft.is_own else _("Berth publishes it at a port of its own choice; people ask the gateway.")
    draft.carry(key, "port", port, note=note)
    for other in ports:
        if other != port:
            why = _("A model has one port, and %(port)d was taken.") % {"port": port}
            draft.leave(f"ports: {other}", why, _("Nothing, unless people need that page: then run it beside Berth."))


def _ports(draft: Draft) -> Iterator[int]:
    for key in ("ports", "expose"):
        node = draft.service.get(key)
        for item in node.nodes if isinstance(node, Items) else ():
            target = item.get("target") if isinstance(item, Table) else item
            text = draft.text(target, note_missing=False) if isinstance(target, Scalar) else ""
            number = text.rpartition("/")[0] or text
            port = number.rpartition(":")[2].partition("-")[0]
            if port.isdecimal() and 0 < int(port) < 65536 and not text.endswith("/udp"):
                yield int(port)
            else:
                why = _("“%(port)s” names no TCP port of the container.") % {"port": text[:40] or "–"}
                draft.leave(key, why, _("Look at the port in the form."), line=item.line)


def carry_health(draft: Draft) -> None:
    """Set ``readiness_path`` and ``load_timeout_s``."""
    check = draft.service.get("healthcheck")
    command = " ".join(draft.text(item) for item in texts(check.get("test"))) if isinstance(check, Table) else ""
    found = _ADDRESS.search(command)
    if found:
        draft.carry("healthcheck", "readiness_path", found["path"] or "/")
    else:
        draft.guess("readiness_path", draft.engine.default_readiness_path, _("It is the engine's default."))
        if command and not draft.is_own:
            why = _("It runs a command within the container; Berth asks the model's port instead.")
            draft.leave("healthcheck", why, _("Look at the readiness path."), weight=Weight.HARMLESS)
    if isinstance(check, Table):
        _carry_patience(draft, check)


def _carry_patience(draft: Draft, check: Table) -> None:
    start = duration_s(draft.text(check.get("start_period")) or "0")
    interval = duration_s(draft.text(check.get("interval")) or f"{_INTERVAL_S}s")
    retries = draft.text(check.get("retries")) or str(_RETRIES)
    if start is None or interval is None or not retries.isdecimal():
        why = _("Its times are none, as in 30s or 1m30s.")
        draft.leave("healthcheck", why, _("Set the time to load in the form."))
        return
    patience_s = math.ceil(start + interval * int(retries))
    least_s = ConfigValues.load_timeout_s
    if patience_s > least_s:
        draft.carry("healthcheck", "load_timeout_s", patience_s)
    elif not draft.is_own:
        note = _("It allows %(patience)d s. Berth ends what is not ready by then, so %(least)d s are kept.")
        draft.note("healthcheck", "load_timeout_s", note % {"patience": patience_s, "least": least_s})


def carry_restart(draft: Draft) -> None:
    """Set ``max_attempts``."""
    policy = draft.text(draft.service.get("restart"))
    name, _colon, retries = policy.partition(":")
    if policy:
        key, most = "restart", retries
    else:
        told = draft.service.at("deploy", "restart_policy")
        if not isinstance(told, Table):
            return
        key, name, most = (
            "deploy.restart_policy",
            draft.text(told.get("condition")),
            draft.text(told.get("max_attempts")),
        )
    if name in {"no", "none", "false"}:
        draft.carry(key, "max_attempts", 1)
    elif most.isdecimal():
        draft.carry(key, "max_attempts", int(most) + 1)
    else:
        note = _("Berth gives a crashing model up after %(attempts)d attempts instead of trying for ever.")
        draft.note(key, "max_attempts", note % {"attempts": ConfigValues.max_attempts})


def carry_grace(draft: Draft) -> None:
    """Set ``grace_s``: what the file says, else the engine's own."""
    node = draft.service.get("stop_grace_period")
    if node is None:
        draft.guess("grace_s", draft.engine.grace_s, _("It is the engine's default."))
        return
    grace_s = duration_s(draft.text(node))
    if grace_s is None:
        draft.guess("grace_s", draft.engine.grace_s, _("It is the engine's default."))
        draft.leave("stop_grace_period", _("It is no time, as in 30s or 1m30s."), _("Set the grace time in the form."))
        return
    note = _("At most %(most)d s are possible.") % {"most": _MOST_GRACE_S} if grace_s > _MOST_GRACE_S else ""
    draft.carry("stop_grace_period", "grace_s", min(math.ceil(grace_s), _MOST_GRACE_S), note=note)
