"""Celery tasks: each takes ids, calls one thing, and may be killed after any line."""

from __future__ import annotations

from celery import shared_task

from .deliveries.building import build_image as do_build
from .deliveries.building import clear_build
from .deliveries.builds import look_at
from .fetching import run_fetch
from .hints import hint_reconcile
from .jobs import carry_out
from .lifecycle.reconcile import reconcile
from .lifecycle.sweep import end_strays, sweep_all
from .lifecycle.warming import run_warming
from .models import Deployment, ImageBuild
from .services.demand import answer_demand
from .services.image_builds import forget_unused_archives
from .transfers.looking import look_at_pushed
from .transfers.work import run_transfer


@shared_task(name="deployments.tasks.reconcile_deployment")
def reconcile_deployment(deployment_id: int) -> None:
    """Bring one deployment forward; hand over to a fresh message when more is due at once."""
    if reconcile(deployment_id):
        node = Deployment.objects.filter(pk=deployment_id).values_list("node__name", flat=True).first()
        hint_reconcile(deployment_id, node=node or "")


@shared_task(name="deployments.tasks.answer_demand")
def start_demanded() -> None:
    """Start what requests at the gateway wait for."""
    answer_demand()


@shared_task(name="deployments.tasks.fetch_image")
def fetch_image(fetch_id: int) -> None:
    """Fetch an image or bundle on this node."""
    run_fetch(fetch_id)


@shared_task(name="deployments.tasks.warm_server")
def warm_server(fetch_id: int) -> None:
    """Bring the model into a running server of this node."""
    run_warming(fetch_id)


@shared_task(name="deployments.tasks.transfer_image")
def transfer_image(transfer_id: int) -> None:
    """Push, save or load one image on this node."""
    run_transfer(transfer_id)


@shared_task(name="deployments.tasks.look_at_pushed")
def look_at_pushed_images() -> None:
    """Ask registries whether what was pushed is still there."""
    look_at_pushed()


@shared_task(name="deployments.tasks.forget_unused_archives")
def forget_uploads() -> None:
    """Delete uploaded archives that nobody needs any more. Repeatable."""
    forget_unused_archives()


@shared_task(name="deployments.tasks.build_image")
def build_image(build_id: int) -> None:
    """Build one image on this node."""
    carry_out(ImageBuild, build_id, do_build, clear=clear_build)


@shared_task(name="deployments.tasks.look_at_image")
def look_at_image(build_id: int) -> None:
    """See whether a built image of this node is still there; delete it if somebody asked for that."""
    look_at(build_id)


@shared_task(name="deployments.tasks.sweep_node")
def sweep_node() -> None:
    """End what runs on this node and belongs to nobody."""
    end_strays()


@shared_task(name="deployments.tasks.sweep")
def sweep() -> None:
    """Find what is due and what was forgotten."""
    sweep_all()
