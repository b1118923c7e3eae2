"""What a web process knows of all nodes' GPUs, and the numbered frames that tell pages what changed.

A page begins with a ``snapshot`` and applies every later frame to it; frame ``n + 1`` follows frame ``n``:

``{"type": "snapshot", "seq", "at", "nodes": [reading…], "stale": {node: since}, "away": since or null}``
``{"type": "delta", "seq", "nodes": [{"node", "at", "gpus": {uuid: changed fields}, …}]}``: beside these only what
changed of the reading; ``order`` names all GPUs when they are others, ``host`` has its changed fields or null.
``{"type": "stale", "seq", "node", "since"}``: a node is silent. ``{"type": "away", "seq", "since"}``: nothing is heard.
``{"type": "beat", "seq"}``: nothing happened, and the connection lives.

Times are epoch seconds. Each run of a reading gets ``hue``, the class of its config's colour.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .presentation.words import hue_of

Reading = dict[str, Any]
_ABSENT = object()
_APART = ("node", "at", "gpus", "host")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One message to the pages, encoded."""

    seq: int
    text: str

    def with_dropped(self, frames: int) -> Frame:
        """The same, saying that so many frames before it were left out."""
        return Frame(seq=self.seq, text=f'{self.text[:-1]},"dropped":{frames}}}') if frames else self


class Fleet:
    """The newest reading of each node. Everything that changes it gives the frame that says so."""

    def __init__(self) -> None:
        self.seq = 0
        self._readings: dict[str, Reading] = {}
        self._texts: dict[str, str] = {}
        self._stale: dict[str, float] = {}
        self._away_since: float | None = None
        self._snapshot: Frame | None = None

    def load(self, readings: Iterable[Reading], *, stale: Mapping[str, float]) -> Frame:
        """Begin anew with these; ``stale`` says of silent nodes since when."""
        self._readings = {reading["node"]: reading for reading in readings}
        self._texts = {}
        self._stale = {node: since for node, since in stale.items() if node in self._readings}
        self._away_since = None
        self._advance()
        return self.snapshot()

    def forget(self, node: str) -> Frame:
        """Without that node."""
        remaining = [reading for name, reading in self._readings.items() if name != node]
        return self.load(remaining, stale=self._stale)

    def update(self, readings: Iterable[Reading]) -> Frame:
        """What these changed; at most one reading a node."""
        changes = []
        for reading in readings:
            name = reading["node"]
            changes.append(difference(self._readings.get(name, {}), reading))
            self._readings[name] = reading
            self._texts.pop(name, None)
            self._stale.pop(name, None)
        return self._frame({"type": "delta", "nodes": changes})

    def mark_stale(self, node: str, *, since: float) -> Frame:
        """The node is silent."""
        self._stale[node] = since
        return self._frame({"type": "stale", "node": node, "since": since})

    def mark_away(self, *, since: float) -> Frame:
        """Nothing is heard of any node."""
        self._away_since = since
        return self._frame({"type": "away", "since": since})

    def beat(self) -> Frame:
        """Nothing happened, and the connection lives."""
        return self._frame({"type": "beat"})

    def snapshot(self) -> Frame:
        """Everything, as of the last frame. Encoded at most once for each of them, and a node only when it changed."""
        if self._snapshot is None:
            for name, reading in self._readings.items():
                if name not in self._texts:
                    self._texts[name] = _encoded(reading)
            head = {
                "type": "snapshot",
                "seq": self.seq,
                "at": time.time(),
                "stale": self._stale,
                "away": self._away_since,
            }
            nodes = ",".join(self._texts[name] for name in sorted(self._readings))
            self._snapshot = Frame(seq=self.seq, text=f'{_encoded(head)[:-1]},"nodes":[{nodes}]}}')
        return self._snapshot

    def _advance(self) -> None:
        self.seq += 1
        self._snapshot = None

    def _frame(self, message: dict[str, Any]) -> Frame:
        self._advance()
        return Frame(seq=self.seq, text=_encoded({**message, "seq": self.seq}))


def reading_of(text: str) -> Reading:
    """A published reading with what pages need beside it. Raises ValueError, KeyError, TypeError.

    It stays as it was published: an agent of another version may know more fields or fewer.
    """
    reading: Reading = json.loads(text, parse_constant=lambda _name: None)  # NaN is no JSON to a browser
    if not isinstance(reading["node"], str):
        raise TypeError("the node's name is no text")
    runs = [{**run, "hue": f"hue-{hue_of(run['config'])}"} for run in reading.get("runs", ())]
    gpus = list({gpu["uuid"]: gpu for gpu in reading["gpus"]}.values())
    return {**reading, "at": float(reading["at"]), "gpus": gpus, "runs": runs}


def difference(old: Reading, new: Reading) -> dict[str, Any]:
    """What a delta says of one node; ``old`` is empty for a new one."""
    changed: dict[str, Any] = {"node": new["node"], "at": new["at"]}
    changed |= {name: value for name, value in _changed(old, new).items() if name not in _APART}
    before = {gpu["uuid"]: gpu for gpu in old.get("gpus", ())}
    after = {gpu["uuid"]: gpu for gpu in new["gpus"]}
    fields = {uuid: _changed(before.get(uuid, {}), gpu) for uuid, gpu in after.items()}
    changed["gpus"] = {uuid: some for uuid, some in fields.items() if some}
    if list(before) != list(after):
        changed["order"] = list(after)
    if new.get("host") != old.get("host"):
        host = new.get("host")
        changed["host"] = host and _changed(old.get("host") or {}, host)
    return changed


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    gone = {name: None for name in old if name not in new}
    return {**gone, **{name: value for name, value in new.items() if old.get(name, _ABSENT) != value}}


def _encoded(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
