"""Django's stock admin. Configs and models are saved by the same services as our own pages; the rest is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .actors import Actor
from .config_checks import Checked, check_values
from .config_names import check_config_name, check_model_name
from .config_values import FIELD_NAMES, field_label
from .exceptions import BerthError
from .forms import EnvironmentField, ItemsField, typed_problem
from .models import (
    Attempt,
    AuditEntry,
    CatalogueModel,
    Config,
    ConfigRevision,
    Deployment,
    DeploymentEvent,
    Fetch,
    ImageTransfer,
    Node,
    Registry,
)
from .selectors_catalogue import model_names
from .services.catalogue import archive_config, create_config, restore_config, save_config
from .services.catalogue_models import ModelValues, create_model, save_model

if TYPE_CHECKING:
    ConfigModelForm = forms.ModelForm[Config]
    ModelModelForm = forms.ModelForm[CatalogueModel]
    ConfigAdminBase = admin.ModelAdmin[Config]
    ModelAdminBase = admin.ModelAdmin[CatalogueModel]
    AnyAdminBase = admin.ModelAdmin[Model]
else:
    ConfigModelForm = ModelModelForm = forms.ModelForm
    ConfigAdminBase = ModelAdminBase = AnyAdminBase = admin.ModelAdmin


class ConfigAdminForm(ConfigModelForm):
    """The admin's form of a config: checked by the same rules as catalogue files and our own editor."""

    entrypoint = ItemsField(
        required=False, help_text=gettext_lazy("Only to run another command than the image's own: one part a line.")
    )
    arguments = ItemsField(required=False, help_text=gettext_lazy("One argument a line, without quotes."))
    environment = EnvironmentField(required=False, help_text=gettext_lazy("One NAME=value a line."))
    volumes = ItemsField(required=False, help_text=gettext_lazy("One name:/path a line."))
    comment = forms.CharField(label=gettext_lazy("Comment"), required=False, max_length=200)
    base_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Config
        fields = ("name", *FIELD_NAMES)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.checked: Checked | None = None
        self.fields["base_revision"].initial = self.instance.revision
        for name in ("entrypoint", "arguments", "environment", "volumes"):
            if name in self.fields:
                self.fields[name].label = field_label(name)

    def clean(self) -> dict[str, Any]:
        """Check all fields together; refuse when somebody saved another revision meanwhile."""
        cleaned = dict(super().clean() or self.cleaned_data)
        raw = {name: cleaned[name] for name in FIELD_NAMES if name in cleaned}
        if isinstance(raw.get("model"), CatalogueModel):
            raw["model"] = raw["model"].name
        unread = [name for name in FIELD_NAMES if name in self.errors]
        self.checked = check_values(raw, models=model_names(), unread=unread)
        for problem in self.checked.problems:
            self.add_error(problem.field, typed_problem(problem, self.data.get(problem.field)).sentence)
        if "name" in self.fields:
            for reason in check_config_name(cleaned.get("name", "")) if cleaned.get("name") else ():
                self.add_error("name", reason)
        elif cleaned.get("base_revision") != Config.objects.get(pk=self.instance.pk).revision:
            self.add_error(
                None, _("Somebody saved another revision meanwhile. Load the page again and repeat the change.")
            )
        return cleaned


@admin.register(Config)
class ConfigAdmin(ConfigAdminBase):
    """Saving makes a revision; removing is an action that keeps the history."""

    form = ConfigAdminForm
    list_display = ("name", "model", "protocol", "engine", "gpus", "revision", "archived_at")
    list_filter = ("protocol", "engine", "runtime")
    list_select_related = ("model",)
    search_fields = ("name", "model__name", "weights_repository")
    actions = ("remove", "restore")

    def get_readonly_fields(self, _request: HttpRequest, obj: Config | None = None) -> tuple[str, ...]:
        """A name never changes."""
        return ("name",) if obj else ()

    def has_delete_permission(self, _request: HttpRequest, _obj: Config | None = None) -> bool:
        """Never: removing is an action, which keeps revisions and runs."""
        return False

    def save_model(self, request: HttpRequest, obj: Config, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save through the service, so that a revision and an audit row are written."""
        actor, values = Actor.person(request.user), form.checked.accepted()
        comment = form.cleaned_data["comment"]
        if change:
            base = form.cleaned_data["base_revision"]
            result = save_config(obj.name, values, actor=actor, comment=comment, base_revision=base)
        else:
            result = create_config(obj.name, values, actor=actor, comment=comment)
            obj.pk = result.config.pk
        for warning in form.checked.warnings:
            messages.warning(request, f"{field_label(warning.field)}: {warning.sentence}")

    @admin.action(description=gettext_lazy("Remove from the catalogue"), permissions=["change"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Config]) -> None:
        """Take each out of the catalogue; one in use stays, with the reason."""
        for name in queryset.values_list("name", flat=True):
            try:
                archive_config(name, actor=Actor.person(request.user))
            except BerthError as error:
                messages.error(request, str(error))

    @admin.action(description=gettext_lazy("Restore to the catalogue"), permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Config]) -> None:
        """Bring each back."""
        for name in queryset.values_list("name", flat=True):
            restore_config(name, actor=Actor.person(request.user))


class ModelAdminForm(ModelModelForm):
    """The admin's form of a model."""

    class Meta:
        model = CatalogueModel
        fields = (
            "name",
            "description",
            "parameters_b",
            "native_context_tokens",
            "layers",
            "kv_heads",
            "head_dimension",
            "vision",
        )

    def clean_name(self) -> str:
        """Refuse a name that cannot stand in an address."""
        name = str(self.cleaned_data["name"])
        reasons = check_model_name(name)
        if reasons:
            raise forms.ValidationError(reasons)
        return name


@admin.register(CatalogueModel)
class CatalogueModelAdmin(ModelAdminBase):
    """Saved through the services; deleted on our own page, which says what serves it."""

    form = ModelAdminForm
    list_display = ("name", "parameters_b", "native_context_tokens", "vision")
    search_fields = ("name",)

    def get_readonly_fields(self, _request: HttpRequest, obj: CatalogueModel | None = None) -> tuple[str, ...]:
        """A name never changes."""
        return ("name",) if obj else ()

    def has_delete_permission(self, _request: HttpRequest, _obj: CatalogueModel | None = None) -> bool:
        """Never here."""
        return False

    def save_model(self, request: HttpRequest, obj: CatalogueModel, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save through the service, so that an audit row is written."""
        values = ModelValues(**{key: form.cleaned_data[key] for key in ModelValues.__dataclass_fields__})
        if change:
            save_model(obj.name, values, actor=Actor.person(request.user))
        else:
            obj.pk = create_model(obj.name, values, actor=Actor.person(request.user)).pk


class ReadOnlyAdmin(AnyAdminBase):
    """Rows that only Berth writes."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Nobody deletes."""
        return False


@admin.register(ConfigRevision)
class ConfigRevisionAdmin(ReadOnlyAdmin):
    list_display = ("config", "number", "author", "comment", "created_at")
    list_select_related = ("config",)
    search_fields = ("config__name", "author", "comment")


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    list_display = ("pk", "config", "phase", "desired", "node", "started_by", "created_at", "ended_at")
    list_filter = ("phase", "node")
    list_select_related = ("config", "node")
    search_fields = ("config__name", "started_by")


@admin.register(DeploymentEvent)
class DeploymentEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "deployment", "phase", "attempt", "reason", "actor")
    list_filter = ("phase",)
    list_select_related = ("deployment",)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ("deployment", "number", "started_at", "ready_at", "ended_at", "exit_code", "cause")
    list_select_related = ("deployment",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "via", "action", "target")
    list_filter = ("action", "via")
    search_fields = ("actor", "target")


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ("name", "runtimes", "heartbeat_at", "created_at")


@admin.register(Fetch)
class FetchAdmin(ReadOnlyAdmin):
    list_display = ("node", "runtime", "image", "state", "updated_at")
    list_filter = ("state",)
    list_select_related = ("node",)


@admin.register(Registry)
class RegistryAdmin(ReadOnlyAdmin):
    list_display = ("name", "address", "username", "insecure", "checked_at")
    # Not even encrypted: what cannot be read by anybody need not be looked at.
    exclude = ("secret",)


@admin.register(ImageTransfer)
class ImageTransferAdmin(ReadOnlyAdmin):
    list_display = ("pk", "kind", "repository", "tag", "node", "state", "requested_by", "created_at")
    list_filter = ("kind", "state")
    list_select_related = ("node",)
    exclude = ("claim_token",)
