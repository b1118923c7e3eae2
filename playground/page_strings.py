"""The words that the playground's modules need; ``{…}`` is filled in there."""

from __future__ import annotations

from django.utils.translation import gettext as _


def chat_strings() -> dict[str, str]:
    """Name -> words in the reader's language."""
    return {
        "first_token": _("{ms} ms to the first token"),
        "rate": _("{rate} tok/s"),
        "about_rate": _("about {rate} tok/s"),
        "tokens": _("{prompt} + {answer} tokens"),
        "deployment": _("deployment {id}"),
        "stopped": _("stopped by you"),
        "interrupted": _("interrupted"),
        "length": _("cut off at the token limit"),
        "unreachable": _("Berth did not answer. Check the connection, then try again."),
        "broke_off": _("The connection broke before the answer was complete. Try again."),
        "bad_status": _("The gateway answered with status {status} and no explanation."),
        "choose": _("Choose a ready config first."),
        "not_ready": _("{config} is not ready. Wait until it is, or choose another."),
        "empty_answer": _("The model ended without a word."),
        "cleared": _("The conversation was cleared."),
        "out_of_room": _("The browser has no room left to keep this conversation over a reload."),
    }
