"""What a registry or the engine says, as a sentence with a next step, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deployments.exceptions import RuntimeFaultError

from .credentials import Credentials

LONGEST_SAID = 300

#: Code -> the sentence for the operator.
SENTENCES: Mapping[str, Promise] = {
    "wrong_password": _("The registry does not accept this name and password. Change them on the page Registries."),
    "token_expired": _(
        "The registry's token has expired: such tokens live for some hours. Ask for a new one and enter it on the page "
        "Registries."
    ),
    "no_right": _(
        "The registry knows this account and does not let it write there. Give the account the right to push, or "
        "choose a repository that it may write."
    ),
    "no_repository": _(
        "The registry has no such repository and makes none by itself. Make it there first, or correct its name."
    ),
    "quota": _("The registry's space for this project is used up. Delete old tags there, or raise the quota."),
    "tag_immutable": _("The registry has this tag already and does not let it be changed. Choose another tag."),
    "name_invalid": _(
        "The registry does not take this name. Use lower-case letters, digits, dots, dashes and slashes."
    ),
    "no_tls": _(
        "The registry answers without TLS, and the engine of the node refuses that. Give the registry a certificate, "
        "or list its address under “insecure-registries” in the engine's settings."
    ),
    "far_token_server": _(
        "The registry sends for a token to another server, which may not get the password: it was not named over TLS."
    ),
    "bad_certificate": _(
        "The registry's certificate is not trusted by the node. Install its authority's certificate there."
    ),
    "too_many": _("The registry takes no more requests for the moment. Wait some minutes, then push again."),
    "unreachable": _("The registry cannot be reached from the node. Check its address, and the network between them."),
    "broke_off": _("The connection to the registry broke off. What was sent stays there: push again to go on."),
    "no_registry": _("There is no registry of version 2 at this address. Check host and port."),
    "image_gone": _("The image is not on this node any more. Build it again, or load its archive."),
    "no_space": _("The disk is full. Free space there, then try again."),
    "bad_archive": _("This is not a whole archive of images. Save it again, and copy all of it."),
    "hostile_archive": _("The archive was refused, and nothing of it was loaded."),
    "name_taken": _(
        "The archive would take a name away from another image on this node. Remove that name from one of them first."
    ),
    "no_upload": _("The uploaded archive is not there any more. Upload it again."),
    "no_file": _("The file cannot be read on the node. Check its path."),
    "secret_unreadable": _("The stored password cannot be decrypted on this host."),
    "transfer_failed": _("The engine could not do it."),
}
#: Signs in what is said, in lower case -> code. The first match counts.
SIGNS = (
    ("token has expired", "token_expired"),
    ("token is expired", "token_expired"),
    ("will exceed the configured upper limit", "quota"),
    ("quota", "quota"),
    ("storage limit", "quota"),
    ("immutable", "tag_immutable"),
    ("toomanyrequests", "too_many"),
    ("too many requests", "too_many"),
    ("incorrect username or password", "wrong_password"),
    ("unauthorized", "wrong_password"),
    ("authentication required", "wrong_password"),
    ("no basic auth credentials", "wrong_password"),
    ("401 unauthorized", "wrong_password"),
    ("name unknown", "no_repository"),
    ("repository does not exist", "no_repository"),
    ("does not exist in the registry", "no_repository"),
    ("repository not found", "no_repository"),
    ("project not found", "no_repository"),
    ("name invalid", "name_invalid"),
    ("invalid reference format", "name_invalid"),
    ("must be lowercase", "name_invalid"),
    ("access to the resource is denied", "no_right"),
    ("denied", "no_right"),
    ("insufficient_scope", "no_right"),
    ("403 forbidden", "no_right"),
    ("no space left", "no_space"),
    ("http response to https client", "no_tls"),
    ("x509", "bad_certificate"),
    ("certificate", "bad_certificate"),
    ("image does not exist locally", "image_gone"),
    ("no such image", "image_gone"),
    ("connection refused", "unreachable"),
    ("no such host", "unreachable"),
    ("no route to host", "unreachable"),
    ("network is unreachable", "unreachable"),
)
#: What trying again may mend; all else is for a person.
TRANSIENT = frozenset({"broke_off", "unreachable"})


class TransferError(RuntimeFaultError):
    """A push, save or load failed. ``str`` is the sentence and what was said; ``code`` is one of SENTENCES."""

    code = "transfer_failed"

    @classmethod
    def of(cls, code: str, *, said: str = "", **params: str) -> Self:
        """The error of a code, with what the other side said behind its sentence."""
        detail = said or next(iter(params.values()), "")
        sentence = str(SENTENCES[code])
        return cls(f"{sentence} ({detail})" if detail else sentence, code=code, said=detail)

    @property
    def is_transient(self) -> bool:
        """Whether trying again may help."""
        return self.code in TRANSIENT


def explained(said: str, *, credentials: Credentials) -> TransferError:
    """From what registry or engine said. A server that repeats the password is not quoted with it."""
    lowered = said.lower()
    code = next((code for sign, code in SIGNS if sign in lowered), "broke_off")
    return TransferError.of(code, said=credentials.hide_in(said.strip())[:LONGEST_SAID])
