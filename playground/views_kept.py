"""What is kept of chats: pictures, presets, links and exports."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from deployments.actors import Actor
from deployments.exceptions import InvalidInputError, NotFoundError
from deployments.views.fragments import PageRequest, for_viewers

from .chat.settings import read_settings
from .decoding import thumbnail
from .exporting import as_json, as_markdown, file_name
from .json_views import plain, takes_json, text_in, told
from .models import Conversation
from .page_strings import chat_strings
from .selectors_chat import (
    branch_to,
    find_conversation,
    find_picture,
    message_facts,
    page_of,
    picture_facts,
    shared_branch,
)
from .selectors_images import shared_job
from .services.pictures import MOST_BYTES, drop_picture, take_picture
from .services.presets import PresetContent, delete_preset, keep_preset
from .services.sharing import revoke_link, share_branch

#: Of the gallery, in pixels: a column of 15 rem on a dense screen.
THUMBNAIL: Final = 512


@takes_json
def picture_add(request: PageRequest) -> object:
    """Take one picture, made smaller where ``side`` says so."""
    file = request.FILES.get("picture")
    if file is None:
        raise InvalidInputError(_("There is no picture in the request."))
    # One byte more than may be, so that the service says what is wrong.
    content = file.read(MOST_BYTES + 1)
    side = request.POST.get("side", "")
    picture = take_picture(
        content,
        name=file.name or "",
        actor=Actor.person(request.user),
        longest_side=int(side) if side.isdecimal() else None,
    )
    return {**picture_facts(picture), "bytes": picture.size_bytes}


@takes_json
def picture_drop(request: PageRequest, pk: int) -> object:
    """Let an unsent picture go."""
    drop_picture(pk, actor=Actor.person(request.user))
    return {}


@require_safe
@for_viewers
def picture(request: PageRequest, pk: int) -> HttpResponseBase:
    """The picture itself. It was decoded before it was taken, and the browser is told to guess nothing."""
    found = find_picture(pk, request.user.pk)
    return _file(bytes(found.content), found.media_type)


@require_safe
@for_viewers
def picture_small(request: PageRequest, pk: int) -> HttpResponseBase:
    """The picture as the gallery shows it: a page of forty full ones would be a hundred megabytes."""
    found = find_picture(pk, request.user.pk)
    return _file(thumbnail(bytes(found.content), side=THUMBNAIL), "image/webp")


def _file(content: bytes, media_type: str) -> HttpResponse:
    response = HttpResponse(content, content_type=media_type)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


@takes_json
def preset_keep(request: PageRequest) -> object:
    """Keep settings under a name."""
    content = told(request)
    kept = PresetContent(
        settings=read_settings(content.get("settings") or {}),
        prompt=text_in(content, "prompt"),
        is_shared=content.get("shared") is True,
    )
    preset = keep_preset(text_in(content, "name"), kept, actor=Actor.person(request.user))
    return {"id": preset.pk, "name": preset.name}


@takes_json
def preset_delete(request: PageRequest, pk: int) -> object:
    """Delete a preset."""
    delete_preset(pk, actor=Actor.person(request.user))
    return {}


@require_POST
@for_viewers
def share(request: PageRequest, pk: int) -> HttpResponseBase:
    """A link to the branch that is looked at."""
    link = share_branch(pk, actor=Actor.person(request.user))
    response = redirect(page_of(link.conversation))
    response.status_code = 303
    return response


@require_POST
@for_viewers
def unshare(request: PageRequest, pk: int) -> HttpResponseBase:
    """End a link."""
    link = revoke_link(pk, actor=Actor.person(request.user))
    response = redirect(page_of(link.conversation))
    response.status_code = 303
    return response


@require_safe
@for_viewers
def shared(request: PageRequest, token: str) -> HttpResponse:
    """A conversation that somebody shared, to read only."""
    branch = shared_branch(token)
    if branch.conversation.purpose == Conversation.Purpose.IMAGES:
        return render(request, "playground/shared_images.html", {"job": shared_job(branch)})
    state = {"messages": [plain(message_facts(message)) for message in branch.messages]}
    context = {"conversation": branch.conversation, "state": state, "strings": chat_strings()}
    return render(request, "playground/shared.html", context)


@require_safe
@for_viewers
def export(request: PageRequest, pk: int, kind: str) -> HttpResponseBase:
    """The branch that is looked at, as Markdown or JSON."""
    conversation = find_conversation(pk, request.user.pk)
    if kind not in ("md", "json"):
        raise NotFoundError(_("Conversations are exported as Markdown (md) and as JSON (json)."))
    branch = branch_to(conversation, conversation.leaf_id)
    response: HttpResponse
    if kind == "json":
        response = JsonResponse(as_json(branch), json_dumps_params={"ensure_ascii": False, "indent": 1})
    else:
        response = HttpResponse(as_markdown(branch), content_type="text/markdown; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{ascii_name(file_name(branch, kind))}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def ascii_name(name: str) -> str:
    """``name`` for a header; what is not ASCII becomes an underscore."""
    return "".join(letter if letter.isascii() else "_" for letter in name)
