"""People and roles in Django's admin: who may change whom, and the audit rows of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from deployments.models import AuditEntry
from deployments.templatetags.berth import action_word

pytestmark = pytest.mark.django_db

Row = tuple[str, str, str, dict[str, Any]]


def make_person(name: str, *roles: str, **flags: Any) -> User:
    person = User.objects.create_user(name, password="correct horse", **flags)
    person.groups.add(*Group.objects.filter(name__in=roles))
    return person


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def boss() -> Client:
    """A superuser."""
    return signed_in(User.objects.create_superuser("boss", password="correct horse"))


@pytest.fixture
def chief() -> Client:
    """Somebody with the admin role, and no more."""
    return signed_in(make_person("chief", "admin", is_staff=True))


@pytest.fixture
def ada() -> User:
    return make_person("ada", "operator")


def page(name: str, *args: object) -> str:
    return reverse(f"admin:auth_{name}", args=args)


def rows() -> list[Row]:
    entries = AuditEntry.objects.order_by("pk")
    return [(entry.actor, entry.action, entry.target, entry.detail) for entry in entries]


def form_of(person: User, **changes: Any) -> dict[str, Any]:
    """The change form as it stands, with `changes`; roles by name."""
    roles = changes.pop("roles", [group.name for group in person.groups.all()])
    stands = {
        "username": person.username,
        "groups": list(Group.objects.filter(name__in=roles).values_list("pk", flat=True)),
        **{flag: "on" for flag in ("is_active", "is_staff", "is_superuser") if getattr(person, flag)},
    }
    return {name: value for name, value in {**stands, **changes}.items() if value is not None}


def change(client: Client, person: User, **changes: Any) -> int:
    status = client.post(page("user_change", person.pk), form_of(person, **changes)).status_code
    person.refresh_from_db()
    return status


def roles_of(person: User) -> list[str]:
    return sorted(person.groups.values_list("name", flat=True))


def test_adding_a_person_is_audited_without_the_password(boss: Client) -> None:
    sent = {"username": "eve", "usable_password": "true", "password1": "tr0ub4dor&3", "password2": "tr0ub4dor&3"}
    assert boss.post(page("user_add"), sent).status_code == 302
    assert rows() == [("boss", "person.create", "eve", {})]


def test_roles_given_and_taken_are_audited_by_name(boss: Client, ada: User) -> None:
    assert change(boss, ada, roles=["editor", "viewer"]) == 302
    detail = {"roles_given": ["editor", "viewer"], "roles_taken": ["operator"]}
    assert rows() == [("boss", "person.save", "ada", detail)]


def test_flags_names_and_other_fields_are_audited(boss: Client, ada: User) -> None:
    assert change(boss, ada, is_active=None, username="lovelace", email="ada@example.org") == 302
    detail = {"active": False, "was": "ada", "fields": ["email"]}
    assert rows() == [("boss", "person.save", "lovelace", detail)]


def test_permissions_beside_the_roles_are_audited(boss: Client, ada: User) -> None:
    permission = Permission.objects.get(codename="add_gatewaykey")
    assert change(boss, ada, user_permissions=[permission.pk]) == 302
    assert rows() == [("boss", "person.save", "ada", {"permissions_given": ["playground.add_gatewaykey"]})]


def test_saving_a_person_unchanged_is_no_event(boss: Client, ada: User) -> None:
    assert change(boss, ada) == 302
    assert rows() == []


def test_a_change_whose_audit_row_cannot_be_written_does_not_happen(
    boss: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_detail: object) -> None:
        raise RuntimeError("no audit today")

    monkeypatch.setattr("dashboard.admin.record_audit", refuse)
    sent = {"password1": "tr0ub4dor&3", "password2": "tr0ub4dor&3", "usable_password": "true", "set-password": "1"}
    chosen = {"action": "delete_selected", "_selected_action": [ada.pk], "post": "yes"}
    for path, content in [
        (page("user_change", ada.pk), form_of(ada, roles=["admin"], is_active=None)),
        (page("user_password_change", ada.pk), sent),
        (page("user_delete", ada.pk), {"post": "yes"}),
        (page("user_changelist"), chosen),
    ]:
        with pytest.raises(RuntimeError):
            boss.post(path, content)
    ada.refresh_from_db()
    assert ada.is_active
    assert ada.check_password("correct horse")
    assert roles_of(ada) == ["operator"]


@pytest.mark.parametrize(
    ("sent", "usable"),
    [
        (
            {
                "password1": "tr0ub4dor&3",
                "password2": "tr0ub4dor&3",
                "usable_password": "true",
                "set-password": "1",
            },
            True,
        ),
        ({"usable_password": "false", "unset-password": "1"}, False),
    ],
)
def test_setting_a_password_is_audited_without_it(boss: Client, ada: User, sent: dict[str, str], usable: bool) -> None:
    assert boss.post(page("user_password_change", ada.pk), sent).status_code == 302
    ada.refresh_from_db()
    assert ada.has_usable_password() == usable
    assert not ada.check_password("correct horse")
    assert rows() == [("boss", "person.password", "ada", {})]


def test_a_password_that_is_refused_is_no_event(boss: Client, ada: User) -> None:
    assert boss.get(page("user_password_change", ada.pk)).status_code == 200
    sent = {"password1": "tr0ub4dor&3", "password2": "another", "usable_password": "true", "set-password": "1"}
    assert boss.post(page("user_password_change", ada.pk), sent).status_code == 200
    assert rows() == []


def test_deleting_people_is_audited_one_by_one(boss: Client, ada: User) -> None:
    bob, eve = make_person("bob", "viewer", "editor"), make_person("eve")
    assert boss.post(page("user_delete", ada.pk), {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [bob.pk, eve.pk], "post": "yes"}
    assert boss.post(page("user_changelist"), chosen).status_code == 302
    assert list(User.objects.values_list("username", flat=True)) == ["boss"]
    assert sorted(rows()) == [
        ("boss", "person.delete", "ada", {"roles": ["operator"]}),
        ("boss", "person.delete", "bob", {"roles": ["editor", "viewer"]}),
        ("boss", "person.delete", "eve", {"roles": []}),
    ]


def test_whoever_deletes_themselves_is_still_named(boss: Client) -> None:
    myself = User.objects.get(username="boss")
    assert boss.post(page("user_delete", myself.pk), {"post": "yes"}).status_code == 302
    assert rows() == [("boss", "person.delete", "boss", {"roles": []})]
    assert AuditEntry.objects.get().user is None


def test_the_admin_role_opens_the_admin_and_taking_it_closes_it(boss: Client, ada: User) -> None:
    change(boss, ada, roles=["admin"])
    assert ada.is_staff
    assert signed_in(ada).get(page("user_changelist")).status_code == 200
    assert rows()[-1][3] == {"staff": True, "roles_given": ["admin"], "roles_taken": ["operator"]}
    change(boss, ada, roles=["operator"])
    assert not User.objects.get(username="ada").is_staff
    assert rows()[-1][3] == {"staff": False, "roles_given": ["operator"], "roles_taken": ["admin"]}


def test_a_superuser_without_the_admin_role_keeps_the_admin(boss: Client) -> None:
    other = User.objects.create_superuser("other")
    change(boss, other, roles=["admin"])
    change(boss, other, roles=[])
    assert other.is_staff


def test_an_admin_adds_people_and_gives_them_roles(chief: Client) -> None:
    sent = {"username": "eve", "usable_password": "true", "password1": "tr0ub4dor&3", "password2": "tr0ub4dor&3"}
    assert chief.post(page("user_add"), {**sent, "is_superuser": "on", "is_staff": "on"}).status_code == 302
    eve = User.objects.get(username="eve")
    assert not eve.is_superuser
    assert change(chief, eve, roles=["editor", "admin"]) == 302
    assert (roles_of(eve), eve.is_staff) == (["admin", "editor"], True)
    assert [row[:3] for row in rows()] == [("chief", "person.create", "eve"), ("chief", "person.save", "eve")]


def test_an_admin_makes_no_superuser_of_anybody(chief: Client, ada: User) -> None:
    everything = list(Permission.objects.values_list("pk", flat=True))
    for person in (ada, User.objects.get(username="chief")):
        assert change(chief, person, is_superuser="on", user_permissions=everything) == 302
        assert not person.is_superuser
        assert person.user_permissions.count() == 0
    assert rows() == []
    fields = chief.get(page("user_change", ada.pk)).context["adminform"].form.fields
    assert not {"is_superuser", "user_permissions"} & set(fields)


def test_a_superuser_makes_superusers(boss: Client, ada: User) -> None:
    assert change(boss, ada, is_superuser="on", is_staff="on") == 302
    assert ada.is_superuser
    assert rows() == [("boss", "person.save", "ada", {"staff": True, "superuser": True})]


@pytest.mark.parametrize("kind", ["superuser", "more permissions", "more permissions, inactive"])
def test_an_admin_cannot_touch_whoever_may_do_more(chief: Client, kind: str) -> None:
    above = User.objects.create_user(
        "above", password="correct horse", is_superuser=kind == "superuser", is_active="inactive" not in kind
    )
    if kind != "superuser":
        above.user_permissions.add(Permission.objects.get(codename="change_group"))
    assert change(chief, above, username="below", is_active="on") == 403
    sent = {"password1": "tr0ub4dor&3", "password2": "tr0ub4dor&3", "usable_password": "true", "set-password": "1"}
    assert chief.post(page("user_password_change", above.pk), sent).status_code == 403
    assert chief.post(page("user_delete", above.pk), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [above.pk], "post": "yes"}
    assert chief.post(page("user_changelist"), chosen).status_code == 403
    assert chief.get(page("user_change", above.pk)).status_code == 200  # to look at
    above.refresh_from_db()
    assert above.username == "above"
    assert above.check_password("correct horse")
    assert rows() == []


def test_an_admin_gives_no_role_that_may_do_more(chief: Client, ada: User) -> None:
    strong = Group.objects.create(name="strong")
    strong.permissions.add(Permission.objects.get(codename="change_group"))
    response = chief.post(page("user_change", ada.pk), form_of(ada, groups=[strong.pk]))
    assert "groups" in response.context["adminform"].form.errors
    assert roles_of(ada) == ["operator"]


def test_an_admin_looks_at_roles_and_changes_none(chief: Client) -> None:
    role = Group.objects.get(name="admin")
    everything = list(Permission.objects.values_list("pk", flat=True))
    User.objects.get(username="chief").user_permissions.add(
        *Permission.objects.filter(codename__in=("add_group", "change_group", "delete_group"))
    )
    assert chief.get(page("group_change", role.pk)).status_code == 200
    sent = {"name": "admin", "permissions": everything}
    assert chief.post(page("group_change", role.pk), sent).status_code == 403
    assert chief.post(page("group_add"), {"name": "mine", "permissions": everything}).status_code == 403
    assert chief.post(page("group_delete", role.pk), {"post": "yes"}).status_code == 403
    assert role.permissions.count() < len(everything)


def test_making_changing_and_deleting_roles_is_audited(boss: Client, ada: User) -> None:
    see, send = (Permission.objects.get(codename=name) for name in ("view_config", "send_request"))
    boss.post(page("group_add"), {"name": "guests", "permissions": [see.pk]})
    role = Group.objects.get(name="guests")
    boss.post(page("group_change", role.pk), {"name": "visitors", "permissions": [send.pk]})
    boss.post(page("group_change", role.pk), {"name": "visitors", "permissions": [send.pk]})
    ada.groups.add(role)
    boss.post(page("group_delete", role.pk), {"post": "yes"})
    viewer = Group.objects.get(name="viewer")
    boss.post(page("group_changelist"), {"action": "delete_selected", "_selected_action": [viewer.pk], "post": "yes"})
    changed = {
        "permissions_given": ["playground.send_request"],
        "permissions_taken": ["deployments.view_config"],
        "was": "guests",
    }
    assert rows() == [
        ("boss", "role.create", "guests", {"permissions_given": ["deployments.view_config"]}),
        ("boss", "role.save", "visitors", changed),
        ("boss", "role.delete", "visitors", {"people": ["ada"]}),
        ("boss", "role.delete", "viewer", {"people": []}),
    ]


@pytest.mark.parametrize("role", ["viewer", "operator", "editor"])
def test_staff_of_lesser_roles_see_no_people(role: str) -> None:
    client = signed_in(make_person("eve", role, is_staff=True))
    for name in ("user_changelist", "user_add", "group_changelist", "group_add"):
        assert client.get(page(name)).status_code == 403


@pytest.mark.parametrize(
    "action",
    ["person.create", "person.save", "person.password", "person.delete", "role.create", "role.save", "role.delete"],
)
def test_the_activity_page_has_words_for_each(action: str) -> None:
    assert action_word(action) != action
