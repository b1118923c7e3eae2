"""The sampling parameters that the playground offers, with their ranges."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number of a chat request, by OpenAI's name. Left empty, it is not sent and the engine's default holds."""

    name: str
    label: str | Promise
    least: str
    most: str
    step: str
    hint: str | Promise


#: Ranges as in https://platform.openai.com/docs/api-reference/chat/create; top_p 0 is refused by engines. top_k is no
#: parameter of OpenAI's, but all engines of the catalogue that chat take it at the same place.
PARAMETERS = (
    Parameter(
        name="temperature", label=_("Temperature"), least="0", most="2", step="0.05", hint=_("0 to 2: higher is bolder")
    ),
    Parameter(
        name="top_p", label=_("Top p"), least="0.01", most="1", step="0.01", hint=_("0.01 to 1: lower is narrower")
    ),
    Parameter(
        name="top_k", label=_("Top k"), least="1", most="1000", step="1", hint=_("1 to 1,000: the likeliest only")
    ),
    Parameter(
        name="max_tokens",
        label=_("Max tokens"),
        least="1",
        most="131072",
        step="1",
        hint=_("1 to 131,072 in the answer"),
    ),
    Parameter(
        name="seed",
        label=_("Seed"),
        least="0",
        most="2147483647",
        step="1",
        hint=_("a whole number: repeats an answer"),
    ),
    Parameter(
        name="presence_penalty",
        label=_("Presence penalty"),
        least="-2",
        most="2",
        step="0.1",
        hint=_("−2 to 2: higher leads to new topics"),
    ),
    Parameter(
        name="frequency_penalty",
        label=_("Frequency penalty"),
        least="-2",
        most="2",
        step="0.1",
        hint=_("−2 to 2: higher repeats less"),
    ),
)
