"""The form of a test: how much it is to ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from deployments.refusable_form import RefusableForm
from playground.loadtests import settings as bounds
from playground.loadtests.settings import LoadSettings, in_words, read_concurrency


def _number(label: Any, most: int) -> forms.IntegerField:
    widget = forms.NumberInput({"class": "form-control", "inputmode": "numeric"})
    return forms.IntegerField(label=label, min_value=1, max_value=most, widget=widget)


class TestForm(RefusableForm):
    """A ramp of users, and how large each request is. The rest is as usual."""

    # pytest takes a class of this name for tests.
    __test__ = False

    concurrency = forms.CharField(
        label=gettext_lazy("Users at once, a level each"),
        max_length=100,
        widget=forms.TextInput({"class": "form-control", "inputmode": "numeric"}),
        help_text=gettext_lazy("Rising numbers, as in 1,2,4."),
    )
    requests = _number(gettext_lazy("Requests a level"), bounds.MOST_REQUESTS)
    prompt_tokens = _number(gettext_lazy("Prompt tokens"), bounds.MOST_PROMPT_TOKENS)
    output_tokens = _number(gettext_lazy("Output tokens"), bounds.MOST_OUTPUT_TOKENS)

    @staticmethod
    def initial_of(settings: LoadSettings) -> dict[str, Any]:
        """What the form begins with."""
        return {
            "concurrency": in_words(settings.concurrency),
            "requests": settings.requests,
            "prompt_tokens": settings.prompt_tokens,
            "output_tokens": settings.output_tokens,
        }

    def settings(self, usual: LoadSettings) -> LoadSettings:
        """What was asked for; valid forms only. Raises InvalidInputError."""
        typed = self.cleaned_data
        return replace(
            usual,
            concurrency=read_concurrency(typed["concurrency"]),
            requests=typed["requests"],
            prompt_tokens=typed["prompt_tokens"],
            output_tokens=typed["output_tokens"],
        )
