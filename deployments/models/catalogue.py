"""Models, the configs that serve them, and every revision of those."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from deployments.spec import ServingSpec

config_name = RegexValidator(
    r"^[a-z0-9][a-z0-9._-]*$",
    _("Use lower-case letters, digits, dots, dashes and underscores; begin with a letter or digit."),
)


class Protocol(models.TextChoices):
    """How a model is asked."""

    OPENAI_TEXT = "openai-text", "openai-text"
    OLLAMA_TEXT = "ollama-text", "ollama-text"
    OPENAI_IMAGE = "openai-image", "openai-image"


class RuntimeName(models.TextChoices):
    """What runs it."""

    DOCKER = "docker", _("Docker container")
    PROCESS = "process", _("process on the host")


class CatalogueModel(models.Model):
    """A model as users know it, served by one or more configs."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.CharField(_("description"), max_length=300, blank=True)
    parameters_b = models.FloatField(_("parameters, billions"), null=True, blank=True)
    native_context_tokens = models.PositiveIntegerField(_("native context, tokens"), null=True, blank=True)
    layers = models.PositiveSmallIntegerField(_("layers"), null=True, blank=True)
    kv_heads = models.PositiveSmallIntegerField(_("key-value heads"), null=True, blank=True)
    head_dimension = models.PositiveSmallIntegerField(_("head dimension"), null=True, blank=True)
    vision = models.BooleanField(_("reads images"), default=False)
    catalogue_file = models.CharField(max_length=100, blank=True, editable=False)

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Config(models.Model):
    """How one model is served: engine, image, arguments, GPUs. Current revision; see ConfigRevision."""

    name = models.CharField(_("name"), max_length=100, unique=True, validators=[config_name])
    model = models.ForeignKey(CatalogueModel, verbose_name=_("model"), on_delete=models.PROTECT, related_name="configs")
    protocol = models.CharField(_("protocol"), max_length=20, choices=Protocol)
    engine = models.CharField(_("engine"), max_length=30)
    runtime = models.CharField(_("runtime"), max_length=20, choices=RuntimeName, default=RuntimeName.DOCKER)
    image = models.CharField(_("image"), max_length=300)
    served_name = models.CharField(
        _("served name"), max_length=100, help_text=_("The model name that the engine itself answers to.")
    )
    entrypoint = models.JSONField(
        _("entry point"),
        default=list,
        blank=True,
        help_text=_("Instead of the image's own; empty keeps that. Not for processes."),
    )
    arguments = models.JSONField(_("arguments"), default=list, blank=True)
    environment = models.JSONField(_("environment"), default=dict, blank=True)
    volumes = models.JSONField(_("volumes"), default=list, blank=True)
    port = models.PositiveIntegerField(_("port"), validators=[MinValueValidator(1), MaxValueValidator(65535)])
    readiness_path = models.CharField(_("readiness path"), max_length=200)
    gpus = models.PositiveSmallIntegerField(_("GPUs"), default=0, validators=[MaxValueValidator(64)])
    memory_gib = models.FloatField(_("GPU memory in all, GiB"), default=0, validators=[MinValueValidator(0)])
    shared_memory = models.CharField(
        _("shared memory"),
        max_length=10,
        blank=True,
        validators=[RegexValidator(r"^\d+[kmg]$", _("Write a number and k, m or g, as in 16g."))],
    )
    context_tokens = models.PositiveIntegerField(_("context, tokens"), null=True, blank=True)
    concurrent_requests = models.PositiveIntegerField(
        _("requests at full context"),
        default=1,
        validators=[MinValueValidator(1)],
        help_text=_("How many the memory estimate makes room for."),
    )
    weights_repository = models.CharField(_("weights repository"), max_length=200, blank=True)
    quantisation = models.CharField(_("quantisation"), max_length=50, blank=True)
    weights_gb = models.FloatField(_("weights, GB"), null=True, blank=True)
    licence = models.CharField(_("licence"), max_length=100, blank=True)
    licence_note = models.CharField(_("licence note"), max_length=300, blank=True)
    gated = models.BooleanField(
        _("gated"), default=False, help_text=_("The hub gives the weights to accepted accounts only.")
    )
    notes = models.TextField(_("notes"), blank=True)
    load_timeout_s = models.PositiveIntegerField(_("time to load, s"), default=900, validators=[MinValueValidator(1)])
    grace_s = models.PositiveIntegerField(_("grace time at stop, s"), default=20, validators=[MaxValueValidator(600)])
    max_attempts = models.PositiveSmallIntegerField(_("attempts"), default=3, validators=[MinValueValidator(1)])
    restart_unhealthy = models.BooleanField(
        _("restart when unhealthy"),
        default=False,
        help_text=_("Restart a run that runs but has not answered three times in a row."),
    )
    start_on_request = models.BooleanField(
        _("start on request"),
        default=False,
        help_text=_("The first request at the gateway starts it, and waits for it."),
    )
    stop_after_idle_minutes = models.PositiveIntegerField(
        _("stop when idle, min"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10080)],
        help_text=_("Stop after so many minutes without a request at the gateway; empty for never."),
    )

    revision = models.PositiveIntegerField(_("revision"), default=0, editable=False)
    catalogue_digest = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text=_("Digest of what the catalogue file last wrote here."),
    )
    is_draft = models.BooleanField(
        _("draft"),
        default=False,
        editable=False,
        help_text=_("Of a delivery that is still being tried: not in the catalogue yet."),
    )
    archived_at = models.DateTimeField(_("removed from the catalogue at"), null=True, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("config")
        verbose_name_plural = _("configs")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def served_model(self) -> str:
        """The model that requests name; nobody who asks for a model is sent to a draft of it."""
        return self.name if self.is_draft else self.model.name

    def serving_spec(self) -> ServingSpec:
        """What would run if it were started now."""
        return ServingSpec(
            config=self.name,
            model=self.served_model,
            protocol=self.protocol,
            engine=self.engine,
            runtime=self.runtime,
            image=self.image,
            served_name=self.served_name,
            entrypoint=tuple(self.entrypoint),
            arguments=tuple(self.arguments),
            environment=tuple(sorted(self.environment.items())),
            volumes=tuple(self.volumes),
            port=self.port,
            readiness_path=self.readiness_path,
            gpus=self.gpus,
            memory_gib=self.memory_gib,
            shared_memory=self.shared_memory,
            context_tokens=self.context_tokens,
            weights_gb=self.weights_gb,
            load_timeout_s=self.load_timeout_s,
            grace_s=self.grace_s,
            max_attempts=self.max_attempts,
            restart_unhealthy=self.restart_unhealthy,
            stop_after_idle_minutes=self.stop_after_idle_minutes,
        )


class ConfigRevision(models.Model):
    """A saved state of a config. Never changed; rolling back writes a new one."""

    config = models.ForeignKey(Config, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField(_("number"))
    values = models.JSONField(_("values"), help_text=_("Every editable field by name; the model by its name."))
    author = models.CharField(_("author"), max_length=150)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    comment = models.CharField(_("comment"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("saved"), auto_now_add=True)

    class Meta:
        verbose_name = _("revision")
        verbose_name_plural = _("revisions")
        ordering = ("-number",)
        constraints = (models.UniqueConstraint(fields=("config", "number"), name="one_row_for_each_revision"),)

    def __str__(self) -> str:
        return f"{self.config_id} r{self.number}"
