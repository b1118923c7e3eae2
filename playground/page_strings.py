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
        "bad_status": _("The gateway answered with status {status} and no explanation."),
        "choose": _("Choose a ready config first."),
        "queue": _("{ms} ms in the queue"),
        "start": _("{s} s to start"),
        "replica": _("replica {name}"),
        "request": _("request {id}"),
        "waiting": _("waiting for the first token, {s} s"),
        "failed": _("failed"),
        "branch": _("{n}/{of}"),
        "thinking": _("The model is thinking."),
        "over": _("The answer is complete."),
        "no_json": _("This is not a JSON object."),
        "picture": _("Picture {name}"),
        "too_many_pictures": _("A message shows at most {most} pictures."),
        "kept": _("Kept."),
        "own_presets": _("Yours"),
        "shared_presets": _("Shared by others"),
        "lost": _("The connection is lost. What comes meanwhile is shown when it is back."),
        "gone": _("This answer was deleted in another tab."),
    }


def image_strings() -> dict[str, str]:
    """As :func:`chat_strings`, for the page of images."""
    return {
        "unreachable": _("Berth did not answer. Check the connection, then try again."),
        "bad_status": _("The gateway answered with status {status} and no explanation."),
        "turn": _("waiting for its turn"),
        "step": _("step {step} of {steps}"),
        "begun": _("Your images are being made."),
        "ready": _("Your images are ready."),
        "ended": _("Your images were not made."),
    }


def raw_strings() -> dict[str, str]:
    """The same for Raw."""
    return {
        "unreachable": _("Berth did not answer. Check the connection, then try again."),
        "bad_status": _("The gateway answered with status {status} and no explanation."),
        "broke_off": _("The answer broke off before its end."),
        "stopped": _("stopped by you"),
        "head": _("{ms} ms to the head"),
        "first": _("{ms} ms to the first byte"),
        "total": _("{ms} ms in all"),
        "size": _("{bytes} bytes in {frames} frames"),
        "cut": _("Cut off: only the first 4 MiB are shown."),
        "more": _("{n} frames more came and are not shown."),
        "binary": _("The body is no text and is not shown."),
        "json_body": _("Body, as JSON"),
        "form_body": _("Fields of the form, as JSON"),
    }


def compare_strings() -> dict[str, str]:
    """The same for Compare, over those of chats."""
    return chat_strings() | {
        "column": _("Column {n}"),
        "not_ready": _("not ready"),
        "column_of": _("{n}: {config}"),
        "best": _("Best"),
        "best_of": _("{config} is best"),
        "wins": _("best {n} times"),
        "ms": _("{ms} ms"),
        "per_s": _("{rate} tok/s"),
        "about_per_s": _("about {rate} tok/s"),
        "round": _("{n} of {of}"),
        "batch": _("{asked} of {total} prompts asked"),
        "two": _("Choose a ready config for each column first."),
        "own_settings": _("Settings of column {n}"),
        "all_settings": _("Settings of all columns"),
        "complete": _("All answers are complete."),
        "waiting_state": _("waiting"),
        "streaming_state": _("arriving"),
        "done_state": _("complete"),
        "stopped_state": _("stopped"),
        "interrupted_state": _("interrupted"),
        "failed_state": _("failed"),
    }


def load_strings() -> dict[str, str]:
    """The same for the charts of load tests."""
    return {
        "tokens_per_s": _("Throughput, tokens a second"),
        "requests_per_s": _("Throughput, requests a second"),
        "first_token_ms": _("Time to first token, p95, ms"),
        "total_ms": _("Time in all, p95, ms"),
        "users": _("{n} users at once"),
        "axis": _("users at once"),
    }
