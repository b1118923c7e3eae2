"""A key for each deployment, so that what reaches a model server without the gateway is refused.

Derived, not stored: whoever has the installation's key file (worker and gateway) computes the same one.
"""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings


def deployment_key(deployment_id: int) -> str:
    """The bearer token that the deployment's server is started with, and asked with."""
    message = f"berth deployment {deployment_id}".encode()
    return "berth-" + hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()[:40]
