"""People who chat: their conversations, and answers that come from scripted servers through a real gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from deployments.actors import Actor
from deployments.models import CatalogueModel, Config
from playground.answers.runner import runner
from playground.chat.settings import ChatSettings
from playground.models import Answer
from playground.services.conversations import Asked, Question, begin_conversation, say
from tests.fakes.gateway import until

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PLAIN = Question(config="tiny", settings=ChatSettings())


def a_config(name: str = "tiny", *, protocol: str = "openai-text", model: str = "Tiny-1B") -> Config:
    """A config in the catalogue."""
    owner, _made = CatalogueModel.objects.get_or_create(name=model)
    return Config.objects.create(
        name=name,
        model=owner,
        protocol=protocol,
        engine="ollama" if protocol == "ollama-text" else "vllm",
        image="some/image",
        served_name=name,
        port=8000,
        readiness_path="/health",
    )


def begin(user: User, text: str = "Hi", *, question: Question = PLAIN, **options: Any) -> Asked:
    """The first message of a new conversation."""
    actor = Actor.person(user)
    conversation = begin_conversation(actor=actor)
    return say(conversation.pk, text, actor=actor, question=question, parent_id=None, **options)


async def ask(user: User, text: str = "Hi", **options: Any) -> Asked:
    """As :func:`begin`, in the loop in which the runner makes the answer."""
    asked: Asked = await sync_to_async(begin)(user, text, **options)
    return asked


async def ended(answer_id: int) -> Answer:
    """The answer once nothing is made any more."""
    await until(lambda: runner.at_work == 0, within_s=10)
    return await Answer.objects.select_related("message").aget(pk=answer_id)
