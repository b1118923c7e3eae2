"""A server of images for the browser tests, with OpenAI's addresses: one to draw, one to edit."""

from __future__ import annotations

import argparse
import base64
import io

from aiohttp import web
from PIL import Image, ImageDraw

SIDE = 512


def encoded(image: Image.Image) -> web.Response:
    """OpenAI's whole answer."""
    written = io.BytesIO()
    image.save(written, format="PNG")
    return web.json_response({"created": 1, "data": [{"b64_json": base64.b64encode(written.getvalue()).decode()}]})


async def generate(request: web.Request) -> web.Response:
    """A disc on a slope of grey, whatever was asked for."""
    image = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    ImageDraw.Draw(image).ellipse([SIDE // 4, SIDE // 4, SIDE * 3 // 4, SIDE * 3 // 4], fill=(20, 110, 100))
    return encoded(image)


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
