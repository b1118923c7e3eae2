"""The forms of deliveries: text that a person typed, turned into typed values."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy

from deployments.exceptions import InvalidInputError


class RefusableForm(forms.Form):
    """A form that shows what a service refused at the fields."""

    def add_refusal(self, error: InvalidInputError) -> None:
        """Put each reason at its field, or above the form."""
        for name, reasons in (error.fields or {"": [str(error)]}).items():
            for reason in reasons:
                self.add_error(name if name in self.fields else None, reason)


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
