"""``manage.py key create NAME | edit NAME | list | revoke NAME``: gateway keys."""

from __future__ import annotations

import argparse
import difflib
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from deployments.actors import Actor
from deployments.commands import BerthCommand
from deployments.exceptions import NotFoundError
from playground.key_form import end_of
from playground.key_rules import NO_RULES, EndpointKind, KeyRules
from playground.models import GatewayKey
from playground.selectors import gateway_keys
from playground.services.keys import create_key, edit_key, revoke_key


class Command(BerthCommand):
    help = "Make, edit, list and revoke the keys that programs send to the gateway."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a key and print it, this once")
        create.add_argument("name", help="who or what will use it")
        create.add_argument("--expires", type=int, metavar="DAYS", help="days that it lasts (else until revoked)")
        _add_rules(create)
        edit = verbs.add_parser("edit", help="change scopes, limits or the end of a key; what is not named stays")
        edit.add_argument("name", help="the key's name")
        edit.add_argument(
            "--expires", type=_count, metavar="DAYS", help="days that it lasts from now on; 0 is until revoked"
        )
        _add_rules(edit)
        listing = verbs.add_parser("list", help="show every key")
        listing.add_argument("--json", action="store_true", help="print a list of objects")
        revoke = verbs.add_parser("revoke", help="end a key at once")
        revoke.add_argument("name", help="the key's name")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {"create": self._create, "edit": self._edit, "list": self._list, "revoke": self._revoke}
        verbs[options["verb"]](options)

    def _create(self, options: dict[str, Any]) -> None:
        made = create_key(
            options["name"],
            actor=Actor.command_line(),
            expires_in_days=options["expires"],
            rules=_rules(options, NO_RULES),
        )
        self.stderr.write(_("The key %(name)s; it is shown this once:") % {"name": made.key.name})
        self.stdout.write(made.secret)

    def _edit(self, options: dict[str, Any]) -> None:
        key = _find(options["name"])
        days = options["expires"]
        result = edit_key(
            key.pk,
            actor=Actor.command_line(),
            rules=_rules(options, key.rules),
            expires_at=key.expires_at if days is None else end_of(days or None),
        )
        sentence = _("The key %(name)s is saved.") if result.changed else _("The key %(name)s was like that before.")
        self.stdout.write(sentence % {"name": key.name})

    def _list(self, options: dict[str, Any]) -> None:
        keys = list(gateway_keys())
        if options["json"]:
            self.write_json([_to_json(key) for key in keys])
            return
        if not keys:
            self.stderr.write(_("There is no key yet. Make one with: berth key create NAME"))
        for key in keys:
            expires = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else _("until revoked")
            parts = [key.name, f"berth-{key.prefix}-…", str(key.state.label), expires, key.made_by, *_rule_words(key)]
            self.stdout.write("  ".join(parts))

    def _revoke(self, options: dict[str, Any]) -> None:
        name = options["name"]
        key = _find(name)
        result = revoke_key(key.pk, actor=Actor.command_line())
        sentence = _("The key %(name)s is revoked.") if result.changed else _("The key %(name)s was revoked before.")
        self.stdout.write(sentence % {"name": name})


def _add_rules(parser: CommandParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="a model or config that it may ask, repeatable; all for every one",
    )
    kinds = ", ".join(EndpointKind.values)
    parser.add_argument(
        "--endpoint", action="append", metavar="KIND", help=f"what it may ask for, repeatable: {kinds}, or all"
    )
    parser.add_argument("--rpm", type=_count, metavar="N", help="requests per minute; 0 is no limit")
    parser.add_argument("--tpm", type=_count, metavar="N", help="tokens per minute; 0 is no limit")
    parser.add_argument("--tokens-per-day", type=_count, metavar="N", help="tokens per day; 0 is no limit")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(_("%(text)s is not a whole number") % {"text": text})
    return int(text)


def _rules(options: dict[str, Any], before: KeyRules) -> KeyRules:
    """The rules that the options ask for; what they do not name stays as it was."""

    def names(option: str, kept: tuple[str, ...]) -> tuple[str, ...]:
        given = options[option]
        return kept if given is None else () if "all" in given else tuple(dict.fromkeys(given))

    def limit(option: str, kept: int | None) -> int | None:
        given = options[option]
        return kept if given is None else given or None

    return KeyRules(
        models=names("model", before.models),
        endpoints=names("endpoint", before.endpoints),
        requests_per_minute=limit("rpm", before.requests_per_minute),
        tokens_per_minute=limit("tpm", before.tokens_per_minute),
        tokens_per_day=limit("tokens_per_day", before.tokens_per_day),
    )


def _rule_words(key: GatewayKey) -> list[str]:
    limits = {
        "rpm": key.requests_per_minute,
        "tpm": key.tokens_per_minute,
        "tokens/day": key.tokens_per_day,
    }
    words = [f"{name}={value}" for name, value in limits.items() if value is not None]
    if key.allowed_models:
        words.append("models=" + ",".join(key.allowed_models))
    if key.allowed_endpoints:
        words.append("endpoints=" + ",".join(key.allowed_endpoints))
    return words


def _find(name: str) -> GatewayKey:
    # Revoked keys may have had the same name; at most one is not revoked.
    named = GatewayKey.objects.filter(name=name)
    key = named.filter(revoked_at=None).first() or named.first()
    if key is None:
        raise NotFoundError(_("There is no key called %(name)s.") % {"name": name} + _near(name))
    return key


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
        "models": key.allowed_models,
        "endpoints": key.allowed_endpoints,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "tokens_per_day": key.tokens_per_day,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
    }
