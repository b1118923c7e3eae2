"""Writing a delivery's Dockerfile, choosing its context, building, cancelling, and deleting what was built."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Concat, Now
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import BUILD_IMAGES, Actor
from deployments.audit import record_audit
from deployments.deliveries.archives import unpack
from deployments.deliveries.contexts import ARCHIVE, FOLDER, Context, read_archive, read_folder
from deployments.deliveries.dockerfile_text import MOST_CHARACTERS, check
from deployments.deliveries.dockerfiles import dockerfile_path
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.hints import hint_image_look
from deployments.host_paths import allowed_host_path
from deployments.jobs import cancel_job, request_job
from deployments.models import ContextArchive, Delivery, ImageBuild, ImageTransfer, Node
from deployments.secret_references import contains_token, is_secret_name
from deployments.transfers.archives import UPLOADED

from .deliveries import open_delivery

#: Docker's own grammar of references, without a digest.
_TAG = re.compile(r"(?:[a-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_ARGUMENTS = 50
#: An upload is kept so long, whoever names it: its own delivery or load names it a moment later.
KEPT_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build: on which node, under which name, with what."""

    node: str
    tag: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    secret_names: Sequence[str] = ()
    no_cache: bool = False


def save_dockerfile(delivery_id: int, text: str, *, way: str = "", actor: Actor) -> bool:
    """Keep a Dockerfile that can be built. False when nothing differed.

    Raises NotAllowedError, NotFoundError, ConflictError for a closed delivery, and InvalidInputError, naming the line,
    for a text that does not parse or holds a secret.
    """
    actor.require(BUILD_IMAGES)
    text = text.replace("\r\n", "\n")
    check(text)
    with transaction.atomic():
        delivery = open_delivery(delivery_id)
        if (delivery.dockerfile, delivery.way) == (text, way):
            return False
        delivery.dockerfile, delivery.way = text, way
        delivery.dockerfile_by, delivery.dockerfile_at = actor.name, timezone.now()
        delivery.save(update_fields=["dockerfile", "way", "dockerfile_by", "dockerfile_at", "updated_at"])
        record_audit(actor, "delivery.dockerfile", delivery.name, way=way)
    return True


def choose_no_context(delivery_id: int, *, actor: Actor) -> None:
    """Build without files."""
    _keep_context(delivery_id, Context(), actor=actor)


def choose_folder(delivery_id: int, path: str, *, actor: Actor) -> Context:
    """Build with a folder of the node. Raises InvalidInputError for one that may not be used."""
    actor.require(BUILD_IMAGES)
    allowed = allowed_host_path(path)
    elsewhere = Node.objects.exclude(name=settings.BERTH_NODE_NAME).exists()
    # Of a folder that only another node has, that one says what is in it when it builds.
    unseen = not Path(allowed).is_dir() and elsewhere
    context = Context(kind=FOLDER, path=allowed, name=Path(allowed).name) if unseen else read_folder(path)
    _keep_context(delivery_id, context, actor=actor)
    return context


def upload_context(delivery_id: int, data: bytes, *, name: str, actor: Actor) -> Context:
    """Build with the files of an archive. Raises InvalidInputError for one that is hostile or too large."""
    actor.require(BUILD_IMAGES)
    with tempfile.TemporaryDirectory(prefix="berth-context-") as folder:
        context = read_archive(data, name=name, into=Path(folder))
    with transaction.atomic():
        keep_archive(context.digest, data, actor=actor)
        _keep_context(delivery_id, context, actor=actor)
    forget_unused_archives()
    return context


def dockerfile_from_context(delivery: Delivery, path: str, *, actor: Actor) -> str:
    """The text of a Dockerfile within the delivery's context; nothing is saved. Raises InvalidInputError."""
    actor.require(BUILD_IMAGES)
    wanted = dockerfile_path(path)
    context = Context.from_json(delivery.context)
    if context.kind == FOLDER:
        return _text_of(Path(context.path), str(wanted))
    archive = ContextArchive.objects.filter(digest=context.digest).first() if context.kind == ARCHIVE else None
    if archive is None:
        raise InvalidInputError(_("There is no build context to take it from. Choose one first."))
    with tempfile.TemporaryDirectory(prefix="berth-context-") as folder:
        unpack(bytes(archive.data), Path(folder))
        return _text_of(Path(folder), str(wanted))


def request_build(delivery_id: int, options: BuildOptions, *, actor: Actor) -> ImageBuild:
    """Ask for a build of the Dockerfile and the context as they are now.

    Raises NotAllowedError, NotFoundError, ConflictError for a closed delivery or one that is being built, and
    InvalidInputError.
    """
    actor.require(BUILD_IMAGES)
    node = _node(options.node)
    _check_options(options)
    with transaction.atomic():
        delivery = open_delivery(delivery_id)
        check(delivery.dockerfile)
        if delivery.image_builds.exclude(state__in=ImageBuild.ENDED).exists():
            raise ConflictError(_("It is being built already. Cancel that build or wait for its end."))
        build = request_job(
            ImageBuild(
                delivery=delivery,
                node=node,
                dockerfile=delivery.dockerfile,
                context=delivery.context,
                tag=options.tag,
                arguments=dict(options.arguments),
                secret_names=sorted(options.secret_names),
                no_cache=options.no_cache,
                requested_by=actor.name,
            )
        )
        record_audit(actor, "image.build", options.tag, delivery=delivery.name, node=node.name, build=build.pk)
    return build


def cancel_build(build_id: int, *, actor: Actor) -> bool:
    """Ask for the end of a build. False when it had ended. Raises NotAllowedError, NotFoundError."""
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        build = _build(build_id)
        asked = cancel_job(build, actor=actor)
        if asked:
            record_audit(actor, "image.cancel_build", build.tag, build=build.pk)
    return asked


def delete_built_image(build_id: int, *, actor: Actor) -> None:
    """Delete the image from its node, by that one's worker; the build's record stays. Repeatable.

    Raises NotAllowedError, NotFoundError, ConflictError for a build that left no image.
    """
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        build = _build(build_id)
        if not build.image_id or build.gone_at is not None:
            raise ConflictError(_("This build has no image any more."))
        # A build that took everything from the cache has the image of an earlier one.
        same = ImageBuild.objects.filter(node=build.node, image_id=build.image_id)
        same.update(deleted_by=actor.name)
        record_audit(actor, "image.delete", build.tag, build=build.pk, image=build.image_id)
        transaction.on_commit(lambda: hint_image_look(build.pk, node=build.node.name))


def parse_arguments(text: str) -> dict[str, str]:
    """``NAME=value`` lines as a mapping. Raises InvalidInputError, naming the line."""
    found = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or _ARGUMENT.fullmatch(name) is None:
            raise _refusal("arguments", _("“%(line)s” is not of the form NAME=value.") % {"line": line[:80]})
        found[name] = value
    return found


def _check_options(options: BuildOptions) -> None:
    if _TAG.fullmatch(options.tag) is None or len(options.tag) > 300:
        raise _refusal("tag", _("A tag is of the form name:version, in lower-case letters, digits, dots and dashes."))
    if len(options.arguments) > MOST_ARGUMENTS:
        raise _refusal("arguments", _("There are more than %(count)d arguments.") % {"count": MOST_ARGUMENTS})
    for name, value in options.arguments.items():
        if contains_token(value) or (is_secret_name(name) and value):
            message = _("%(name)s is a secret, and a build argument stays in the image. Use a build secret.")
            raise _refusal("arguments", message % {"name": name})
    unknown = set(options.secret_names) - set(settings.BERTH_SECRET_NAMES)
    if unknown:
        message = _("%(names)s is no secret that Berth knows.") % {"names": ", ".join(sorted(unknown))}
        raise _refusal("secrets", message)


def _node(name: str) -> Node:
    node = Node.objects.filter(name=name).first()
    if node is None or "docker" not in node.runtimes:
        raise _refusal("node", _("Choose a node with a container engine."))
    if node.maintenance_since is not None:
        raise _refusal("node", _("%(name)s is in maintenance and takes nothing new.") % {"name": name})
    return node


def _refusal(field_name: str, message: str) -> InvalidInputError:
    return InvalidInputError(message, fields={field_name: [message]})


def _keep_context(delivery_id: int, context: Context, *, actor: Actor) -> None:
    actor.require(BUILD_IMAGES)
    with transaction.atomic():
        delivery = open_delivery(delivery_id)
        delivery.context = context.to_json()
        delivery.save(update_fields=["context", "updated_at"])
        told = {"kind": context.kind, "path": context.path, "digest": context.digest}
        record_audit(actor, "delivery.context", delivery.name, **told)


def keep_archive(digest: str, data: bytes, *, actor: Actor) -> None:
    """Keep an upload for whatever names its digest in the same transaction.

    One that is there already is dated anew, so that it is not forgotten meanwhile.
    """
    now = timezone.now()
    kept = {"data": data, "uploaded_by": actor.name, "uploaded_at": now}
    ContextArchive.objects.update_or_create(digest=digest, defaults=kept)


def forget_unused_archives() -> int:
    """Delete old uploads that no delivery, no live build and no live load names any more; returns how many.

    One statement: an upload that is dated anew while it runs is looked at again by the database, and stays.
    """
    builds = ImageBuild.objects.exclude(state__in=ImageBuild.ENDED)
    loads = ImageTransfer.objects.filter(kind=ImageTransfer.Kind.LOAD).exclude(state__in=ImageTransfer.ENDED)
    unused = ContextArchive.objects.filter(
        ~Exists(Delivery.objects.alias(named=KT("context__digest")).filter(named=OuterRef("digest"))),
        ~Exists(builds.alias(named=KT("context__digest")).filter(named=OuterRef("digest"))),
        ~Exists(loads.filter(digest=Concat(Value(UPLOADED), OuterRef("digest")))),
        uploaded_at__lt=Now() - KEPT_FOR,
    )
    deleted, _of_which = unused.delete()
    return deleted


def _text_of(folder: Path, path: str) -> str:
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()) or not found.is_file():
        raise InvalidInputError(_("The build context holds no %(path)s.") % {"path": path})
    try:
        with found.open(encoding="utf-8") as file:
            return file.read(MOST_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise InvalidInputError(_("%(path)s is no text.") % {"path": path}) from error


def _build(build_id: int) -> ImageBuild:
    build = ImageBuild.objects.select_related("node").filter(pk=build_id).first()
    if build is None:
        raise NotFoundError(_("There is no such build."))
    return build
