"""Configs side by side: a column is a conversation, a round one prompt to all of them, and what was liked best."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from .answers import Answer
from .conversations import LONGEST_TITLE, Conversation


class Comparison(models.Model):
    """What one person compares. Only they see it."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), on_delete=models.CASCADE, related_name="+"
    )
    title = models.CharField(_("title"), max_length=LONGEST_TITLE, blank=True)
    created_at = models.DateTimeField(_("begun"), auto_now_add=True)
    updated_at = models.DateTimeField(_("last asked"), auto_now=True)

    class Meta:
        verbose_name = _("comparison")
        verbose_name_plural = _("comparisons")
        ordering = ("-updated_at", "-pk")
        indexes = (models.Index(fields=("owner", "-updated_at"), name="comparisons_of_a_person"),)

    def __str__(self) -> str:
        return self.title or str(_("Comparison %(number)s") % {"number": self.pk})


class ComparisonColumn(models.Model):
    """A config with settings; several columns may ask the same config in different ways."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="columns")
    place = models.PositiveSmallIntegerField(_("place"))
    config = models.CharField(_("config"), max_length=200)
    # For the next round; each answer keeps what it was asked with.
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    conversation = models.OneToOneField(Conversation, on_delete=models.CASCADE, related_name="comparison_column")

    class Meta:
        verbose_name = _("column of a comparison")
        verbose_name_plural = _("columns of comparisons")
        ordering = ("place",)
        constraints = (models.UniqueConstraint(fields=("comparison", "place"), name="one_column_at_a_place"),)

    def __str__(self) -> str:
        return f"{self.place} {self.config}"


class ComparisonBatch(models.Model):
    """A set of prompts under way, one after the other. Written by its task; see playground/comparing/."""

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        DONE = "done", _("complete")
        CANCELLED = "cancelled", _("cancelled")
        INTERRUPTED = "interrupted", _("interrupted")
        FAILED = "failed", _("failed")

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="batches")
    prompts = models.JSONField(_("prompts"))
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.RUNNING)
    error = models.TextField(_("error"), blank=True)
    cancel_asked = models.BooleanField(default=False)
    language = models.CharField(max_length=20)
    heartbeat_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("batch of a comparison")
        verbose_name_plural = _("batches of comparisons")
        ordering = ("-pk",)
        indexes = (models.Index(fields=("heartbeat_at",), name="batches_at_work", condition=models.Q(state="running")),)

    def __str__(self) -> str:
        return f"{self.comparison_id} {self.state}"


class ComparisonRound(models.Model):
    """One prompt to all columns, and the vote about their answers."""

    class Vote(models.TextChoices):
        BEST = "best", _("best")
        TIE = "tie", _("tie")
        NONE = "none", _("none is good")

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="rounds")
    batch = models.ForeignKey(ComparisonBatch, null=True, on_delete=models.SET_NULL, related_name="rounds")
    prompt = models.TextField(_("prompt"))
    vote = models.CharField(_("vote"), max_length=8, choices=Vote.choices, blank=True)
    # Set with the vote "best" only.
    best = models.ForeignKey(ComparisonColumn, null=True, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(_("asked"), auto_now_add=True)

    class Meta:
        verbose_name = _("round of a comparison")
        verbose_name_plural = _("rounds of comparisons")
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.comparison_id} {self.pk}"


class ComparisonCell(models.Model):
    """The answer of one column in one round."""

    round = models.ForeignKey(ComparisonRound, on_delete=models.CASCADE, related_name="cells")
    column = models.ForeignKey(ComparisonColumn, on_delete=models.CASCADE, related_name="cells")
    answer = models.OneToOneField(Answer, on_delete=models.CASCADE, related_name="comparison_cell")

    class Meta:
        verbose_name = _("answer of a comparison")
        verbose_name_plural = _("answers of comparisons")
        ordering = ("column__place",)
        constraints = (models.UniqueConstraint(fields=("round", "column"), name="one_answer_a_cell"),)

    def __str__(self) -> str:
        return f"{self.round_id} {self.column_id}"
