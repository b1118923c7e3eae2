"""A delivery on one page: what was asked for, what was chosen, what was built, how it did, and how to run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from deployments.compose.writing import compose_file, docker_run
from deployments.deliveries.requirement import AskedProtocol, Host, Requirement, Task, Weights
from deployments.engines import engine_named
from deployments.models import Config, Delivery, ImageBuild, ImageTransfer
from deployments.models.catalogue import RuntimeName
from deployments.models.job import Job
from deployments.presentation.words import byte_words
from deployments.secret_references import HIDDEN, contains_token
from deployments.spec import ServingSpec
from playground.loadtests.presenting import LevelRow, VerdictRow, level_rows, verdict_rows
from playground.models import ImageTest

from .drawing import Chart, charts_of


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of a table; ``who`` and ``when`` tell who decided it."""

    name: str
    value: str
    who: str = ""
    when: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that is known. Empty texts and None: that step was not taken yet."""

    asked: Sequence[Fact]
    chosen: Sequence[Fact]
    dockerfile: str
    image: Sequence[Fact]
    test: ImageTest | None
    verdicts: Sequence[VerdictRow]
    smoke: Sequence[tuple[str, bool]]
    levels: Sequence[LevelRow]
    charts: Sequence[Chart]
    docker_run: str
    compose: str


def report_of(delivery: Delivery) -> Report:
    """The report of ``delivery`` as it is now."""
    requirement = Requirement.from_json(delivery.requirement)
    build = delivery.image_builds.filter(state=Job.State.DONE).defer("log", "steps").order_by("-pk").first()
    pushed = (
        delivery.transfers.filter(kind=ImageTransfer.Kind.PUSH, state=Job.State.DONE)
        .order_by("-pk")
        .defer("layers")
        .first()
    )
    test = delivery.image_tests.exclude(passed=None).select_related("load_test").first()
    load = None if test is None else test.load_test
    config = Config.objects.select_related("model").filter(deliveries=delivery).first()
    runs = config is not None and config.runtime == RuntimeName.DOCKER
    spec = _delivered(config.serving_spec(), build, pushed) if config is not None and runs else None
    return Report(
        asked=_asked(requirement) if delivery.requirement else [],
        chosen=_chosen(delivery),
        dockerfile=_dockerfile(delivery, build),
        image=_image(build, pushed),
        test=test,
        verdicts=[] if load is None else verdict_rows(load),
        smoke=[] if load is None else [(str(each["name"]), not each.get("code", "missing")) for each in load.smoke],
        levels=[] if load is None else level_rows(load.measured),
        charts=[] if load is None else charts_of(load.measured),
        docker_run="" if spec is None else docker_run(spec),
        compose="" if spec is None else compose_file(spec),
    )


def _delivered(spec: ServingSpec, build: ImageBuild | None, pushed: ImageTransfer | None) -> ServingSpec:
    """The config's values with the image that this delivery made, whether or not it is pinned there already."""
    if pushed is not None:
        return replace(spec, image=pushed.pinned_image)
    return spec if build is None else replace(spec, image=build.tag)


def _asked(requirement: Requirement) -> list[Fact]:
    hardware, targets = requirement.hardware, requirement.targets
    memory = f" ({hardware.memory_gib:g} GiB)" if hardware.memory_gib else ""
    known: list[tuple[str, Any]] = [
        (_("Task"), Task(requirement.task).label),
        (_("Model"), requirement.model),
        (_("Weights"), requirement.weights_from),
        (_("Quantisation"), requirement.quantisation),
        (_("Hardware"), f"{hardware.count} × {hardware.gpu}{memory}" if hardware.count else _("no GPU")),
        (_("Host"), Host(requirement.host).label),
        (_("Weights at run time"), Weights(requirement.weights).label),
        (_("Protocol"), AskedProtocol(requirement.protocol).label),
        (_("Requests a second"), targets.requests_per_s),
        (_("Users at once"), targets.concurrent_users),
        (_("Time to first token, ms"), targets.first_token_ms),
        (_("Tokens a second of one answer"), targets.tokens_per_s),
        (_("Context length, tokens"), targets.context_tokens),
    ]
    return [Fact(name=name, value=_written(value)) for name, value in known if value not in ("", None)]


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _chosen(delivery: Delivery) -> list[Fact]:
    facts = []
    if delivery.tool:
        title = engine_named(delivery.tool).title
        value = f"{title}: {delivery.tool_reason}" if delivery.tool_reason else title
        facts.append(Fact(name=_("Tool"), value=value, who=delivery.tool_by, when=delivery.tool_at))
    if delivery.way:
        facts.append(Fact(name=_("Dockerfile"), value=str(delivery.get_way_display())))
    return facts


def _dockerfile(delivery: Delivery, build: ImageBuild | None) -> str:
    text = delivery.dockerfile if build is None else build.dockerfile
    # None with a token is built, but an old draft may have one.
    return HIDDEN if contains_token(text) else text


def _image(build: ImageBuild | None, pushed: ImageTransfer | None) -> list[Fact]:
    facts = []
    if build is not None:
        size = "" if build.size_bytes is None else byte_words(build.size_bytes)
        facts += [
            Fact(name=_("Image"), value=build.tag, who=build.requested_by, when=build.ended_at),
            Fact(name=_("Image id"), value=build.image_id),
            Fact(name=_("Size"), value=size),
            Fact(name=_("Base image"), value=f"{build.base_image} {build.base_digest}".strip()),
        ]
    if pushed is not None:
        where = f"{pushed.repository}:{pushed.tag}"
        facts += [
            Fact(name=_("Pushed to"), value=where, who=pushed.requested_by, when=pushed.ended_at),
            Fact(name=_("Digest"), value=pushed.digest),
        ]
    return [fact for fact in facts if fact.value]
