"""What happened on a GPU, for the charts: runs start, get ready, stop, crash, and the driver reports an Xid."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deployments.lifecycle.reasons import explain
from deployments.redis import RedisError, StreamEntry, client
from deployments.redis_keys import gpu_marks

logger = logging.getLogger(__name__)
KINDS = ("start", "ready", "stop", "crash", "xid")
FIELD = "m"
#: Of a node; a run that is started and stopped leaves three on each of its GPUs.
MOST_MARKS = 2000
KEPT_S = 8 * 86_400


@dataclass(frozen=True, kw_only=True)
class Mark:
    """``uuid`` empty means all GPUs of the node. ``text`` is in the reader's language where a reason is known."""

    at: float
    kind: str
    text: str = ""
    uuid: str = ""
    deployment_id: int | None = None
    config: str = ""


def mark(
    node: str,
    kind: str,
    *,
    at: float,
    text: str = "",
    uuid: str = "",
    deployment_id: int | None = None,
    config: str = "",
    reason: str = "",
    reason_params: Mapping[str, Any] | None = None,
) -> None:
    """Keep that something happened ``at`` (epoch seconds). Never raises for Redis.

    A ``reason`` code of :mod:`deployments.lifecycle.reasons` is put into words when it is shown, instead of ``text``.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind} is none of {', '.join(KINDS)}")
    told = {"at": at, "kind": kind, "text": text, "uuid": uuid, "deployment_id": deployment_id, "config": config}
    if reason:
        told |= {"reason": reason, "reason_params": dict(reason_params or {})}
    try:
        pipeline = client().pipeline(transaction=False)
        packed = json.dumps(told, separators=(",", ":"), default=str)
        pipeline.xadd(gpu_marks(node), {FIELD: packed}, maxlen=MOST_MARKS, approximate=True)
        pipeline.expire(gpu_marks(node), KEPT_S)
        pipeline.execute()
    except RedisError as error:
        logger.warning("The charts of %s will not show a %s: %s", node, kind, error)


def marks_of(entries: Iterable[StreamEntry], *, uuid: str, since: float, until: float) -> list[Mark]:
    """The marks of one GPU in a stretch of time, in order of time; what cannot be read is left out."""
    found = []
    for _id, fields in entries:
        try:
            told = json.loads(fields[FIELD])
            if told["uuid"] not in {"", uuid} or not since <= told["at"] < until:
                continue
            reason, params = told.pop("reason", ""), told.pop("reason_params", {})
            words = explain(reason, params).sentence if reason else told["text"]
            found.append(Mark(**{**told, "text": words}))
        except (ValueError, KeyError, TypeError):
            logger.warning("A mark of the GPU history cannot be read and is left out")
    return sorted(found, key=lambda each: each.at)
