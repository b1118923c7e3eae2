"""What an examination found: facts now, words when they are shown, in the reader's language."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a part is. ``SKIPPED``: it does not apply here, or could not be looked at, and the sentence says why."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of a report. ``check`` and ``outcome`` choose the words (:mod:`.words`), ``params`` fill them."""

    check: str
    outcome: str
    state: State
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings of one node at ``at``, in epoch seconds."""

    node: str
    at: float
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> State:
        """``failed`` before ``warning`` before ``ok``; what was skipped does not count."""
        states = {finding.state for finding in self.findings}
        return next((state for state in (State.FAILED, State.WARNING) if state in states), State.OK)

    @property
    def when(self) -> datetime:
        """When it was made."""
        return datetime.fromtimestamp(self.at, tz=UTC)

    @staticmethod
    def states() -> tuple[State, ...]:
        """All states, the worst first."""
        return (State.FAILED, State.WARNING, State.OK, State.SKIPPED)

    def count(self, state: State) -> int:
        """How many lines are in ``state``."""
        return Counter(finding.state for finding in self.findings)[state]

    def to_json(self) -> str:
        """JSON text; :meth:`from_json` is its inverse."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Rebuild from :meth:`to_json`. Raises ValueError, KeyError, TypeError."""
        data = json.loads(text)
        findings = tuple(Finding(**{**item, "state": State(item["state"])}) for item in data["findings"])
        return cls(node=data["node"], at=data["at"], findings=findings)


#: Looks at one part; several lines where it has several (GPUs, folders). May raise: that is a line too.
Check = Callable[[], Sequence[Finding]]


def ok(check: str, outcome: str = "ok", **params: Any) -> list[Finding]:
    """One line that all is well."""
    return [Finding(check=check, outcome=outcome, state=State.OK, params=params)]


def warning(check: str, outcome: str, **params: Any) -> list[Finding]:
    """One line that something will hurt later."""
    return [Finding(check=check, outcome=outcome, state=State.WARNING, params=params)]


def failed(check: str, outcome: str, **params: Any) -> list[Finding]:
    """One line that something does not work."""
    return [Finding(check=check, outcome=outcome, state=State.FAILED, params=params)]


def skipped(check: str, outcome: str, **params: Any) -> list[Finding]:
    """One line that this was not looked at."""
    return [Finding(check=check, outcome=outcome, state=State.SKIPPED, params=params)]
