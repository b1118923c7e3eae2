"""LocalAI: it speaks OpenAI's protocol, but its ``url`` names its own address, which clients cannot reach.

So everything that does not ask for base64 is asked as base64 and kept here. LocalAI 4.9,
core/http/endpoints/openai/image.go (``url.JoinPath(middleware.BaseURL(c), "generated-images", …)``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from django.utils.translation import gettext_lazy as _

from playground.gateway.headers import headers_of_our_own
from playground.gateway.http1.client import CONNECT_S

from .drawing import Commission, address, words_in

PATH: Final = "/v1/images/generations"


class LocalAiDrawing:
    """One request; the members that only LocalAI knows go along."""

    def __init__(self, commission: Commission, content: Mapping[str, Any]) -> None:
        self._with = commission
        self._content = content

    async def draw(self) -> list[str]:
        """See the Protocol. It computes on when nobody waits any more: it knows no cancelling."""
        commission, asked = self._with, self._with.asked
        route = commission.route
        question = {
            **self._content,
            "model": route.served_name,
            "size": asked.size,
            "seed": asked.seed,
            "response_format": "b64_json",
            "stream": False,
        }
        async with commission.session.post(
            address(route.endpoint, PATH),
            json=question,
            headers=headers_of_our_own(route),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=commission.silence_s),
            allow_redirects=False,
        ) as response:
            raw = await commission.read_images(response, copies=3)
            if response.status != 200:
                raise commission.failed(words_in(raw) or str(response.status))
        images = await asyncio.to_thread(_images, raw)
        if not images:
            raise commission.failed(_("it answered without an image"))
        return images


def _images(raw: bytes) -> list[str]:
    try:
        entries = json.loads(raw)["data"]
        return [entry["b64_json"] for entry in entries if entry["b64_json"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
