"""The forms of deliveries: text that a person typed, turned into typed values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from django import forms
from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.refusable_form import RefusableForm

from .requirement import AskedProtocol, Hardware, Host, Requirement, Source, Targets, Task, Weights
from .requirement_checks import requirement_problems

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class DeliveryForm(RefusableForm):
    """A new delivery."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        widget=forms.TextInput({"class": "form-control font-monospace", "autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("As in llama3-70b-service: small letters, digits, dots, dashes and underscores."),
    )
    asked_by = forms.CharField(
        label=gettext_lazy("Asked for by"),
        max_length=150,
        required=False,
        widget=forms.TextInput({"class": "form-control"}),
        help_text=gettext_lazy("The team or person who wants the service."),
    )
    note = forms.CharField(
        label=gettext_lazy("Note"), required=False, widget=forms.Textarea({"class": "form-control", "rows": "2"})
    )


def _text(*, code: bool = False, offer: str = "", **attributes: str) -> forms.TextInput:
    classes = "form-control font-monospace" if code else "form-control"
    plain = {"class": classes, "autocomplete": "off", **attributes}
    if code:
        plain |= {"spellcheck": "false", "autocapitalize": "off"}
    return forms.TextInput({**plain, **({"list": offer} if offer else {})})


def _number(*, step: str = "1", minimum: str = "1") -> forms.NumberInput:
    return forms.NumberInput({"class": "form-control", "inputmode": "decimal", "min": minimum, "step": step})


def _choice(label: _StrPromise, choices: type[TextChoices]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices.choices, widget=forms.Select({"class": "form-select"}))


class RequirementForm(RefusableForm):
    """What is asked for. What catalogue and nodes know of the named model and GPU fills what was left empty.

    ``gpus_known`` maps a GPU's name to the GiB that one has; ``models_known`` a model's name to its figures.
    """

    task = _choice(gettext_lazy("Task"), Task)
    model = forms.CharField(
        label=gettext_lazy("Model"),
        error_messages={"required": gettext_lazy("Name the model.")},
        max_length=100,
        widget=_text(offer="known-models"),
        help_text=gettext_lazy("One of the catalogue brings its figures along."),
    )
    protocol = _choice(gettext_lazy("Protocol"), AskedProtocol)
    source = _choice(gettext_lazy("Weights come from"), Source)
    repository = forms.CharField(
        label=gettext_lazy("Repository"),
        required=False,
        max_length=200,
        widget=_text(code=True, placeholder="org/model"),
    )
    revision = forms.CharField(
        label=gettext_lazy("Revision"),
        required=False,
        max_length=100,
        widget=_text(code=True),
        help_text=gettext_lazy("A commit pins it; a branch may move on."),
    )
    path = forms.CharField(
        label=gettext_lazy("Path on the host"),
        required=False,
        max_length=300,
        widget=_text(code=True, placeholder="/models/llama3-8b"),
    )
    weights = _choice(gettext_lazy("Weights at run time"), Weights)
    architecture = forms.CharField(
        label=gettext_lazy("Architecture"),
        required=False,
        max_length=100,
        widget=_text(code=True, placeholder="LlamaForCausalLM"),
        help_text=gettext_lazy("“architectures” in the model's config.json."),
    )
    quantisation = forms.CharField(
        label=gettext_lazy("Quantisation"),
        required=False,
        max_length=50,
        widget=_text(code=True, offer="known-quantisations"),
        help_text=gettext_lazy("Empty for 16 bits."),
    )
    parameters_b = forms.FloatField(
        label=gettext_lazy("Parameters, billions"), required=False, widget=_number(step="any", minimum="0")
    )
    layers = forms.IntegerField(label=gettext_lazy("Layers"), required=False, widget=_number())
    kv_heads = forms.IntegerField(label=gettext_lazy("Key-value heads"), required=False, widget=_number())
    head_dimension = forms.IntegerField(label=gettext_lazy("Head dimension"), required=False, widget=_number())
    host = _choice(gettext_lazy("It runs"), Host)
    gpus = forms.IntegerField(
        label=gettext_lazy("GPUs"), widget=_number(minimum="0"), help_text=gettext_lazy("0 for none.")
    )
    gpu = forms.CharField(
        label=gettext_lazy("GPU type"), required=False, max_length=100, widget=_text(offer="known-gpus")
    )
    gpu_memory_gib = forms.FloatField(
        label=gettext_lazy("Memory of one GPU, GiB"),
        required=False,
        widget=_number(step="any", minimum="0"),
        help_text=gettext_lazy("Empty for what a node tells of this type."),
    )
    requests_per_s = forms.FloatField(
        label=gettext_lazy("Requests each second"), required=False, widget=_number(step="any", minimum="0")
    )
    concurrent_users = forms.IntegerField(label=gettext_lazy("People at once"), required=False, widget=_number())
    first_token_ms = forms.FloatField(
        label=gettext_lazy("Time to first token, at most, ms"), required=False, widget=_number(step="any", minimum="0")
    )
    tokens_per_s = forms.FloatField(
        label=gettext_lazy("Tokens/s of an answer, at least"), required=False, widget=_number(step="any", minimum="0")
    )
    context_tokens = forms.IntegerField(label=gettext_lazy("Context, tokens"), required=False, widget=_number())

    def __init__(
        self,
        *args: Any,
        gpus_known: Mapping[str, float] | None = None,
        models_known: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.gpus_known = gpus_known or {}
        self.models_known = models_known or {}
        self.requirement = Requirement()

    @classmethod
    def initial_of(cls, wanted: Requirement) -> dict[str, Any]:
        """What the form shows for ``wanted``."""
        values = wanted.to_json()
        hardware, targets = values.pop("hardware"), values.pop("targets")
        own = {"gpu": hardware["gpu"], "gpus": hardware["count"], "gpu_memory_gib": hardware["memory_gib"]}
        shown = {**values, **own, **targets}
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in shown.items()
        }

    def clean(self) -> dict[str, Any]:
        """Fill in what is known, and put each problem at its field."""
        cleaned = dict(super().clean() or self.cleaned_data)
        for name, value in self.models_known.get(cleaned.get("model", ""), {}).items():
            if cleaned.get(name) is None and name not in self.errors:
                cleaned[name] = value
        if cleaned.get("gpu_memory_gib") is None and "gpu_memory_gib" not in self.errors:
            cleaned["gpu_memory_gib"] = self.gpus_known.get(cleaned.get("gpu", ""))
        self.requirement = _requirement_of(cleaned)
        for field, problems in requirement_problems(self.requirement).items():
            if field not in self.errors:
                self.add_error(field, problems)
        return cleaned

    def groups(self) -> Iterator[tuple[str, list[forms.BoundField]]]:
        """Title and fields of each part of the page."""
        for title, names in (
            (_("What is asked for"), ("task", "model", "protocol")),
            (_("Weights"), ("source", "repository", "revision", "path", "weights")),
            (
                _("The model's figures"),
                ("architecture", "quantisation", "parameters_b", "layers", "kv_heads", "head_dimension"),
            ),
            (_("Where it runs"), ("host", "gpus", "gpu", "gpu_memory_gib")),
            (
                _("What it must reach"),
                ("requests_per_s", "concurrent_users", "first_token_ms", "tokens_per_s", "context_tokens"),
            ),
        ):
            yield title, [self[name] for name in names]


def _requirement_of(cleaned: Mapping[str, Any]) -> Requirement:
    # A field that could not be read is missing here; its own sentence stands at it already.
    def given(*names: str) -> dict[str, Any]:
        return {name: cleaned[name] for name in names if cleaned.get(name) is not None}

    names = [each.name for each in fields(Requirement) if each.name not in {"hardware", "targets"}]
    hardware = Hardware(
        gpu=cleaned.get("gpu", ""), count=cleaned.get("gpus", 0), memory_gib=cleaned.get("gpu_memory_gib")
    )
    targets = Targets(**given(*(each.name for each in fields(Targets))))
    return Requirement(**given(*names), hardware=hardware, targets=targets)


class ToolForm(RefusableForm):
    """Which tool, and why. Whether it exists is said by the service, in a better sentence."""

    tool = forms.CharField(required=False, max_length=30)
    reason = forms.CharField(
        label=gettext_lazy("Why this one"),
        required=False,
        widget=_text(),
        help_text=gettext_lazy("Kept with your name; needed for one that was excluded."),
    )
