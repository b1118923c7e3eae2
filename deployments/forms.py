"""The editor's forms: text that a person typed, turned into typed values. What is valid is said elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .config_checks import Checked, check_values
from .config_items import Problem
from .config_values import FIELD_NAMES, ConfigValues, field_label
from .engines import engine_names
from .images import DEFAULTS_VARIABLE, IMAGE_VARIABLES, WORKFLOW_VARIABLE
from .images.settings import built_in_defaults, readable
from .images.workflow import PLACES, shipped_workflow
from .models import CatalogueModel
from .models.catalogue import Protocol, RuntimeName
from .refusable_form import RefusableForm
from .services.catalogue_models import ModelValues

#: Fields that hold a variable of the environment.
_VARIABLES = {"workflow": WORKFLOW_VARIABLE, "image_defaults": DEFAULTS_VARIABLE}
_OWN_FIELDS = {variable: name for name, variable in _VARIABLES.items()}

Choices = Sequence[tuple[str, str | Promise]]


class NamedField(forms.ChoiceField):
    """A list to choose from. Whether the name is known is said with all other checks, in a better sentence."""

    widget = forms.Select

    def valid_value(self, value: Any) -> bool:
        """Every value passes here."""
        return True


class ItemsField(forms.Field):
    """A list, one item a line; empty lines do not count."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        """The lines of a list; text that was typed stays as it is."""
        return value if isinstance(value, str) or value is None else "\n".join(value)

    def to_python(self, value: Any) -> list[str]:
        """The items of ``value``."""
        return [line for line in typed_lines(value) if line.strip()]


class JsonText(forms.CharField):
    """JSON as a person writes it. Whether it is right is said with all other checks."""

    def to_python(self, value: Any) -> str:
        """The text with the line ends of this host."""
        return str(super().to_python(value)).replace("\r\n", "\n")


class EnvironmentField(forms.Field):
    """Variables, one NAME=value a line; those that have a field of their own are left to it."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        """The lines of a mapping; text that was typed stays as it is."""
        if not isinstance(value, Mapping):
            return value
        return "\n".join(f"{name}={text}" for name, text in value.items() if name not in IMAGE_VARIABLES)

    def to_python(self, value: Any) -> dict[str, str]:
        """Names and values. Raises ValidationError naming each line that is neither."""
        found: dict[str, str] = {}
        problems = []
        for number, line in enumerate(typed_lines(value), start=1):
            name, equals, text = line.strip().partition("=")
            if not line.strip():
                continue
            if not equals or not name.strip():
                problems.append(_("Line %(number)d: write NAME=value.") % {"number": number})
            elif name.strip() in found:
                problems.append(
                    _("Line %(number)d: %(name)s stands here twice.") % {"number": number, "name": name.strip()}
                )
            found[name.strip()] = text.strip()
        if problems:
            raise forms.ValidationError(problems)
        return found


def typed_lines(value: Any) -> list[str]:
    """The lines of a text area, which browsers end with CR and LF."""
    return str(value or "").replace("\r\n", "\n").split("\n")


def typed_problem(problem: Problem, typed: Any) -> Problem:
    """The problem with its line as the person sees it in ``typed``, where empty lines count."""
    if not isinstance(problem.item, int):
        return problem
    filled = [number for number, line in enumerate(typed_lines(typed), start=1) if line.strip()]
    return replace(problem, item=filled[problem.item - 1])


def _text(rows: int = 0, *, code: bool = False, **attributes: str) -> forms.Widget:
    classes = "form-control font-monospace" if code else "form-control"
    plain = {
        "class": classes,
        **({"spellcheck": "false", "autocapitalize": "off"} if code else {}),
        **attributes,
    }
    return forms.Textarea({**plain, "rows": str(rows)}) if rows else forms.TextInput(plain)


def _number(*, step: str = "1", minimum: str = "0", maximum: str = "") -> forms.NumberInput:
    limits = {"min": minimum, "step": step, **({"max": maximum} if maximum else {})}
    return forms.NumberInput({"class": "form-control", "inputmode": "decimal", **limits})


class ConfigForm(RefusableForm):
    """Every field of a config. After ``is_valid`` its :attr:`values` are checked; ``warnings`` may remain."""

    name = forms.CharField(max_length=100, widget=_text(code=True, autocomplete="off"))
    model = NamedField(widget=forms.Select({"class": "form-select"}))
    protocol = NamedField(choices=Protocol.choices, widget=forms.Select({"class": "form-select"}))
    engine = NamedField(widget=forms.Select({"class": "form-select", "data-engine": ""}))
    runtime = NamedField(choices=RuntimeName.choices, widget=forms.Select({"class": "form-select"}))
    image = forms.CharField(
        widget=_text(code=True),
        help_text=gettext_lazy("A container image with its tag; for the process runtime, the name of a bundle."),
    )
    served_name = forms.CharField(
        widget=_text(code=True), help_text=gettext_lazy("The model name that the engine itself answers to.")
    )
    entrypoint = ItemsField(
        required=False,
        widget=_text(2, code=True, wrap="off"),
        help_text=gettext_lazy("Only to run another command than the image's own: one part a line."),
    )
    arguments = ItemsField(
        required=False,
        widget=_text(12, code=True, wrap="off"),
        help_text=gettext_lazy("What follows the image's entry point: one argument a line, without quotes."),
    )
    environment = EnvironmentField(
        required=False,
        widget=_text(3, code=True, wrap="off"),
        help_text=gettext_lazy("One NAME=value a line. Write secrets as a reference, as in HF_TOKEN=${HF_TOKEN}."),
    )
    volumes = ItemsField(
        required=False,
        widget=_text(3, code=True, wrap="off"),
        help_text=gettext_lazy("One name:/path a line, as in hf-cache:/root/.cache/huggingface."),
    )
    port = forms.IntegerField(
        widget=_number(minimum="1", maximum="65535"), help_text=gettext_lazy("That the server listens on.")
    )
    readiness_path = forms.CharField(widget=_text(code=True), help_text=gettext_lazy("That answers once it serves."))
    load_timeout_s = forms.IntegerField(widget=_number(minimum="1"))
    grace_s = forms.IntegerField(widget=_number(maximum="600"))
    max_attempts = forms.IntegerField(widget=_number(minimum="1"))
    restart_unhealthy = forms.BooleanField(
        required=False,
        widget=forms.CheckboxInput({"class": "form-check-input"}),
        help_text=gettext_lazy("Otherwise it is only shown as unhealthy."),
    )
    start_on_request = forms.BooleanField(
        required=False,
        widget=forms.CheckboxInput({"class": "form-check-input"}),
        help_text=gettext_lazy("The first request at the gateway starts it, and waits for it."),
    )
    stop_after_idle_minutes = forms.IntegerField(
        required=False,
        widget=_number(minimum="1", maximum="10080"),
        help_text=gettext_lazy("Minutes without a request at the gateway; empty for never."),
    )
    gpus = forms.IntegerField(widget=_number(maximum="64"), help_text=gettext_lazy("0 for none."))
    memory_gib = forms.FloatField(
        widget=_number(step="any"), help_text=gettext_lazy("Weights, KV cache and overhead, over all GPUs together.")
    )
    shared_memory = forms.CharField(
        required=False, widget=_text(code=True), help_text=gettext_lazy("As in 16g; empty for the engine's default.")
    )
    context_tokens = forms.IntegerField(required=False, widget=_number())
    concurrent_requests = forms.IntegerField(
        widget=_number(minimum="1"), help_text=gettext_lazy("How many the memory estimate makes room for.")
    )
    weights_repository = forms.CharField(required=False, widget=_text(code=True))
    quantisation = forms.CharField(required=False, widget=_text(code=True))
    weights_gb = forms.FloatField(required=False, widget=_number(step="any"))
    licence = forms.CharField(required=False, widget=_text())
    licence_note = forms.CharField(
        required=False, widget=_text(), help_text=gettext_lazy("A warning that is shown wherever one may start it.")
    )
    gated = forms.BooleanField(
        required=False,
        widget=forms.CheckboxInput({"class": "form-check-input"}),
        help_text=gettext_lazy("The hub gives the weights to accepted accounts only."),
    )
    notes = forms.CharField(required=False, widget=_text(4))
    workflow = JsonText(
        required=False,
        label=gettext_lazy("Workflow for ComfyUI"),
        widget=_text(10, code=True, wrap="off"),
        help_text=format_lazy(
            gettext_lazy(
                "As ComfyUI's “Export (API)” writes it, with places for what a request says: {places}. "
                "Empty for the one below. A run that is ready keeps its own until it is started again."
            ),
            places=", ".join(PLACES),
        ),
    )
    image_defaults = JsonText(
        required=False,
        label=gettext_lazy("Defaults of images"),
        widget=_text(3, code=True, wrap="off"),
        help_text=format_lazy(
            gettext_lazy("What a request leaves open, as JSON. Where nothing is said: {defaults}"),
            defaults=built_in_defaults(),
        ),
    )
    comment = forms.CharField(
        required=False,
        max_length=200,
        label=gettext_lazy("Comment"),
        widget=_text(),
        help_text=gettext_lazy("Why you change it; kept with the revision."),
    )
    base_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, models: Sequence[str], fixed_name: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.models = models
        self.checked: Checked | None = None
        for name in ("name", *FIELD_NAMES):
            self.fields[name].label = capitalised(field_label(name))
        _offer(self.fields["model"], [(name, name) for name in models], empty=True)
        _offer(self.fields["engine"], [(name, name) for name in engine_names()], empty=True)
        if fixed_name:
            self.fields["name"].disabled = True
            self.fields["name"].initial = fixed_name
            self.fields["name"].help_text = _("A name never changes. Copy the config to have it under another one.")
        else:
            self.fields["name"].help_text = _("As in llama3-70b_4: it is the name that requests may ask for.")

    @classmethod
    def initial_of(cls, values: ConfigValues) -> dict[str, Any]:
        """What the form shows for ``values``."""
        return cls.initial_from(values.to_json())

    @classmethod
    def initial_from(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the form shows for some fields by name, as in :meth:`ConfigValues.to_json`."""
        shown = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in values.items()
        }
        environment = dict(values.get("environment", {}))
        settings = {name: readable(environment.get(variable, "")) for name, variable in _VARIABLES.items()}
        return {**shown, **settings}

    def clean(self) -> dict[str, Any]:
        """Check all fields together and put each problem at its field."""
        cleaned = dict(super().clean() or self.cleaned_data)
        raw = {name: cleaned[name] for name in FIELD_NAMES if name in cleaned}
        if "environment" in raw:
            raw["environment"] = {**raw["environment"], **self._settings(cleaned)}
        unread = [name for name in FIELD_NAMES if name in self.errors]
        self.checked = check_values(raw, models=self.models, unread=unread)
        for problem in self.checked.problems:
            own = _OWN_FIELDS.get(str(problem.item))
            if own is not None:
                self.add_error(own, problem.message.removeprefix(f"{problem.item}: "))
            else:
                self.add_error(problem.field, typed_problem(problem, self.data.get(problem.field)).sentence)
        return cleaned

    def _settings(self, cleaned: Mapping[str, Any]) -> dict[str, str]:
        """The variables that have a field of their own; as stored where only their line breaks were changed."""
        stored = self.initial.get("environment", {})
        found = {}
        for name, variable in _VARIABLES.items():
            text, before = cleaned.get(name, ""), stored.get(variable, "")
            if text:
                found[variable] = before if text == readable(before) else text
        return found

    @property
    def shipped_workflow(self) -> str:
        """What a config without a workflow of its own uses."""
        return shipped_workflow().strip()

    @property
    def values(self) -> ConfigValues:
        """The checked values; only after ``is_valid`` said yes."""
        if self.checked is None or self.checked.values is None:
            raise ValueError("The form is not valid.")
        return self.checked.values

    def groups(self) -> Iterator[tuple[str, str, list[forms.BoundField]]]:
        """Key, title and fields of each part of the page."""
        for key, title, names in (
            ("identity", _("What it serves"), ("name", "model", "protocol", "served_name")),
            (
                "run",
                _("What runs"),
                ("engine", "runtime", "image", "entrypoint", "arguments", "environment", "volumes"),
            ),
            (
                "gpu",
                _("What it needs"),
                ("gpus", "memory_gib", "context_tokens", "concurrent_requests", "shared_memory"),
            ),
            (
                "ready",
                _("When it is ready, and when it ends"),
                (
                    "port",
                    "readiness_path",
                    "load_timeout_s",
                    "grace_s",
                    "max_attempts",
                    "restart_unhealthy",
                    "start_on_request",
                    "stop_after_idle_minutes",
                ),
            ),
            ("images", _("Images"), ("workflow", "image_defaults")),
            (
                "weights",
                _("Weights and licence"),
                (
                    "weights_repository",
                    "quantisation",
                    "weights_gb",
                    "licence",
                    "licence_note",
                    "gated",
                    "notes",
                ),
            ),
        ):
            yield key, title, [self[name] for name in names]


class ModelForm(RefusableForm):
    """What is said about a model."""

    name = forms.CharField(max_length=100, widget=_text(autocomplete="off"))
    description = forms.CharField(required=False, max_length=300, widget=_text())
    parameters_b = forms.FloatField(required=False, min_value=0, widget=_number(step="any"))
    native_context_tokens = forms.IntegerField(required=False, min_value=0, widget=_number())
    layers = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=32767,
        widget=_number(minimum="1", maximum="32767"),
        help_text=gettext_lazy("num_hidden_layers in the model's config.json; the memory estimate needs it."),
    )
    kv_heads = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=32767,
        widget=_number(minimum="1", maximum="32767"),
        help_text=gettext_lazy("num_key_value_heads there; num_attention_heads where it is missing."),
    )
    head_dimension = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=32767,
        widget=_number(minimum="1", maximum="32767"),
        help_text=gettext_lazy("head_dim there; else hidden_size divided by num_attention_heads."),
    )
    vision = forms.BooleanField(required=False, widget=forms.CheckboxInput({"class": "form-check-input"}))

    def __init__(self, *args: Any, fixed_name: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = capitalised(str(CatalogueModel._meta.get_field(name).verbose_name))  # type: ignore[union-attr]
        if fixed_name:
            self.fields["name"].disabled = True
            self.fields["name"].initial = fixed_name

    @property
    def values(self) -> ModelValues:
        """The typed values; only after ``is_valid`` said yes."""
        return ModelValues(**{key: self.cleaned_data[key] for key in ModelValues.__dataclass_fields__})


def _offer(field: forms.Field, choices: Choices, *, empty: bool) -> None:
    if isinstance(field, forms.ChoiceField):
        field.choices = [*([("", _("Choose …"))] if empty else []), *choices]


def capitalised(label: str) -> str:
    """``label`` with its first letter in upper case, as form labels are written; ``GPUs`` stays."""
    return label[:1].upper() + label[1:]
