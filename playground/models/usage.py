"""What was used: roll-ups by hour and day, and for a few days each request. Never what was said."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from playground.usage_buckets import DURATION_COLUMNS, FIRST_TOKEN_COLUMNS


class UsageSeries(models.Model):
    """One combination of what usage is told apart by.

    ``cube`` says which of the columns count: FULL all of them, the others one or none, the rest being empty. The
    roll-ups of a small cube hold the sums over all others, so that a page about months reads hundreds of rows.
    """

    class Cube(models.TextChoices):
        TOTAL = "total", _("in all")
        KEY = "key", _("key")
        CALLER = "caller", _("caller")
        MODEL = "model", _("model")
        DEPLOYMENT = "deployment", _("deployment")
        FULL = "full", _("each")

    # Of the others, so that one short index finds a series and keeps it single.
    digest = models.CharField(max_length=40, unique=True)
    cube = models.CharField(_("sum over"), max_length=10, choices=Cube.choices)
    # No foreign keys: usage outlives what it speaks of, and 0 stands for none, since NULL is never equal to NULL.
    key_id = models.BigIntegerField(_("key"), default=0)
    caller = models.CharField(_("caller"), max_length=160, blank=True)
    model = models.CharField(_("model"), max_length=200, blank=True)
    config = models.CharField(_("config"), max_length=200, blank=True)
    deployment_id = models.BigIntegerField(_("deployment"), default=0)
    endpoint = models.CharField(_("endpoint"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("usage series")
        verbose_name_plural = _("usage series")

    def __str__(self) -> str:
        return f"{self.cube} {self.key_id} {self.caller} {self.model} {self.config} {self.deployment_id}"


class UsageSums(models.Model):
    """The sums of one series over one span. Times are milliseconds; the numbered columns are histograms."""

    series = models.ForeignKey(UsageSeries, on_delete=models.CASCADE, related_name="+", db_index=False)
    requests = models.PositiveIntegerField(default=0)
    client_errors = models.PositiveIntegerField(default=0)
    server_errors = models.PositiveIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    queue_ms = models.PositiveBigIntegerField(default=0)
    first_tokens = models.PositiveIntegerField(default=0)
    first_token_ms = models.PositiveBigIntegerField(default=0)
    durations = models.PositiveIntegerField(default=0)
    duration_ms = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True


for _column in (*FIRST_TOKEN_COLUMNS, *DURATION_COLUMNS):
    models.PositiveIntegerField(default=0).contribute_to_class(UsageSums, _column)

#: What is added up.
SUM_COLUMNS: tuple[str, ...] = (
    "requests",
    "client_errors",
    "server_errors",
    "prompt_tokens",
    "completion_tokens",
    "queue_ms",
    "first_tokens",
    "first_token_ms",
    "durations",
    "duration_ms",
    *FIRST_TOKEN_COLUMNS,
    *DURATION_COLUMNS,
)


class UsageHour(UsageSums):
    """The sums of one series over one hour."""

    at = models.DateTimeField(_("hour"))

    class Meta:
        verbose_name = _("usage of an hour")
        verbose_name_plural = _("usage by hours")
        constraints = (models.UniqueConstraint(fields=("series", "at"), name="one_usage_hour_of_a_series"),)
        indexes = (models.Index(fields=("at",), name="usage_hour_at"),)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:00}"


class UsageDay(UsageSums):
    """The sums of one series over one day of Berth's time zone."""

    at = models.DateField(_("day"))

    class Meta:
        verbose_name = _("usage of a day")
        verbose_name_plural = _("usage by days")
        constraints = (models.UniqueConstraint(fields=("series", "at"), name="one_usage_day_of_a_series"),)
        indexes = (models.Index(fields=("at",), name="usage_day_at"),)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d}"


class UsageRequest(models.Model):
    """One request, kept for BERTH_USAGE_RAW_DAYS."""

    at = models.DateTimeField(_("at"))
    request_id = models.CharField(max_length=128)
    key_id = models.BigIntegerField(default=0)
    caller = models.CharField(max_length=160)
    model = models.CharField(max_length=200, blank=True)
    config = models.CharField(max_length=200, blank=True)
    deployment_id = models.BigIntegerField(default=0)
    endpoint = models.CharField(max_length=40)
    status = models.PositiveSmallIntegerField()
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    queue_ms = models.PositiveIntegerField(default=0)
    first_token_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(default=0)
    streamed = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        indexes = (models.Index(fields=("at",), name="usage_request_at"),)

    def __str__(self) -> str:
        return self.request_id


class UsageBatch(models.Model):
    """The name of a batch that is in the roll-ups, so that it is never added twice."""

    name = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("batch of usage")
        verbose_name_plural = _("batches of usage")

    def __str__(self) -> str:
        return self.name
