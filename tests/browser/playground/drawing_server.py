"""A server of images for the browser tests, with OpenAI's addresses: one to draw, one to edit."""

from __future__ import annotations

import argparse
import base64
import io
import zlib

from aiohttp import web
from PIL import Image, ImageDraw

SIDE = 512
#: Sky, horizon, sea, rock and lamp at dawn, by day, at dusk and at night.
HOURS = (
    ("#5b7da6", "#f3c9a5", "#3d6480", "#4a4440", "#ffe9a8"),
    ("#4f9fd4", "#d8edf5", "#1f7f8c", "#58605a", "#fff7d6"),
    ("#3b3f73", "#ef8f5d", "#2c4a66", "#332f3a", "#ffd77a"),
    ("#0d1730", "#2d4a73", "#10263d", "#1a1d26", "#fff2b0"),
)


def encoded(image: Image.Image) -> web.Response:
    """OpenAI's whole answer."""
    written = io.BytesIO()
    image.save(written, format="PNG")
    return web.json_response({"created": 1, "data": [{"b64_json": base64.b64encode(written.getvalue()).decode()}]})


async def generate(request: web.Request) -> web.Response:
    """A disc on a slope of grey; a lighthouse where a size is asked for."""
    asked = await request.json()
    if "size" in asked:
        return encoded(lighthouse(asked["prompt"], *map(int, asked["size"].split("x"))))
    image = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    ImageDraw.Draw(image).ellipse([SIDE // 4, SIDE // 4, SIDE * 3 // 4, SIDE * 3 // 4], fill=(20, 110, 100))
    return encoded(image)


def lighthouse(prompt: str, width: int, height: int) -> Image.Image:
    """Sky, sea and tower, in the colours of an hour that the prompt decides."""
    hour = zlib.crc32(prompt.encode()) % len(HOURS)
    sky, horizon, sea, tower, lamp = HOURS[hour]
    slope = Image.linear_gradient("L").resize((width, height))
    image = Image.composite(Image.new("RGB", slope.size, horizon), Image.new("RGB", slope.size, sky), slope)
    pen = ImageDraw.Draw(image)
    water, middle, foot = int(height * 0.72), int(width * (0.3 + 0.12 * hour)), int(height * 0.82)
    pen.rectangle([0, water, width, height], fill=sea)
    for step in range(9):
        left, low = (step * 197 + hour * 61) % width, water + (step + 1) * (height - water) // 10
        pen.line([left, low, left + width // 6, low], fill=horizon, width=max(1, height // 256))
    pen.ellipse([middle - width // 4, foot - height // 24, middle + width // 4, foot + height // 12], fill=tower)
    top, half = int(height * 0.26), width // 28
    pen.polygon(
        [(middle - half, top), (middle + half, top), (middle + 2 * half, foot), (middle - 2 * half, foot)],
        fill="#eef1f0",
    )
    for band in (0.36, 0.52, 0.68):
        at, wide = int(height * band), half * (1 + (band - 0.26) / 0.56)
        pen.rectangle([middle - wide, at, middle + wide, at + height // 16], fill="#b23a32")
    pen.rectangle([middle - half, top - height // 16, middle + half, top], fill=lamp)
    pen.polygon(
        [
            (middle - half * 1.4, top - height // 16),
            (middle + half * 1.4, top - height // 16),
            (middle, top - height // 9),
        ],
        fill="#7d2620",
    )
    return image


async def edit(request: web.Request) -> web.Response:
    """White where the mask is transparent."""
    form = await request.post()
    source = _image(form["image"]).convert("RGB")
    hole = _image(form["mask"]).convert("RGBA").getchannel("A").point(lambda value: 255 - value)
    source.paste("white", mask=hole)
    return encoded(source)


async def health(request: web.Request) -> web.Response:
    """Ready at once."""
    return web.json_response({})


def _image(field: object) -> Image.Image:
    assert isinstance(field, web.FileField)
    return Image.open(field.file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine")
    parser.add_argument("--port", type=int, required=True)
    application = web.Application(client_max_size=50 * 1024 * 1024)
    application.router.add_post("/v1/images/generations", generate)
    application.router.add_post("/v1/images/edits", edit)
    application.router.add_get("/health", health)
    web.run_app(application, host="127.0.0.1", port=parser.parse_args().port, access_log=None, print=None)
