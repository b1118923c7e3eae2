"""The base of forms whose values a service checks."""

from __future__ import annotations

from django import forms

from .exceptions import InvalidInputError


class RefusableForm(forms.Form):
    """A form that shows what a service refused at its fields."""

    def add_refusal(self, error: InvalidInputError) -> None:
        """Put each reason at its field, or above the form."""
        for name, reasons in (error.fields or {"": [str(error)]}).items():
            for reason in reasons:
                self.add_error(name if name in self.fields else None, reason)
