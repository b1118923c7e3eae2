"""Asking for pushes, saves and loads, cancelling them, and writing a pushed image into the delivery's config."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import PurePosixPath
from typing import NoReturn

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deployments.actors import BUILD_IMAGES, EDIT_CATALOGUE, Actor
from deployments.audit import record_audit
from deployments.config_values import ConfigValues
from deployments.deliveries.archives import MOST_UNPACKED_BYTES, MOST_UPLOAD_BYTES
from deployments.deliveries.sizes import in_words
from deployments.exceptions import ConflictError, InvalidInputError, NotFoundError
from deployments.host_paths import host_path_problem
from deployments.jobs import cancel_job, request_job
from deployments.models import ConfigRevision, Delivery, ImageTransfer, Job, Node
from deployments.models.catalogue import RuntimeName
from deployments.registries.addresses import path_problem, tag_problem
from deployments.registries.refusals import TransferError
from deployments.transfers.archives import UPLOADED
from deployments.transfers.examining import examine

from .catalogue import save_config
from .deliveries import open_delivery
from .image_builds import forget_unused_archives, keep_archive
from .registries import find_registry

Kind = ImageTransfer.Kind


def request_push(
    delivery: Delivery, *, node: Node, image: str, image_id: str, registry: str, path: str, tag: str, actor: Actor
) -> ImageTransfer:
    """Ask ``node`` to push its image to ``registry`` as ``path:tag``.

    Raises NotAllowedError, NotFoundError, InvalidInputError, ConflictError for a closed delivery, or while the same
    push goes on.
    """
    actor.require(BUILD_IMAGES)
    target = find_registry(registry)
    reasons = {"path": path_problem(path), "tag": tag_problem(tag)}
    if wrong := {field: [reason] for field, reason in reasons.items() if reason}:
        raise InvalidInputError(" ".join(reason for each in wrong.values() for reason in each), fields=wrong)
    repository = f"{target.address}/{path}"
    with transaction.atomic():
        open_delivery(delivery.pk)
        going_on = ImageTransfer.objects.filter(kind=Kind.PUSH, repository=repository, tag=tag)
        if going_on.exclude(state__in=Job.ENDED).exists():
            raise ConflictError(_("It is being pushed there already."))
        job = request_job(
            ImageTransfer(
                kind=Kind.PUSH,
                delivery=delivery,
                node=node,
                image=image,
                image_id=image_id,
                registry=target,
                repository=repository,
                tag=tag,
                requested_by=actor.name,
            )
        )
        record_audit(actor, "image.push", f"{repository}:{tag}", delivery=delivery.name, node=node.name, image=image_id)
    return job


def request_save(delivery: Delivery, *, node: Node, image: str, image_id: str, actor: Actor) -> ImageTransfer:
    """Ask ``node`` to save its image as an archive in its data folder. Raises NotAllowedError, ConflictError."""
    actor.require(BUILD_IMAGES)
    row = ImageTransfer(kind=Kind.SAVE, delivery=delivery, node=node, image=image, image_id=image_id)
    return _request(row, image or image_id, actor=actor)


def request_load(delivery: Delivery, *, node: Node, path: str, actor: Actor) -> ImageTransfer:
    """Ask ``node`` to load the archive at ``path``: one that it saved, or one below its BERTH_HOST_PATHS.

    The node looks again. Raises NotAllowedError, InvalidInputError, ConflictError for a closed delivery.
    """
    actor.require(BUILD_IMAGES)
    saved = ImageTransfer.objects.filter(kind=Kind.SAVE, state=Job.State.DONE, node=node, path=path).exists()
    if not saved and (problem := host_path_problem(path)):
        raise InvalidInputError(problem, fields={"path": [problem]})
    return _request(ImageTransfer(kind=Kind.LOAD, delivery=delivery, node=node, path=path), path, actor=actor)


def request_load_upload(delivery: Delivery, *, node: Node, data: bytes, name: str, actor: Actor) -> ImageTransfer:
    """Ask ``node`` to load an archive that a person uploaded, with the file name ``name``.

    It is looked through before anything is kept. Its bytes wait in the database, which the page's host and the node
    share; the job names them by its ``digest``, and its ``path`` is no path. Raises NotAllowedError, InvalidInputError
    for what is too large, damaged or hostile, ConflictError for a closed delivery.
    """
    actor.require(BUILD_IMAGES)
    if len(data) > MOST_UPLOAD_BYTES:
        message = _("The archive is larger than %(size)s. Put it on the node and name its path instead.")
        _refuse_upload(message % {"size": in_words(MOST_UPLOAD_BYTES)})
    try:
        examine(io.BytesIO(data), most_bytes=MOST_UNPACKED_BYTES, check=lambda: None)
    except TransferError as error:
        _refuse_upload(str(error))
    digest = hashlib.sha256(data).hexdigest()
    shown = PurePosixPath(name.replace("\\", "/")).name[:200]
    row = ImageTransfer(kind=Kind.LOAD, delivery=delivery, node=node, path=shown, digest=f"{UPLOADED}{digest}")
    with transaction.atomic():
        keep_archive(digest, data, actor=actor)
        job = _request(row, shown, actor=actor, sha256=digest)
    forget_unused_archives()
    return job


def _request(row: ImageTransfer, target: str, *, actor: Actor, **details: str) -> ImageTransfer:
    """Ask for ``row``, audited as done to ``target``. Raises ConflictError for a closed delivery."""
    row.requested_by = actor.name
    with transaction.atomic():
        open_delivery(row.delivery.pk)
        job = request_job(row)
        told = {"delivery": row.delivery.name, "node": row.node.name, **details}
        record_audit(actor, f"image.{row.kind}", target, **told)
    return job


def _refuse_upload(sentence: str) -> NoReturn:
    raise InvalidInputError(sentence, fields={"archive": [sentence]})


def cancel_transfer(transfer_id: int, *, actor: Actor) -> bool:
    """End a push, save or load. False when it had ended. Raises NotAllowedError, NotFoundError."""
    actor.require(BUILD_IMAGES)
    transfer = find_transfer(transfer_id)
    with transaction.atomic():
        cancelled = cancel_job(transfer, actor=actor)
        if cancelled:
            record_audit(actor, f"image.{transfer.kind}_cancel", str(transfer), delivery=transfer.delivery.name)
    return cancelled


def pin_digest(transfer_id: int, *, actor: Actor) -> ConfigRevision | None:
    """Let the delivery's config run exactly what was pushed; None when it does so already.

    The tag may be pushed anew by anybody, the digest names these bytes for ever. It is an ordinary save of the config:
    a revision with its difference, and an audit row. Raises NotAllowedError, NotFoundError, InvalidInputError,
    ConflictError.
    """
    actor.require(EDIT_CATALOGUE)
    transfer = find_transfer(transfer_id)
    if transfer.kind != Kind.PUSH or transfer.state != Job.State.DONE or not transfer.digest:
        raise ConflictError(_("Only an image that was pushed has a digest to pin."))
    config = transfer.delivery.config
    if config is None:
        raise ConflictError(_("This delivery has no config yet. Choose one in the step Trial, then pin the image."))
    if config.runtime != RuntimeName.DOCKER:
        message = _("“%(name)s” runs as a process and takes no image. Let it run in a container first.")
        raise ConflictError(message % {"name": config.name})
    values = replace(ConfigValues.of(config), image=transfer.pinned_image)
    comment = _("Image of delivery %(name)s, pinned") % {"name": transfer.delivery.name}
    result = save_config(config.name, values, actor=actor, comment=comment[:200], base_revision=config.revision)
    ImageTransfer.objects.filter(pk=transfer.pk).update(pinned_at=timezone.now())
    return result.revision


def find_transfer(transfer_id: int) -> ImageTransfer:
    """One transfer with its delivery and node. Raises NotFoundError."""
    rows = ImageTransfer.objects.select_related("delivery__config__model", "node", "registry")
    found = rows.filter(pk=transfer_id).first()
    if found is None:
        raise NotFoundError(_("There is no such push, save or load."))
    return found
