"""``manage.py configs [import-compose FILE | export-compose NAME]``: the catalogue, and Compose files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.table import Table

from deployments.actors import Actor
from deployments.commands import BerthCommand
from deployments.compose.importing import propose, read_compose
from deployments.compose.interpolation import read_variables
from deployments.compose.proposal import Proposal, Weight
from deployments.compose.reading import MAX_BYTES
from deployments.compose.writing import config_as_compose, docker_run
from deployments.config_values import ConfigValues
from deployments.exceptions import InvalidInputError
from deployments.models import Config
from deployments.presentation.compose import ImportView, import_view
from deployments.selectors_catalogue import find_any_config, known_models
from deployments.services.catalogue import create_config


class Command(BerthCommand):
    help = "List every config of the catalogue, make one from a Compose file, or print one as a Compose file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="as JSON")
        verbs = parser.add_subparsers(dest="verb")
        read = verbs.add_parser("import-compose", help="make a config from a service of a Compose file")
        read.add_argument("file", metavar="FILE", help="what to read, or - for standard input")
        read.add_argument("--service", default="", metavar="NAME", help="which service (else the likeliest one)")
        read.add_argument("--name", default="", help="the config's name (else the served one)")
        read.add_argument("--model", default="", metavar="NAME", help="the catalogue's model that it serves")
        read.add_argument("--served-name", default="", metavar="NAME", help="what the engine itself answers to")
        read.add_argument("--memory-gib", type=float, metavar="N", help="GPU memory that it needs in all")
        read.add_argument("--env-file", metavar="FILE", help="values of the file's variables, NAME=value a line")
        read.add_argument("--dry-run", action="store_true", help="say what would become of it, and save nothing")
        read.add_argument("--json", action="store_true", help="print the proposal as JSON")
        write = verbs.add_parser("export-compose", help="print a config as a Compose file")
        write.add_argument("name", metavar="NAME", help="the config")
        write.add_argument("--docker-run", action="store_true", help="as a docker run line instead")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {None: self._list, "import-compose": self._import, "export-compose": self._export}
        verbs[options["verb"]](options)

    def _list(self, options: dict[str, Any]) -> None:
        configs = Config.objects.filter(archived_at=None, is_draft=False).select_related("model")
        if options["json"]:
            self.write_json([_as_json(config) for config in configs])
            return
        table = Table(box=None, pad_edge=False)
        for title in (_("CONFIG"), _("MODEL"), _("PROTOCOL"), _("ENGINE")):
            table.add_column(title)
        for title in (_("GPUS"), _("GIB")):
            table.add_column(title, justify="right")
        table.add_column(_("STARTS"))
        for config in configs:
            memory = f"{config.memory_gib:g}"
            starts = _("on request") if config.start_on_request else _("by hand")
            facts = (config.name, config.model.name, config.protocol, config.engine, str(config.gpus), memory, starts)
            table.add_row(*facts)
        self.write_table(table)

    def _import(self, options: dict[str, Any]) -> None:
        variables = read_variables(_read(options["env_file"]).decode("utf-8", "replace")) if options["env_file"] else {}
        file = read_compose(_read(options["file"]), variables=variables)
        models = known_models()
        secrets = settings.BERTH_SECRET_NAMES
        proposal = propose(file, options["service"] or file.likely, models=models, known_secrets=secrets)
        told = {name: options[name] for name in ("model", "served_name", "memory_gib") if options[name]}
        proposal.values.update(told)
        view = import_view(proposal, models=models.names)
        name = options["name"] or proposal.name
        if options["json"]:
            self.write_json(_proposal_as_json(proposal, name))
        else:
            self._tell(view)
        if not options["dry_run"]:
            self._save(name, proposal, models=models.names)

    def _tell(self, view: ImportView) -> None:
        """What becomes of the file, on stderr: stdout is for what was made."""
        self.stderr.write(f"{view.proposal.service}: {view.summary}")
        for row in view.left_out:
            mark = {"dangerous": "!!", "loss": " -", "harmless": "  "}[row.weight]
            self.stderr.write(f"{mark} {row.key} ({row.line}): {row.value} {row.sentence}")
        for row in view.guesses:
            self.stderr.write(f" ? {row.key}: {', '.join(row.value.splitlines())}. {row.sentence}")
        for row in view.variables:
            self.stderr.write(_(" ? ${%(name)s} has no value (line %(line)s).") % {"name": row.key, "line": row.line})

    def _save(self, name: str, proposal: Proposal, *, models: Any) -> None:
        if proposal.variables:
            names = ", ".join(proposal.variables)
            message = _("Nothing was saved: %(names)s has no value. Give it with --env-file.")
            raise InvalidInputError(message % {"names": names})
        values = proposal.checked(models=models).accepted()
        comment = _("From a Compose file, service %(service)s") % {"service": proposal.service}
        result = create_config(name, values, actor=Actor.command_line(), comment=comment[:200])
        self.stdout.write(_("“%(name)s” is in the catalogue.") % {"name": result.config.name})

    def _export(self, options: dict[str, Any]) -> None:
        config = find_any_config(options["name"])
        origin = f"Config {config.name}, revision {config.revision}"
        text = config_as_compose(config.name, ConfigValues.of(config), origin=origin)
        self.stdout.write(docker_run(config.serving_spec()) if options["docker_run"] else text.removesuffix("\n"))


def _read(name: str) -> bytes:
    """At most one byte more than is taken. Raises InvalidInputError."""
    if name == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with Path(name).open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        message = _("%(path)s cannot be read: %(reason)s.")
        raise InvalidInputError(message % {"path": name, "reason": error.strerror}) from error


def _proposal_as_json(proposal: Proposal, name: str) -> dict[str, Any]:
    return {
        "service": proposal.service,
        "config": name,
        "values": proposal.values,
        "guessed": [guess.field for guess in proposal.guesses],
        "variables": list(proposal.variables),
        "left_out": [
            {
                "key": item.key,
                "line": item.line,
                "why": item.why,
                "instead": item.instead,
                "dangerous": item.weight is Weight.DANGEROUS,
            }
            for item in proposal.left_out
        ],
    }


def _as_json(config: Config) -> dict[str, Any]:
    return {
        "config": config.name,
        "model": config.model.name,
        "protocol": config.protocol,
        "engine": config.engine,
        "runtime": config.runtime,
        "image": config.image,
        "gpus": config.gpus,
        "memory_gib": config.memory_gib,
        "context_tokens": config.context_tokens,
        "licence": config.licence,
        "gated": config.gated,
        "start_on_request": config.start_on_request,
        "stop_after_idle_minutes": config.stop_after_idle_minutes,
        "revision": config.revision,
    }
