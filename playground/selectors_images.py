"""Images as the gallery and the drawer read them. Query counts are constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Prefetch, QuerySet

from .drawing.engines import PROTOCOL, can_edit, knows_more
from .models import Answer, Conversation, Message, Picture, ShareLink
from .selectors import ChatTargets, chat_targets
from .selectors_chat import Branch, links_of
from .services.drawing import no_such_image

#: Requests on one page of the gallery.
LISTED: Final = 40


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request for images and what came of it."""

    answer: Answer

    @property
    def prompt(self) -> str:
        """What was asked for."""
        said = self.answer.message.parent
        return said.content if said else ""

    @property
    def pictures(self) -> Sequence[Picture]:
        """Without their bytes."""
        return list(self.answer.message.pictures.all())

    @property
    def seed(self) -> int | None:
        """That of the first image: as the engine told it, else as it was asked for."""
        asked = self.answer.settings.get("seed")
        return self.answer.seed if self.answer.seed is not None else asked

    @property
    def links(self) -> Sequence[ShareLink]:
        """By which others see it now."""
        return list(links_of(self.answer.message.conversation))

    @property
    def count(self) -> int:
        """How many were asked for."""
        count = self.answer.settings.get("count", 1)
        return count if isinstance(count, int) else 1


@dataclass(frozen=True, kw_only=True)
class GalleryPage:
    """Newest first; ``older`` is where the next page begins, None on the last."""

    jobs: Sequence[Job]
    older: int | None


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of the gallery, without its bytes."""

    picture: Picture
    job: Job

    def facts(self) -> dict[str, Any]:
        """How it was made, for people and programs."""
        answer = self.job.answer
        told = {name: value for name, value in answer.settings.items() if name not in ("seed", "source", "mask")}
        return {
            "prompt": self.job.prompt,
            **told,
            "seed": self.job.seed,
            "number": int(self.picture.name) if self.picture.name.isdecimal() else 1,
            "edited": "source" in answer.settings,
            "width": self.picture.width,
            "height": self.picture.height,
            "config": answer.config,
            "made": self.picture.created_at.isoformat(),
            "duration_ms": answer.duration_ms,
            "request": answer.request_id,
        }


@dataclass(frozen=True, kw_only=True)
class ImageTargets:
    """Configs that draw. ``knows_more``: the chosen one takes seed, steps and guidance; ``editors`` edit images."""

    targets: ChatTargets
    knows_more: bool
    editors: Sequence[str]


def image_targets(wanted: str) -> ImageTargets:
    """The ready configs of images, and what became of ``wanted``."""
    targets = chat_targets(wanted, protocols=(PROTOCOL,))
    return ImageTargets(
        targets=targets,
        knows_more=targets.chosen is not None and knows_more(targets.chosen.engine),
        editors=[target.config for target in targets.ready if can_edit(target.engine)],
    )


def gallery(user_id: int, *, before: int | None = None) -> GalleryPage:
    """A page of a person's requests for images: two queries."""
    found = _jobs(user_id)
    if before is not None:
        found = found.filter(pk__lt=before)
    answers = list(found[: LISTED + 1])
    shown = answers[:LISTED]
    return GalleryPage(
        jobs=[Job(answer=answer) for answer in shown], older=shown[-1].pk if len(answers) > LISTED else None
    )


def find_job(answer_id: int, user_id: int) -> Job:
    """A request of this person. Raises NotFoundError."""
    answer = _jobs(user_id).filter(pk=answer_id).first()
    if answer is None:
        raise no_such_image()
    return Job(answer=answer)


def shared_job(branch: Branch) -> Job:
    """The request that a link shows."""
    return Job(answer=branch.messages[-1].answer)


def find_image(picture_id: int, user_id: int) -> Image:
    """An image that was made for this person. Raises NotFoundError."""
    answer = _jobs(user_id).filter(message__pictures=picture_id).first()
    if answer is None:
        raise no_such_image()
    job = Job(answer=answer)
    return Image(picture=next(each for each in job.pictures if each.pk == picture_id), job=job)


def image_bytes(image: Image) -> bytes:
    """The file as it came."""
    return bytes(Picture.objects.values_list("content", flat=True).get(pk=image.picture.pk))


def own_picture(picture_id: int | None, user_id: int) -> Picture | None:
    """A picture of this person without its bytes, if it is there."""
    return Picture.objects.filter(pk=picture_id or 0, owner_id=user_id).defer("content").first()


def _jobs(user_id: int) -> QuerySet[Answer]:
    mine = Conversation.Purpose.IMAGES
    pictures = Prefetch("message__pictures", queryset=Picture.objects.defer("content"))
    role = Message.Role.ASSISTANT
    return (
        Answer.objects.filter(
            message__conversation__owner_id=user_id, message__conversation__purpose=mine, message__role=role
        )
        .select_related("message__parent")
        .prefetch_related(pictures)
        .order_by("-pk")
    )
