"""``manage.py request MODEL [PROMPT]``: ask a running model through the gateway."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.console import Console

from deployments.commands import WRONG_USAGE, BerthCommand
from deployments.models.catalogue import Protocol
from playground.pictures import read_picture
from playground.protocols import Question
from playground.request_client import Timed, free_name, send_question, write_file
from playground.selectors import request_target


class Command(BerthCommand):
    help = "Send a prompt to a running model and print the answer as it arrives. Exits with 1 if it does not run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of a model or config, as in: berth configs")
        parser.add_argument("prompt", nargs="?", help="what to ask; read from standard input when left out or -")
        parser.add_argument("--protocol", choices=Protocol.values, help="how to ask; else as the config speaks")
        parser.add_argument("--image", type=Path, metavar="FILE", help="a picture to send with the prompt")
        parser.add_argument("--out", type=Path, metavar="FILE", help="write the picture, or the text, to FILE")
        parser.add_argument("--no-stream", action="store_true", help="print the answer when it is complete")
        parser.add_argument("--json", action="store_true", help="print the whole response object")

    def handle(self, *args: Any, **options: Any) -> None:
        prompt = self._prompt(options["prompt"])
        target = request_target(options["model"], protocol=options["protocol"])
        is_picture = target.protocol == Protocol.OPENAI_IMAGE
        if options["image"] and is_picture:
            self._wrong_usage(_("--image goes with a text model: a picture is sent, and text comes back."))
        question = Question(
            model=target.name,
            prompt=prompt,
            stream=not (options["no_stream"] or options["json"] or options["out"] or is_picture),
            picture=read_picture(options["image"]) if options["image"] else None,
        )
        with self._waiting(question) as waiting:
            timed = send_question(question, protocol=target.protocol, on_text=self._printer(question, waiting))
        self._show(timed, question, options)

    def _prompt(self, given: str | None) -> str:
        if given in {None, "-"} and sys.stdin.isatty():
            self._wrong_usage(_("Write a prompt after the model's name, or send one to standard input."))
        prompt = sys.stdin.read() if given in {None, "-"} else str(given)
        if not prompt.strip():
            self._wrong_usage(_("The prompt is empty."))
        return prompt

    def _waiting(self, question: Question) -> AbstractContextManager[Any]:
        """On a terminal, a sign that something happens until the first words are there."""
        console = Console(stderr=True)
        if not console.is_terminal:
            return nullcontext()
        return console.status(_("%(model)s is at work") % {"model": question.model})

    def _printer(self, question: Question, waiting: Any) -> Any:
        def show(piece: str) -> None:
            if question.stream:
                if waiting is not None:
                    waiting.stop()
                self.stdout.write(piece, ending="")
                self.stdout.flush()

        return show

    def _show(self, timed: Timed, question: Question, options: dict[str, Any]) -> None:
        answer, out = timed.answer, options["out"]
        if answer.pictures:
            path = out or free_name(Path(f"{question.model}.png"))
            write_file(path, answer.pictures[0])
            self.stderr.write(_("The picture is in %(path)s") % {"path": path})
        elif out:
            write_file(out, answer.text.encode())
            self.stderr.write(_("The answer is in %(path)s") % {"path": out})
        if options["json"]:
            self.write_json(answer.whole)
        elif question.stream:
            self.stdout.write("")
        elif not answer.pictures and not out:
            self.stdout.write(answer.text)
        if sys.stderr.isatty() and not options["json"]:
            Console(stderr=True).print(_in_words(timed), style="dim", highlight=False)

    def _wrong_usage(self, sentence: str) -> NoReturn:
        self.stderr.write(sentence)
        sys.exit(WRONG_USAGE)


def _in_words(timed: Timed) -> str:
    """One line of figures, as under an answer in the playground."""
    answer, rate = timed.answer, timed.tokens_per_s
    parts = [
        _("%(s)s s in all") % {"s": f"{timed.total_s:.2f}"},
        "" if timed.first_s is None else _("%(ms)s ms to the first token") % {"ms": round(timed.first_s * 1000)},
        "" if rate is None else _("%(rate)s tok/s") % {"rate": f"{rate:.0f}"},
    ]
    if answer.prompt_tokens is not None:
        tokens = {"prompt": answer.prompt_tokens, "answer": answer.answer_tokens}
        parts.append(_("%(prompt)s + %(answer)s tokens") % tokens)
    return " · ".join(part for part in parts if part)
