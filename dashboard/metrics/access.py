"""Who may read the metrics: a gateway key made for it, or an address that the settings allow. Never a session."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import Final

from django.conf import settings
from django.db import DatabaseError
from django.utils.translation import gettext_lazy as _

from playground.exceptions import ForbiddenError, UnauthenticatedError
from playground.key_rules import EndpointKind
from playground.models import GatewayKey
from playground.services.keys import find_key, note_use

logger = logging.getLogger(__name__)
KEY_NEEDED: Final = _(
    "Metrics are for addresses in BERTH_METRICS_ALLOW, and for gateway keys made with: "
    "berth key create NAME --endpoint metrics. Send the key as 'Authorization: Bearer berth-…'."
)


def check_access(remote_address: str, authorization: str) -> None:
    """Return for those who may. Raises UnauthenticatedError, ForbiddenError, or DatabaseError.

    ``remote_address`` is the connection's own; no header of a client is believed here. A key must name metrics:
    one that may ask every model was not made for this.
    """
    if is_allowed(remote_address):
        return
    scheme, _space, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError(KEY_NEEDED)
    key = find_key(token.strip())
    if key is None:
        raise UnauthenticatedError(_("This gateway key is not known. Check that it was copied whole."))
    if key.state is not GatewayKey.State.ACTIVE:
        raise UnauthenticatedError(
            _("The gateway key %(name)s is no longer valid (%(state)s). Ask an admin for another."),
            name=key.name,
            state=str(key.state.label),
        )
    if EndpointKind.METRICS not in key.allowed_endpoints:
        raise ForbiddenError(
            _("The gateway key %(name)s is not for metrics. An admin can tick metrics for it on the page Keys."),
            name=key.name,
        )
    try:
        note_use(key)
    except DatabaseError as error:
        logger.warning("The last use of key %s was not recorded: %s", key.name, error)


def is_allowed(remote_address: str) -> bool:
    """Whether the settings allow this address. An IPv4 address that came over IPv6 counts as IPv4."""
    try:
        address = ip_address(remote_address)
    except ValueError:  # a Unix socket has none
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in settings.BERTH_METRICS_ALLOW)
