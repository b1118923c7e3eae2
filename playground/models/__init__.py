"""The tables of this app: keys, and what was used."""

from __future__ import annotations

from .keys import GatewayKey
from .usage import UsageBatch, UsageDay, UsageHour, UsageRequest, UsageSeries

__all__ = ["GatewayKey", "UsageBatch", "UsageDay", "UsageHour", "UsageRequest", "UsageSeries"]
