"""The forms of registries, and of pushes to them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .deliveries.archives import MOST_UPLOAD_BYTES
from .models import Node, Registry
from .refusable_form import RefusableForm
from .services.registries import RegistryValues

_TEXT = {"class": "form-control", "autocomplete": "off", "spellcheck": "false"}
_SELECT = {"class": "form-select", "autocomplete": "off"}


class RegistryForm(RefusableForm):
    """A registry. The password is never shown, not even as dots: an empty field keeps what is stored."""

    name = forms.CharField(max_length=100, label=gettext_lazy("Name"), widget=forms.TextInput(_TEXT))
    address = forms.CharField(
        max_length=200,
        label=gettext_lazy("Address"),
        widget=forms.TextInput({**_TEXT, "placeholder": "registry.example.org"}),
        help_text=gettext_lazy("Host, or host:port, without http:// and without a path."),
    )
    username = forms.CharField(
        required=False, max_length=200, label=gettext_lazy("User name"), widget=forms.TextInput(_TEXT)
    )
    password = forms.CharField(
        required=False,
        max_length=8000,
        strip=False,
        label=gettext_lazy("Password or token"),
        widget=forms.PasswordInput({**_TEXT, "autocomplete": "new-password"}, render_value=False),
    )
    forget = forms.BooleanField(
        required=False,
        label=gettext_lazy("Forget the stored password"),
        widget=forms.CheckboxInput({"class": "form-check-input"}),
    )
    insecure = forms.BooleanField(
        required=False,
        label=gettext_lazy("Without TLS"),
        widget=forms.CheckboxInput({"class": "form-check-input"}),
        help_text=gettext_lazy("For a registry on this host or in a private network only."),
    )

    def __init__(self, *args: Any, registry: Registry | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if registry is not None:
            self.fields["name"].disabled = True
            self.initial = {
                "name": registry.name,
                "address": registry.address,
                "username": registry.username,
                "insecure": registry.insecure,
            }
        if registry is None or not registry.secret:
            del self.fields["forget"]
        else:
            self.fields["password"].help_text = _("One is stored, encrypted. Leave this empty to keep it.")

    @property
    def values(self) -> RegistryValues:
        """The typed values; only after ``is_valid`` said yes."""
        clean = self.cleaned_data
        password: str | None = clean["password"] or None
        if clean.get("forget") and not password:
            password = ""
        return RegistryValues(
            address=clean["address"], username=clean["username"], password=password, insecure=clean["insecure"]
        )


class ImageForm(RefusableForm):
    """Which image of which node."""

    node = forms.ModelChoiceField(Node.objects.none(), label=gettext_lazy("Node"), widget=forms.Select(_SELECT))
    image = forms.CharField(max_length=300, label=gettext_lazy("Image"), widget=forms.TextInput(_TEXT))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_nodes(self)


class PushForm(ImageForm):
    """Where it is pushed to."""

    registry = forms.ModelChoiceField(
        Registry.objects.none(), to_field_name="name", label=gettext_lazy("Registry"), widget=forms.Select(_SELECT)
    )
    path = forms.CharField(
        max_length=255,
        label=gettext_lazy("Repository"),
        widget=forms.TextInput({**_TEXT, "placeholder": "team/model"}),
    )
    tag = forms.CharField(max_length=128, label=gettext_lazy("Tag"), widget=forms.TextInput(_TEXT))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self, "registry", Registry.objects.order_by("name"))


class LoadForm(RefusableForm):
    """Which archive, one of the node or one that is uploaded, and where to."""

    node = forms.ModelChoiceField(Node.objects.none(), label=gettext_lazy("Node"), widget=forms.Select(_SELECT))
    path = forms.CharField(
        required=False,
        max_length=500,
        label=gettext_lazy("File on the node"),
        widget=forms.TextInput({**_TEXT, "placeholder": "/srv/images/model.tar"}),
    )
    archive = forms.FileField(
        required=False,
        allow_empty_file=True,
        label=gettext_lazy("Or upload it"),
        widget=forms.FileInput({"class": "form-control", "accept": ".tar,.gz,.tgz"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_nodes(self)
        bound = filesizeformat(MOST_UPLOAD_BYTES)
        self.fields["archive"].help_text = _("Up to %(size)s; put a larger one on the node.") % {"size": bound}

    def clean(self) -> dict[str, Any]:
        """One of both."""
        clean: dict[str, Any] = super().clean() or {}
        if bool(clean.get("path")) == (clean.get("archive") is not None):
            self.add_error("path", _("Name a file of the node, or upload one."))
        return clean


def _offer_nodes(form: forms.Form) -> None:
    _offer(form, "node", Node.objects.order_by("name"))


def _offer(form: forms.Form, name: str, rows: QuerySet[Any]) -> None:
    """Let ``name`` choose among ``rows``. Where there is but one it is chosen: nobody has to say which."""
    field = form.fields[name]
    field.queryset = rows  # type: ignore[attr-defined]
    if not form.is_bound and not form.initial.get(name) and len(found := rows[:2]) == 1:
        form.initial[name] = found[0].serializable_value(field.to_field_name or "pk")  # type: ignore[attr-defined]
