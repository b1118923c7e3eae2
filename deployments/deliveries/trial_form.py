"""The form of a trial: the values that one changes between two runs, and where the next one goes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deployments.config_values import ConfigValues
from deployments.forms import EnvironmentField, ItemsField
from deployments.models import Node
from deployments.refusable_form import RefusableForm
from deployments.services.lifecycle import Pins

_CODE = {"class": "form-control font-monospace", "spellcheck": "false", "autocapitalize": "off"}


class TrialForm(RefusableForm):
    """Image, arguments and environment of the next run. Whether they are valid is the service's to say."""

    image = forms.CharField(label=gettext_lazy("Image"), max_length=300, widget=forms.TextInput(_CODE))
    arguments = ItemsField(
        label=gettext_lazy("Arguments, one a line"), required=False, widget=forms.Textarea({**_CODE, "rows": "8"})
    )
    environment = EnvironmentField(
        label=gettext_lazy("Environment, NAME=value a line"),
        required=False,
        widget=forms.Textarea({**_CODE, "rows": "4"}),
        help_text=gettext_lazy("Secrets as ${NAME}, never their value."),
    )
    node = forms.ChoiceField(label=gettext_lazy("Node"), required=False, widget=forms.Select({"class": "form-select"}))
    gpus = forms.CharField(
        label=gettext_lazy("GPUs"),
        required=False,
        max_length=100,
        widget=forms.TextInput({"class": "form-control", "placeholder": "0, 1", "inputmode": "numeric"}),
        help_text=gettext_lazy("Their numbers on that node; empty leaves the choice to Berth."),
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        names = Node.objects.values_list("name", flat=True)
        choices = [("", _("wherever it fits")), *((name, name) for name in names)]
        self.fields["node"].widget = forms.Select({"class": "form-select"}, choices=choices)
        self.fields["node"].choices = choices  # type: ignore[attr-defined]

    @staticmethod
    def initial_of(values: ConfigValues) -> dict[str, Any]:
        """What the form shows of the draft."""
        return {"image": values.image, "arguments": values.arguments, "environment": dict(values.environment)}

    def clean_gpus(self) -> tuple[int, ...]:
        """The indexes that were typed."""
        parts = [part for part in self.cleaned_data["gpus"].replace(",", " ").split() if part]
        wrong = [part for part in parts if not part.isdecimal()]
        if wrong:
            raise forms.ValidationError(
                _("“%(part)s” is no number of a GPU. Write numbers such as 0, 1.") % {"part": wrong[0][:20]}
            )
        return tuple(map(int, parts))

    @property
    def pins(self) -> Pins:
        """Where the run is to go; valid forms only."""
        return Pins(node=self.cleaned_data["node"], gpus=self.cleaned_data["gpus"])
