"""Who does something: a signed-in person, the command line of the host, or Berth itself."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from .exceptions import NotAllowedError

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

#: The permissions that services check, and the least role that has each.
OPERATE = "deployments.operate_deployment"
EDIT_CATALOGUE = "deployments.change_config"
BUILD_IMAGES = "deployments.build_image"
TRY_MODELS = "playground.send_request"
MANAGE_KEYS = "playground.add_gatewaykey"
#: Names in audit rows and events, as stored.
ON_DEMAND = "on demand"
IDLE = "idle"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """The author of a mutation, as audit rows name it.

    ``user`` is None for the host's command line and for Berth itself; both are trusted, since
    whoever may run ``manage.py`` may also open the database.
    """

    name: str
    via: str
    user: User | None = None

    @classmethod
    def person(cls, user: AbstractBaseUser | AnonymousUser) -> Actor:
        """The signed-in ``user`` of a web request."""
        from django.contrib.auth.models import User

        if not isinstance(user, User):
            raise NotAllowedError(_("Sign in first."))
        return cls(name=user.get_username(), via="web", user=user)

    @classmethod
    def command_line(cls) -> Actor:
        """The operating-system user who runs a command on the host."""
        return cls(name=getpass.getuser(), via="cli")

    @classmethod
    def berth(cls) -> Actor:
        """Berth itself: the catalogue load at start, the sweep."""
        return cls(name="berth", via="system")

    @classmethod
    def on_demand(cls) -> Actor:
        """Berth itself, for requests at the gateway that wait for a config which may start on request."""
        return cls(name=ON_DEMAND, via="system")

    @classmethod
    def idle(cls) -> Actor:
        """Berth itself, since nobody has asked a deployment for as long as its config says."""
        return cls(name=IDLE, via="system")

    def may(self, permission: str) -> bool:
        """Whether this actor holds ``permission`` (``app.codename``)."""
        return self.user is None or self.user.has_perm(permission)

    def require(self, permission: str) -> None:
        """Raise NotAllowedError with a sentence naming the missing role unless allowed."""
        if not self.may(permission):
            raise NotAllowedError(explain_missing(permission))


def explain_missing(permission: str) -> str:
    """The sentence shown beside a button that one may not press."""
    sentences = {
        OPERATE: _("Starting and stopping needs the operator role. Ask an admin to add you to that group."),
        EDIT_CATALOGUE: _("Editing the catalogue needs the editor role. Ask an admin to add you to that group."),
        BUILD_IMAGES: _("Delivering images needs the editor role. Ask an admin to add you to that group."),
        TRY_MODELS: _("Sending requests needs the operator role. Ask an admin to add you to that group."),
        MANAGE_KEYS: _("Making keys needs the admin role. Ask an admin."),
    }
    return sentences.get(permission, _("Your role does not allow this. Ask an admin."))
