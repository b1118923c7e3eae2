"""The tables of this app: keys, what was used, conversations and comparisons."""

from __future__ import annotations

from .answers import Answer
from .comparisons import Comparison, ComparisonBatch, ComparisonCell, ComparisonColumn, ComparisonRound
from .conversations import Conversation, Message
from .image_test import ImageTest
from .keys import GatewayKey
from .load_test import LoadTest
from .pictures import Picture
from .presets import Preset
from .sharing import ShareLink
from .usage import UsageBatch, UsageDay, UsageHour, UsageRequest, UsageSeries

__all__ = [
    "Answer",
    "Comparison",
    "ComparisonBatch",
    "ComparisonCell",
    "ComparisonColumn",
    "ComparisonRound",
    "Conversation",
    "GatewayKey",
    "ImageTest",
    "LoadTest",
    "Message",
    "Picture",
    "Preset",
    "ShareLink",
    "UsageBatch",
    "UsageDay",
    "UsageHour",
    "UsageRequest",
    "UsageSeries",
]
