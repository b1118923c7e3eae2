"""The four groups and what each may do."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission

from deployments.actors import EDIT_CATALOGUE, MANAGE_KEYS, OPERATE, TRY_MODELS, Actor, explain_missing
from deployments.roles import ROLES, make_groups
from tests.deployments.editing import person

pytestmark = pytest.mark.django_db


def held_by(role: str) -> set[str]:
    return {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in Group.objects.get(name=role).permissions.select_related("content_type")
    }


def test_migrating_made_the_groups_with_all_their_permissions() -> None:
    expected: set[str] = set()
    for role, permissions in ROLES.items():
        expected |= set(permissions)
        assert held_by(role) == expected


def test_making_them_again_keeps_what_people_granted() -> None:
    extra = Permission.objects.get(codename="view_fetch")
    Group.objects.get(name="viewer").permissions.add(extra)
    make_groups()
    assert "deployments.view_fetch" in held_by("viewer")
    assert Group.objects.filter(name__in=ROLES).count() == 4


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", set()),
        ("operator", {OPERATE, TRY_MODELS}),
        ("editor", {OPERATE, TRY_MODELS, EDIT_CATALOGUE}),
        ("admin", {OPERATE, TRY_MODELS, EDIT_CATALOGUE, MANAGE_KEYS}),
    ],
)
def test_a_role_may_do_what_the_one_before_it_may_and_more(role: str, may: set[str]) -> None:
    actor = Actor.person(person("pia", role))
    assert {each for each in (OPERATE, TRY_MODELS, EDIT_CATALOGUE, MANAGE_KEYS) if actor.may(each)} == may


def test_the_hosts_command_line_and_berth_itself_may_everything() -> None:
    for actor in (Actor.command_line(), Actor.berth()):
        actor.require(MANAGE_KEYS)


def test_a_missing_role_is_named_with_whom_to_ask() -> None:
    for permission, role in ((OPERATE, "operator"), (TRY_MODELS, "operator"), (EDIT_CATALOGUE, "editor")):
        assert f"needs the {role} role. Ask an admin" in explain_missing(permission)
    assert "admin role" in explain_missing(MANAGE_KEYS)
    assert explain_missing("auth.add_user") == "Your role does not allow this. Ask an admin."
