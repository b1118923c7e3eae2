"""Builds on a real engine: what they make, what they tell, and how they end."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import docker
import pytest
from django.conf import LazySettings
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from deployments.actors import Actor
from deployments.deliveries.building import build_image
from deployments.jobs import MOST_RUNS, cancel_job, carry_out
from deployments.models import AuditEntry, ContextArchive, Delivery, ImageBuild
from deployments.runtimes import run_files
from deployments.runtimes.docker.labels import INSTALLATION
from deployments.services.image_builds import BuildOptions, request_build, save_dockerfile
from deployments.tasks import build_image as build_task
from tests.deployments.editing import signed_in
from tests.deployments.hosts import closing_connections, database_of_threads, until
from tests.deployments.image_builds import make_build, this_node
from tests.deployments.image_builds import make_delivery as begin
from tests.docker_engine import IMAGE, docker_client, ensure_image

OPS = Actor(name="ops1", via="cli")
SECRET = "hf_averysecretvalue0123456789"
#: A step that says nothing for as long as no test lasts, and a mark by which its process is known.
SECONDS = str(100_000 + os.getpid())
SLEEPS = f"FROM {IMAGE}\nRUN echo begun; sleep {SECONDS}\n"


@pytest.fixture
def engine(settings: LazySettings) -> Iterator[docker.DockerClient]:
    client = docker_client()
    ensure_image(client)
    yield client
    for image in client.images.list(
        filters={"label": ["berth.delivery", f"{INSTALLATION}={settings.BERTH_INSTALLATION}"]}
    ):
        client.images.remove(str(image.id), force=True)
    client.close()


def built(job: ImageBuild) -> ImageBuild:
    carry_out(ImageBuild, job.pk, build_image)
    job.refresh_from_db()
    return job


def sleepers() -> list[str]:
    """The processes of the step that sleeps, wherever the engine put them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"sleep\0{SECONDS}\0".encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.fixture
def own_base(engine: docker.DockerClient) -> Iterator[str]:
    """A base image that no other test builds upon.

    Where builds meet upon a base that is new to the engine, BuildKit 20.10 may forget what all but one have made.
    """
    name = ensure_image(engine, f"berth-test/own-{os.getpid()}:1", mark=str(os.getpid()))
    yield name
    engine.images.remove(name, force=True)


@pytest.mark.django_db
def test_a_dockerfile_becomes_an_image_with_its_labels_its_size_and_its_steps(
    engine: docker.DockerClient, own_base: str
) -> None:
    job = built(make_build(f"FROM {own_base} AS base\nRUN echo one-line\nFROM base\nRUN echo two\n", no_cache=True))
    assert (job.state, job.error) == ("done", "")
    image = engine.images.get(job.image_id)
    assert image.tags == ["berth-test/built:1"]
    assert job.size_bytes == image.attrs["Size"]
    assert image.labels["berth.delivery"] == str(job.delivery_id)
    assert image.labels["berth.revision"] == str(job.pk)
    assert image.labels["org.opencontainers.image.base.digest"] == job.base_digest == engine.images.get(own_base).id
    assert job.base_image == own_base
    assert "one-line" in job.log
    assert [step["state"] for step in job.steps][-1] == "done"
    assert all(step["seconds"] >= 0 for step in job.steps)

    again = built(make_build(job.dockerfile))
    assert {step["state"] for step in again.steps if "RUN" in step["text"]} == {"cached"}


@pytest.mark.django_db
def test_a_secret_reaches_its_step_and_neither_log_nor_argv_nor_any_layer(
    engine: docker.DockerClient, settings: LazySettings
) -> None:
    settings.BERTH_SECRETS = {"HF_TOKEN": SECRET}
    line = "RUN --mount=type=secret,id=hf_token echo token is $(cat /run/secrets/hf_token) && "
    line += "[ $(cat /run/secrets/hf_token | head -c 8) = hf_avery ] && echo used > /tmp/used"
    job = built(make_build(f"FROM {IMAGE}\n{line}\n", secret_names=["HF_TOKEN"], no_cache=True))
    assert (job.state, job.error) == ("done", "")
    assert "token is ••••••" in job.log
    row = "".join(str(value) for value in ImageBuild.objects.values_list().get(pk=job.pk))
    assert SECRET not in row
    assert SECRET not in str(engine.images.get(job.image_id).history())
    archive = b"".join(engine.images.get(job.image_id).save())
    layers = 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        for member in outer:
            content = outer.extractfile(member)
            if content is not None:
                data = content.read()
                assert SECRET.encode() not in data, member.name
                layers += member.name.endswith("layer.tar")
    assert layers >= 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("redis_server")
def test_a_secret_that_a_failing_step_prints_is_nowhere_to_be_read(
    engine: docker.DockerClient, settings: LazySettings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """In no process list meanwhile, and afterwards in no row, audit entry, page, report or log of Berth's."""
    settings.BERTH_SECRETS = {"HF_TOKEN": SECRET}
    with database_of_threads(tmp_path):
        delivery = begin("secretive")
        editor = signed_in("ed", "editor")
        text = f"FROM {IMAGE}\nRUN --mount=type=secret,id=hf_token sleep 1; cat /run/secrets/hf_token; exit 3\n"
        save_dockerfile(delivery.pk, text, actor=OPS)
        options = BuildOptions(
            node=this_node().name, tag="berth-test/built:1", secret_names=["HF_TOKEN"], no_cache=True
        )
        job = request_build(delivery.pk, options, actor=OPS)
        worker = threading.Thread(target=closing_connections(lambda: carry_out(ImageBuild, job.pk, build_image)))
        worker.start()
        command_lines = set()
        while worker.is_alive():
            command_lines |= processes()
            worker.join(0.05)
        job.refresh_from_db()
        pages = ["deployments:delivery_build", "deployments:delivery_dockerfile", "playground:delivery_report"]
        addresses = [reverse(name, args=[delivery.pk]) for name in (*pages, "playground:delivery_report_text")]
        told = [editor.get(each).content.decode() for each in (*addresses, reverse("dashboard:activity"))]
        kept = [repr(list(model.objects.values())) for model in (ImageBuild, Delivery, AuditEntry)]
    assert any("--secret\0id=hf_token,env=HF_TOKEN" in line for line in command_lines), "the client was seen"
    assert (job.state, job.error_code) == ("failed", "step_failed")
    assert "••••••" in job.error
    for place in (*command_lines, *told, *kept, job.error, caplog.text):
        assert SECRET not in place


def processes() -> set[str]:
    """The command line of every process there is."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(each.read_text(errors="replace"))
    return found


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("dockerfile", "code", "said"),
    [
        (f"FROM {IMAGE}\nRUN echo so it goes; exit 3\n", "step_failed", "exit code 3. It printed last: so it goes"),
        (f"FROM {IMAGE}\nCOPY nowhere /x\n", "file_missing", "needs /nowhere, which the build context does not hold"),
        ("FROM 127.0.0.1:1/never:1\n", "no_network", "The base image 127.0.0.1:1/never:1 is not on this node"),
        (f"FROM {IMAGE}\nRUN --mount=type=nonsense true\n", "dockerfile_invalid", "of the Dockerfile does not parse"),
        (f"FROM {IMAGE}\nRNU true\n", "refused", "Line 2 of the Dockerfile: “RNU” is no instruction"),
    ],
)
def test_what_fails_is_told_in_a_sentence(engine: docker.DockerClient, dockerfile: str, code: str, said: str) -> None:
    job = built(make_build(dockerfile))
    assert (job.state, job.error_code) == ("failed", code), job.error
    assert said in job.error
    assert job.image_id == ""


@pytest.mark.django_db
def test_files_come_from_an_uploaded_archive(engine: docker.DockerClient) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("app/hello.txt")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))
    ContextArchive.objects.create(digest="d" * 64, data=packed.getvalue(), uploaded_by="ed")
    context = {"kind": "archive", "digest": "d" * 64, "name": "app.tgz"}
    job = built(make_build(f"FROM {IMAGE}\nCOPY app/hello.txt /h\nRUN cat /h\n", context=context, no_cache=True))
    assert (job.state, job.error) == ("done", "")
    assert "hello" in job.log


@pytest.mark.django_db(transaction=True)
def test_cancelling_in_the_middle_ends_the_client_and_the_step(engine: docker.DockerClient, tmp_path: Path) -> None:
    job = make_build(SLEEPS, no_cache=True)
    with database_of_threads(tmp_path):
        worker = threading.Thread(target=closing_connections(lambda: carry_out(ImageBuild, job.pk, build_image)))
        worker.start()
        until(lambda: "begun" in ImageBuild.objects.get(pk=job.pk).log, "the log of a running step", within_s=30)
        shown = ImageBuild.objects.get(pk=job.pk)
        assert shown.steps[-1]["state"] == "running"
        cancel_job(job, actor=Actor(name="ops1", via="web"))
        worker.join(20)
        assert not worker.is_alive()
        job.refresh_from_db()
    assert (job.state, job.cancelled_by) == ("cancelled", "ops1")
    until(lambda: not sleepers(), "the end of the step in the engine")
    assert "begun" in job.log


@pytest.mark.django_db
def test_a_build_whose_worker_was_killed_is_ended_and_begun_again(
    engine: docker.DockerClient, settings: LazySettings, tmp_path: Path
) -> None:
    job = make_build()
    mark = f"build-{settings.BERTH_INSTALLATION}-{job.pk}"
    (tmp_path / "context").mkdir()
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, mark, str(tmp_path), SLEEPS], env={**os.environ})
    try:
        until(lambda: bool(sleepers()), "the step that sleeps", within_s=30)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert run_files.members(mark), "the client lives on without its worker"
    ImageBuild.objects.filter(pk=job.pk).update(
        state="running",
        claim_token="old",
        claim_expires_at=timezone.now() - timedelta(minutes=1),
        runs=1,
        started_at=Now(),
    )
    built(job)
    assert (job.state, job.error, job.runs) == ("done", "", 2)
    assert run_files.members(mark) == []
    until(lambda: not sleepers(), "the end of the step in the engine")


@pytest.mark.django_db
def test_what_a_build_left_that_killed_its_workers_is_ended(settings: LazySettings, tmp_path: Path) -> None:
    settings.BERTH_DATA_DIR = tmp_path
    job = make_build(state="running", runs=MOST_RUNS, claim_expires_at=timezone.now() - timedelta(minutes=1))
    mark = f"build-{settings.BERTH_INSTALLATION}-{job.pk}"
    (tmp_path / "builds" / str(job.pk) / "context").mkdir(parents=True)
    left = subprocess.Popen(["sleep", SECONDS], start_new_session=True, env={run_files.MARK: mark})
    try:
        build_task(job.pk)
        assert left.wait(10) != 0
    finally:
        left.kill()
    job.refresh_from_db()
    assert job.error_code == "worker_died"
    assert list((tmp_path / "builds").iterdir()) == []


_WORKER = """
import os, sys
from pathlib import Path
os.environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
import django
django.setup()
from deployments.runtimes.docker.building import BuildRequest, build
mark, folder, text = sys.argv[1:]
folder = Path(folder)
request = BuildRequest(
    mark=mark, folder=folder, context=folder / "context", dockerfile=text, tag="berth-test/killed:1", no_cache=True
)
build(request, tick=lambda output: None)
"""
