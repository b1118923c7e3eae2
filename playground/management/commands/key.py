"""``manage.py key create NAME | list | revoke NAME``: gateway keys."""

from __future__ import annotations

import difflib
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.commands import BerthCommand
from deployments.exceptions import NotFoundError
from playground.models import GatewayKey
from playground.selectors import gateway_keys
from playground.services.keys import create_key, revoke_key


class Command(BerthCommand):
    help = "Make, list and revoke the keys that programs send to the gateway."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a key and print it, this once")
        create.add_argument("name", help="who or what will use it")
        create.add_argument("--expires", type=int, metavar="DAYS", help="days that it lasts (else until revoked)")
        listing = verbs.add_parser("list", help="show every key")
        listing.add_argument("--json", action="store_true", help="print a list of objects")
        revoke = verbs.add_parser("revoke", help="end a key at once")
        revoke.add_argument("name", help="the key's name")

    def handle(self, *args: Any, **options: Any) -> None:
        {"create": self._create, "list": self._list, "revoke": self._revoke}[options["verb"]](options)

    def _create(self, options: dict[str, Any]) -> None:
        made = create_key(options["name"], actor=Actor.command_line(), expires_in_days=options["expires"])
        self.stderr.write(_("The key %(name)s; it is shown this once:") % {"name": made.key.name})
        self.stdout.write(made.secret)

    def _list(self, options: dict[str, Any]) -> None:
        keys = list(gateway_keys())
        if options["json"]:
            self.write_json([_to_json(key) for key in keys])
            return
        if not keys:
            self.stderr.write(_("There is no key yet. Make one with: berth key create NAME"))
        for key in keys:
            expires = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else _("until revoked")
            self.stdout.write(f"{key.name}  berth-{key.prefix}-…  {key.state.label}  {expires}  {key.made_by}")

    def _revoke(self, options: dict[str, Any]) -> None:
        name = options["name"]
        # Revoked keys may have had the same name; at most one is not revoked.
        named = GatewayKey.objects.filter(name=name)
        key = named.filter(revoked_at=None).first() or named.first()
        if key is None:
            raise NotFoundError(_("There is no key called %(name)s.") % {"name": name} + _near(name))
        result = revoke_key(key.pk, actor=Actor.command_line())
        sentence = _("The key %(name)s is revoked.") if result.changed else _("The key %(name)s was revoked before.")
        self.stdout.write(sentence % {"name": name})


def _near(name: str) -> str:
    names = GatewayKey.objects.filter(revoked_at=None).values_list("name", flat=True)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return " " + _("Did you mean %(names)s?") % {"names": ", ".join(near)}
    return " " + _("List them with: berth key list")


def _to_json(key: GatewayKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "prefix": key.prefix,
        "state": key.state.value,
        "made_by": key.made_by,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
    }
