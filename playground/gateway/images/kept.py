"""Images that clients fetch by an address: kept in Redis for an hour, so that any gateway process has them.

The address is its own credential, as OpenAI's is: signed, so that nobody else can make one, with the time when it was
made. They are bounded in number and in bytes; the oldest go first.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.signing import BadSignature, TimestampSigner
from django.utils.translation import gettext_lazy as _

from deployments.redis import RedisError
from playground.exceptions import BusyError, UnknownRouteError

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Below it, ``GET`` gives an image.
PATH: Final = "/v1/images/files/"
KEPT_S: Final = 3600
MOST_IMAGES: Final = 100
MOST_BYTES: Final = 256 * 1024 * 1024
_SIGNER_SALT: Final = "playground.gateway.images"
_INDEX: Final = "berth:images"
_LONGEST_TOKEN: Final = 200
#: Of base64's first characters: what the magic numbers of image files become.
_TYPES: Final = {"iVBOR": "png", "/9j/": "jpeg", "UklGR": "webp"}
#: Keeps one, and drops the oldest until they fit: KEYS index, image; ARGV image, seconds, name, most, most bytes.
_KEEP: Final = """
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
redis.call('RPUSH', KEYS[1], ARGV[3] .. ' ' .. #ARGV[1])
local entries = redis.call('LRANGE', KEYS[1], 0, -1)
local bytes, left = 0, #entries
for _, entry in ipairs(entries) do bytes = bytes + tonumber(string.match(entry, ' (%d+)$')) end
for _, entry in ipairs(entries) do
  local name, size = string.match(entry, '^(%S+) (%d+)$')
  local key = string.gsub(KEYS[2], ARGV[3] .. '$', '') .. name
  if left <= tonumber(ARGV[4]) and bytes <= tonumber(ARGV[5]) and redis.call('EXISTS', key) == 1 then break end
  redis.call('DEL', key)
  redis.call('LPOP', KEYS[1])
  left, bytes = left - 1, bytes - tonumber(size)
end
return left
"""


def format_of(image: str) -> str:
    """png, jpeg or webp, from the beginning of its base64; png when it is none of them."""
    return next((name for mark, name in _TYPES.items() if image.startswith(mark)), "png")


class KeptImages:
    """Keeps images and gives them back."""

    def __init__(self, connect: Callable[[], Redis]) -> None:
        self._connect = connect
        self._redis: Any = None

    async def keep(self, image: str) -> str:
        """Keep an image in base64; gives its path. Raises BusyError when Redis is away."""
        # Hexadecimal: the script above takes it for a pattern.
        name = secrets.token_hex(16)
        arguments = [image, str(KEPT_S), name, str(MOST_IMAGES), str(MOST_BYTES)]
        try:
            await self._client().eval(_KEEP, 2, _INDEX, _key(name), *arguments)
        except (RedisError, OSError):
            raise BusyError(_("The image cannot be kept: Redis is away. Ask with response_format b64_json.")) from None
        return PATH + TimestampSigner(salt=_SIGNER_SALT).sign(name)

    async def find(self, path: str) -> tuple[str, bytes]:
        """Its media type and bytes. Raises UnknownRouteError, or BusyError when Redis is away."""
        token = path.removeprefix(PATH)
        try:
            name = TimestampSigner(salt=_SIGNER_SALT).unsign(token[:_LONGEST_TOKEN], max_age=KEPT_S)
        except BadSignature:
            raise _gone() from None
        try:
            image = cast("str | None", await self._client().get(_key(name)))
        except (RedisError, OSError):
            raise BusyError(_("The image cannot be fetched: Redis is away. Try again in a moment.")) from None
        if image is None:
            raise _gone()
        try:
            return f"image/{format_of(image)}", await asyncio.to_thread(base64.b64decode, image)
        except binascii.Error:
            raise _gone() from None

    async def stop(self) -> None:
        """Close the connection."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()

    def _client(self) -> Any:
        if self._redis is None:
            self._redis = self._connect()
        return self._redis


def _key(name: str) -> str:
    return f"berth:image:{name}"


def _gone() -> UnknownRouteError:
    return UnknownRouteError(
        _("There is no such image any more: they are kept for an hour at most. Ask for a new one.")
    )
