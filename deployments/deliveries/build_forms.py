"""The forms of the steps Dockerfile and Build."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy

from deployments.exceptions import InvalidInputError
from deployments.models import Delivery, Node
from deployments.refusable_form import RefusableForm
from deployments.services.image_builds import BuildOptions, parse_arguments


class DockerfileForm(RefusableForm):
    """The editor's text and where it began."""

    dockerfile = forms.CharField(
        label=gettext_lazy("Dockerfile"),
        strip=False,
        widget=forms.Textarea(
            {
                "class": "form-control code-input",
                "rows": "28",
                "spellcheck": "false",
                "wrap": "off",
                "autocomplete": "off",
            }
        ),
    )
    way = forms.ChoiceField(choices=[("", ""), *Delivery.Way.choices], required=False, widget=forms.HiddenInput)


class BuildForm(RefusableForm):
    """How to build."""

    node = forms.ChoiceField(label=gettext_lazy("Node"), widget=forms.Select({"class": "form-select"}))
    tag = forms.CharField(
        label=gettext_lazy("Tag"),
        max_length=300,
        widget=forms.TextInput({"class": "form-control font-monospace", "autocomplete": "off", "spellcheck": "false"}),
    )
    arguments = forms.CharField(
        label=gettext_lazy("Build arguments"),
        required=False,
        help_text=gettext_lazy("One NAME=value a line. They stay in the image: nothing secret."),
        widget=forms.Textarea({"class": "form-control font-monospace", "rows": "2", "spellcheck": "false"}),
    )
    secrets = forms.MultipleChoiceField(
        label=gettext_lazy("Secrets"),
        required=False,
        help_text=gettext_lazy("By name; a step reads HF_TOKEN with --mount=type=secret,id=hf_token."),
        widget=forms.CheckboxSelectMultiple,
    )
    no_cache = forms.BooleanField(label=gettext_lazy("Without the cache"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        nodes = [node.name for node in Node.objects.filter(maintenance_since=None) if "docker" in node.runtimes]
        self.set_choices("node", nodes)
        self.set_choices("secrets", list(settings.BERTH_SECRET_NAMES))

    def set_choices(self, name: str, values: list[str]) -> None:
        """Let the field take exactly ``values``."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - by the declarations above
        field.choices = [(value, value) for value in values]

    def options(self) -> BuildOptions:
        """What was typed. Raises InvalidInputError."""
        typed = self.cleaned_data
        try:
            arguments = parse_arguments(typed["arguments"])
        except InvalidInputError as error:
            self.add_refusal(error)
            raise
        return BuildOptions(
            node=typed["node"],
            tag=typed["tag"],
            arguments=arguments,
            secret_names=typed["secrets"],
            no_cache=typed["no_cache"],
        )
