"""The playground's page, and what its modules ask while people chat."""

from __future__ import annotations

from typing import Any

from django.db.models import prefetch_related_objects
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from deployments.actors import TRY_MODELS, Actor, explain_missing
from deployments.views.fragments import PageRequest, for_viewers, wants_fragment

from .answers.storing import interrupt_dead_answers
from .chat.settings import THINK_WORDS, read_settings
from .json_views import answers_json, number_in, numbers_in, plain, takes_json, text_in, told
from .models import Conversation
from .modes import modes
from .page_strings import chat_strings
from .parameters import PARAMETERS
from .selectors import chat_targets
from .selectors_chat import (
    conversations_of,
    find_conversation,
    links_of,
    message_facts,
    message_tree,
    page_of,
    presets_for,
)
from .services import conversations as services
from .services.pictures import SIDES


@require_safe
@for_viewers
def chat(request: PageRequest, pk: int | None = None) -> HttpResponseBase:
    """The playground with a new or a kept conversation; ``?config=`` preselects. What is no chat has a page of its own.

    htmx gets the choice of configs, or what ``?part=`` names: the conversation's head, the list of conversations, what
    is to be started.
    """
    conversation = None if pk is None else find_conversation(pk, request.user.pk)
    if conversation is not None and conversation.purpose != Conversation.Purpose.CHAT:
        return redirect(page_of(conversation))
    part = request.GET.get("part", "targets") if wants_fragment(request) else ""
    if part == "head":
        return render(request, "playground/chat_head.html", _head(conversation))
    if part == "conversations":
        return render(request, "playground/conversation_list.html", _listed(request, conversation))
    wanted = request.GET.get("config", conversation.config if conversation else "")
    context: dict[str, Any] = {"targets": chat_targets(wanted), "conversation": conversation}
    if part:
        template = "awaiting" if part == "awaiting" else "targets"
        return render(request, f"playground/{template}.html", context)
    may_send = Actor.person(request.user).may(TRY_MODELS)
    context |= _head(conversation) | _listed(request, conversation)
    context |= {
        "parameters": PARAMETERS,
        "think_words": THINK_WORDS,
        "sides": SIDES,
        "strings": chat_strings(),
        "modes": modes("playground:chat"),
        "state": _state(conversation),
        "presets": _presets(request),
        "why_not": "" if may_send else explain_missing(TRY_MODELS),
    }
    return render(request, "playground/chat.html", context)


def _head(conversation: Conversation | None) -> dict[str, Any]:
    return {"conversation": conversation, "links": list(links_of(conversation)) if conversation else []}


def _listed(request: PageRequest, conversation: Conversation | None) -> dict[str, Any]:
    search = request.GET.get("q", "")
    found = list(conversations_of(request.user.pk, search=search))
    return {"conversations": found, "search": search, "conversation": conversation}


def _state(conversation: Conversation | None) -> dict[str, Any]:
    """What the page's modules begin with."""
    if conversation is None:
        return {"conversation": None, "leaf": None, "settings": None, "messages": []}
    interrupt_dead_answers()
    return {
        "conversation": conversation.pk,
        "leaf": conversation.leaf_id,
        "settings": conversation.settings,
        "messages": plain(message_tree(conversation)),
    }


def _presets(request: PageRequest) -> list[dict[str, Any]]:
    return [
        {
            "id": preset.pk,
            "name": preset.name,
            "prompt": preset.prompt,
            "settings": preset.settings,
            "shared": preset.is_shared,
            "mine": preset.owner_id == request.user.pk,
            "owner": preset.owner.get_username(),
        }
        for preset in presets_for(request.user.pk)
    ]


@answers_json
def messages(request: PageRequest, pk: int) -> object:
    """The whole tree again, for a tab that heard of a change."""
    return _state(find_conversation(pk, request.user.pk))


@takes_json
def say(request: PageRequest) -> object:
    """Say something, in a new conversation where none is named."""
    content = told(request)
    asked = services.say(
        number_in(content, "conversation"),
        text_in(content, "text"),
        actor=Actor.person(request.user),
        question=_question(content),
        parent_id=number_in(content, "parent"),
        picture_ids=numbers_in(content, "pictures"),
    )
    return _asked(asked)


@takes_json
def again(request: PageRequest) -> object:
    """Another answer."""
    content = told(request)
    message_id = number_in(content, "message") or 0
    return _asked(services.ask_again(message_id, actor=Actor.person(request.user), question=_question(content)))


@takes_json
def stop(request: PageRequest, pk: int) -> object:
    """Stop an answer under way."""
    return {"changed": services.stop_answer(pk, actor=Actor.person(request.user))}


@takes_json
def look(request: PageRequest, pk: int) -> object:
    """Remember which branch is looked at."""
    services.look_at(pk, number_in(told(request), "leaf") or 0, actor=Actor.person(request.user))
    return {}


@require_POST
@for_viewers
def rename(request: PageRequest, pk: int) -> HttpResponseBase:
    """Another title."""
    services.rename_conversation(pk, request.POST.get("title", ""), actor=Actor.person(request.user))
    return _to(reverse("playground:conversation", args=[pk]))


@require_POST
@for_viewers
def delete(request: PageRequest, pk: int) -> HttpResponseBase:
    """Delete a conversation."""
    services.delete_conversation(pk, actor=Actor.person(request.user))
    return _to(reverse("playground:chat"))


def _question(content: dict[str, Any]) -> services.Question:
    return services.Question(
        config=text_in(content, "config"),
        settings=read_settings(content.get("settings") or {}),
        page=text_in(content, "page"),
    )


def _asked(asked: services.Asked) -> dict[str, Any]:
    new = [asked.answer.message] if asked.said is None else [asked.said, asked.answer.message]
    prefetch_related_objects(new, "pictures")
    return {
        "conversation": asked.conversation.pk,
        "url": reverse("playground:conversation", args=[asked.conversation.pk]),
        "leaf": asked.answer.pk,
        "messages": [message_facts(message) for message in new],
    }


def _to(url: str) -> HttpResponseBase:
    response = redirect(url)
    response.status_code = 303
    return response
