"""Puts each question to each GPU as often as it may be put, and keeps the answers of the slow ones in between.

A question whose answers take long is put less often, by itself: on another driver or board another call is slow.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .facts import Target
from .nvml_values import CLOSED, FUNCTION_NOT_FOUND, LOST, code_of, reason_of
from .questions import HEALTH_S, HOT_S, MEMORY, QUESTIONS, SELDOM_S, WARM_S, Answer, Question, Questions
from .refusals import ASK_AGAIN_S

logger = logging.getLogger(__name__)
LANES_S = (HOT_S, WARM_S, HEALTH_S, SELDOM_S)
#: A question may take this share of its time: 5 ms of each second.
SHARE = 0.005
#: So many answers decide, so that one that waited for the driver's lock says nothing.
ANSWERS_JUDGED = 5
#: Then it is tried at its own pace again: the driver may just have been busy.
DEMOTED_S = 600.0
#: A tick comes a little early or late.
EARLY_S = 0.5


@dataclass(kw_only=True)
class Slot:
    """One question to one GPU."""

    every_s: float
    due_at: float = float("-inf")
    demoted_until: float = float("inf")
    values: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    code: int = 0
    costs: deque[float] = field(default_factory=lambda: deque(maxlen=ANSWERS_JUDGED))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is known of one GPU. ``codes`` and ``errors`` are those of the questions that failed, by their names."""

    values: Mapping[str, Any]
    missing: Mapping[str, str]
    codes: Mapping[str, int]
    errors: Mapping[str, str]


@dataclass
class Lanes:
    """``error`` is pynvml's NVMLError; ``cost`` measures what a call takes."""

    questions: Questions
    error: type[Exception]
    clock: Callable[[], float] = time.monotonic
    cost: Callable[[], float] = time.perf_counter
    asked: tuple[Question, ...] = QUESTIONS
    _slots: dict[tuple[str, str], Slot] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def sweep(self, target: Target) -> Sweep:
        """Put what is due to one GPU. Raises NVMLError when the whole library must be opened again."""
        values: dict[str, Any] = {}
        missing: dict[str, str] = {}
        codes: dict[str, int] = {}
        errors: dict[str, str] = {}
        lost = False
        for question in self.asked:
            slot = self._slot(target, question)
            if target.parent_uuid and not question.instances:
                slot.missing = dict.fromkeys(question.fields, "not_supported")
            elif lost:
                # It answers nothing, and may take long over that. What it told before says nothing about now.
                slot.values, slot.missing, slot.due_at = {}, dict.fromkeys(question.fields, "error"), float("-inf")
            elif slot.due_at <= self.clock() + EARLY_S:
                self._put(target, question, slot)
            values |= slot.values
            missing |= slot.missing
            if slot.code and not lost:
                codes[question.name], errors[question.name] = slot.code, slot.error
            lost = lost or (question is MEMORY and slot.code in LOST)
        return Sweep(values=values, missing=missing, codes=codes, errors=errors)

    def forget_others(self, uuids: set[str]) -> None:
        """Drop what is kept of GPUs that are gone."""
        self._slots = {key: slot for key, slot in self._slots.items() if key[0] in uuids}

    def ask_all_again(self) -> None:
        """Put every question at the next sweep, also those that are put seldom."""
        for slot in self._slots.values():
            slot.due_at = float("-inf")

    def _slot(self, target: Target, question: Question) -> Slot:
        key = (target.uuid, question.name)
        if key not in self._slots:
            self._slots[key] = Slot(every_s=question.every_s)
        return self._slots[key]

    def _put(self, target: Target, question: Question, slot: Slot) -> None:
        now = self.clock()
        first = slot.due_at == float("-inf")
        if now >= slot.demoted_until:
            slot.every_s, slot.demoted_until = question.every_s, float("inf")
            slot.costs.clear()
        began = self.cost()
        try:
            answer = question.ask(self.questions, target)
        except (self.error, AttributeError) as error:
            # An answer that is an error may be as slow as any other.
            slot.costs.append(self.cost() - began)
            self._refused(question, slot, error, now)
            return
        slot.costs.append(self.cost() - began)
        slot.values, slot.missing = _tidy(answer)
        slot.error, slot.code = "", 0
        self._judge(question, slot, now)
        slot.due_at = now + _pause_s(slot)
        if first and slot.every_s >= HEALTH_S:
            # Eight GPUs are not all asked for their energy in one tick.
            slot.due_at += slot.every_s * (target.index % 8) / 8

    def _refused(self, question: Question, slot: Slot, error: Exception, now: float) -> None:
        # A binding that is older than the question has no such function.
        code = FUNCTION_NOT_FOUND if isinstance(error, AttributeError) else code_of(error)
        if code in CLOSED:
            raise error
        reason = reason_of(code)
        slot.values, slot.missing = {}, dict.fromkeys(question.fields, reason)
        slot.error, slot.code = str(error), code
        self._judge(question, slot, now)
        waits_s = {"not_supported": ASK_AGAIN_S, "no_permission": SELDOM_S}.get(reason, _pause_s(slot))
        slot.due_at = now + (_pause_s(slot) if question.pinned and reason != "not_supported" else waits_s)

    def _judge(self, question: Question, slot: Slot, now: float) -> None:
        """Give a slow question more time."""
        if question.pinned or len(slot.costs) < ANSWERS_JUDGED or slot.every_s >= SELDOM_S:
            return
        median = statistics.median(slot.costs)
        if median <= slot.every_s * SHARE:
            return
        slot.every_s = next(lane for lane in LANES_S if lane > slot.every_s)
        slot.demoted_until = now + DEMOTED_S
        slot.costs.clear()
        if question.name not in self._told:
            self._told.add(question.name)
            logger.info(
                "GPUs: asking for %s takes %.1f ms, so it is asked every %.0f s.",
                question.name,
                median * 1000,
                slot.every_s,
            )


def _pause_s(slot: Slot) -> float:
    """The hot ones are put at every sweep, however close the sweeps are."""
    return 0.0 if slot.every_s <= HOT_S else slot.every_s


def _tidy(answer: Answer) -> tuple[dict[str, Any], dict[str, str]]:
    return {name: value for name, value in answer.values.items() if value is not None}, dict(answer.missing)
