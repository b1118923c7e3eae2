"""People and roles in Django's stock admin: every change is audited, and nobody gives more than they have.

An admin who is no superuser manages people up to their own rights. More would be a way around every other
check: whoever may set the password of a superuser is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from deployments.actors import Actor
from deployments.audit import record_audit

if TYPE_CHECKING:
    PersonAdminBase = UserAdmin[User]
else:
    PersonAdminBase = UserAdmin

#: Whoever has this role manages people, for which Django's admin wants ``is_staff``.
ADMIN_ROLE = "admin"
FLAGS = ("is_active", "is_staff", "is_superuser")


class PersonAdmin(PersonAdminBase):
    """People. Roles are given here; :meth:`may_manage` says by whom to whom."""

    readonly_fields = ("last_login", "date_joined")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Rights beside the roles are a superuser's to give."""
        own = tuple(super().get_readonly_fields(request, obj))
        return own if _is_superuser(request) else (*own, "is_superuser", "user_permissions")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only roles whose permissions the one who gives them has."""
        if db_field.name == "groups" and not _is_superuser(request):
            beyond = Permission.objects.exclude(pk__in=_permissions_of(request.user))
            kwargs["queryset"] = Group.objects.exclude(permissions__in=beyond)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Also whether the password of ``obj`` may be set."""
        return super().has_change_permission(request, obj) and self.may_manage(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """As for changing; Django asks for each of several, too."""
        return super().has_delete_permission(request, obj) and self.may_manage(request, obj)

    @staticmethod
    def may_manage(request: HttpRequest, person: User | None) -> bool:
        """Whether ``person``, active or not, may do nothing that the one who asks may not."""
        if person is None or _is_superuser(request):
            return True
        beyond = _permissions_of(person).exclude(pk__in=_permissions_of(request.user))
        return not person.is_superuser and not beyond.exists()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """Save the roles, let ``is_staff`` follow the admin role, and write one audit row for the whole change."""
        person: User = form.instance
        roles, permissions = _names(person.groups), _names(person.user_permissions)
        super().save_related(request, form, formsets, change)
        roles_now = _names(person.groups)
        if (ADMIN_ROLE in roles or ADMIN_ROLE in roles_now) and not person.is_superuser:
            _follow_role(person, is_admin=ADMIN_ROLE in roles_now)
        detail = {
            **_fields_changed(form, person, change=change),
            **_given_and_taken("roles", roles, roles_now),
            **_given_and_taken("permissions", permissions, _names(person.user_permissions)),
        }
        if detail or not change:
            _record(request, "person.save" if change else "person.create", person.username, **detail)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Django's page, which is the only one that is not atomic by itself, with an audit row."""
        with transaction.atomic():
            before = self.get_object(request, unquote(id))
            response = super().user_change_password(request, id, form_url)
            # Salted, so that even the same password set again has another hash.
            if before and User.objects.get(pk=before.pk).password != before.password:
                _record(request, "person.password", before.username)
        return response

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Delete a person. The row comes first: whoever deletes themselves is no author of rows afterwards."""
        _record(request, "person.delete", obj.username, roles=_names(obj.groups))
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Delete several people, each with a row of its own."""
        for person in queryset:
            _record(request, "person.delete", person.username, roles=_names(person.groups))
        super().delete_queryset(request, queryset)


class RoleAdmin(GroupAdmin):
    """Roles. What a role may do is a superuser's decision: anybody else would raise their own."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, _obj: Group | None = None) -> bool:
        """Superusers only."""
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, _obj: Group | None = None) -> bool:
        """Superusers only."""
        return _is_superuser(request)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: Any) -> None:
        """Save the permissions and write one audit row for the whole change."""
        role: Group = form.instance
        before = _names(role.permissions)
        super().save_related(request, form, formsets, change)
        detail = _given_and_taken("permissions", before, _names(role.permissions))
        if change and "name" in form.changed_data:
            detail["was"] = form.initial["name"]
        if detail or not change:
            _record(request, "role.save" if change else "role.create", role.name, **detail)

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        """Delete a role; the row says who had it."""
        _record(request, "role.delete", obj.name, people=_names(obj.user_set))
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Group]) -> None:
        """Delete several roles, each with a row of its own."""
        for role in queryset:
            _record(request, "role.delete", role.name, people=_names(role.user_set))
        super().delete_queryset(request, queryset)


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser


def _permissions_of(user: Any) -> QuerySet[Permission]:
    """Those given, by roles or alone, also to somebody who is inactive now and could be made active."""
    return Permission.objects.filter(Q(group__user=user) | Q(user=user)).order_by().distinct()


def _follow_role(person: User, *, is_admin: bool) -> None:
    if person.is_staff != is_admin:
        person.is_staff = is_admin
        person.save(update_fields=["is_staff"])


def _names(related: Any) -> list[str]:
    """The names of people and roles; permissions as ``app.codename``."""
    if related.model is Permission:
        found = related.select_related("content_type")
        return sorted(f"{permission.content_type.app_label}.{permission.codename}" for permission in found)
    return sorted(related.values_list("username" if related.model is User else "name", flat=True))


def _fields_changed(form: Any, person: User, *, change: bool) -> dict[str, Any]:
    """Flags with their new value, the earlier user name, and the names of other fields. Never a password."""
    if not change:
        return {}
    was = form.initial
    detail: dict[str, Any] = {
        flag.removeprefix("is_"): getattr(person, flag)
        for flag in FLAGS
        if flag in was and was[flag] != getattr(person, flag)
    }
    if "username" in form.changed_data:
        detail["was"] = was["username"]
    others = set(form.changed_data) - {*FLAGS, "username", "groups", "user_permissions", "password"}
    if others:
        detail["fields"] = sorted(others)
    return detail


def _given_and_taken(what: str, before: Iterable[str], after: Iterable[str]) -> dict[str, Any]:
    given, taken = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    return {key: names for key, names in ((f"{what}_given", given), (f"{what}_taken", taken)) if names}


def _record(request: HttpRequest, action: str, target: str, **detail: Any) -> None:
    record_audit(Actor.person(request.user), action, target, **detail)


admin.site.unregister(User)
admin.site.unregister(Group)
admin.site.register(User, PersonAdmin)
admin.site.register(Group, RoleAdmin)
