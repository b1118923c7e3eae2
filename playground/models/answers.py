"""Answers of models: how far each has come, with what it was asked, and how fast it was."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from .conversations import Message


class Answer(models.Model):
    """The making of one message. Written by the task that makes it; see playground/answers/."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        STREAMING = "streaming", _("arriving")
        DONE = "done", _("complete")
        STOPPED = "stopped", _("stopped")
        INTERRUPTED = "interrupted", _("interrupted")
        FAILED = "failed", _("failed")

    #: States in which a task is at work.
    LIVE = (State.WAITING, State.STREAMING)

    message = models.OneToOneField(Message, on_delete=models.CASCADE, primary_key=True, related_name="answer")
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.WAITING)
    # What was asked: the config's name, how, and the settings at that moment.
    config = models.CharField(_("config"), max_length=200)
    protocol = models.CharField(_("protocol"), max_length=20)
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    # What came beside the text.
    reasoning = models.TextField(_("reasoning"), blank=True)
    tool_calls = models.JSONField(_("calls of tools"), default=list, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    error = models.TextField(_("error"), blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    # Who answered; no foreign key, since answers outlive runs.
    deployment_id = models.BigIntegerField(_("deployment"), null=True)
    replica = models.CharField(_("replica"), max_length=200, blank=True)
    request_id = models.CharField(_("request"), max_length=128, blank=True)
    queue_ms = models.PositiveIntegerField(null=True)
    start_ms = models.PositiveIntegerField(null=True)
    first_token_ms = models.PositiveIntegerField(null=True)
    # From the first token to the last, which is what tokens a second are counted over.
    stream_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    # Pieces of text that came: stands for tokens where the server counts none.
    pieces = models.PositiveIntegerField(default=0)
    # Of images: how far the one that is drawn is, and the seed of the first one.
    step = models.PositiveIntegerField(null=True)
    steps = models.PositiveIntegerField(null=True)
    seed = models.PositiveBigIntegerField(null=True)
    # The number of the last delta that is in this row; later ones are in Redis.
    sequence = models.PositiveIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("answer")
        verbose_name_plural = _("answers")
        indexes = (
            models.Index(
                fields=("heartbeat_at",),
                name="answers_at_work",
                condition=models.Q(state__in=("waiting", "streaming")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.config} {self.state}"

    @property
    def is_live(self) -> bool:
        """Whether a task is, or should be, at work on it."""
        return self.state in self.LIVE

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens a second after the first one, or None where that cannot be told."""
        tokens = (self.pieces if self.completion_tokens is None else self.completion_tokens) - 1
        if tokens < 1 or not self.stream_ms:
            return None
        return tokens / self.stream_ms * 1000
