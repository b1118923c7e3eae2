"""Export and import: what a file holds, what is refused, and that a refused import changes nothing."""

from __future__ import annotations

import base64
import gzip
import io
import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core import serializers
from django.core.management import call_command
from django.db import models
from django.utils import timezone

from dashboard.moving.archive import Writer, writing
from dashboard.moving.exporting import export_installation
from dashboard.moving.importing import import_installation
from dashboard.moving.tables import MOVED, STAYS, moved_models, schema
from deployments.actors import Actor
from deployments.catalogue.loading import load_catalogue
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError
from deployments.lifecycle.phases import Phase
from deployments.models import Attempt, AuditEntry, Config, Deployment, DeploymentEvent, Node
from playground.answers.drawn import keep_drawn
from playground.chat.settings import ChatSettings
from playground.drawing.settings import DrawingSettings
from playground.models import Answer, GatewayKey, Picture
from playground.services.conversations import Question
from playground.services.drawing import draw
from playground.services.keys import create_key
from playground.services.presets import PresetContent, keep_preset
from playground.services.sharing import share_branch
from tests.fakes.pictures import png
from tests.playground.chatting import begin

pytestmark = pytest.mark.django_db
HOST = Actor(name="root", via="cli")
AT = datetime(2026, 3, 1, 12, 30, 45, 123456, tzinfo=UTC)


def run_of(config: Config, phase: Phase, **columns: Any) -> Deployment:
    spec = config.serving_spec()
    return Deployment.objects.create(
        config=config,
        spec=spec.to_json(),
        spec_digest=spec.digest,
        revision=config.revision,
        started_by="ann",
        phase=phase,
        phase_since=AT,
        **columns,
    )


@pytest.fixture
def used() -> Deployment:
    """An installation with people, a key, a conversation, and two runs that have ended."""
    load_catalogue(HOST)
    ann = User.objects.create_user("ann", password="correct horse")
    ann.groups.add(Group.objects.get(name="operator"))
    User.objects.create_superuser("boss", password="correct horse")
    create_key("laptop", actor=HOST)
    node = Node.objects.create(name="gpu-7", runtimes=["docker"], facts={"disk": 1.5}, heartbeat_at=AT)
    config = Config.objects.get(name="smollm2-135m")
    first = run_of(config, Phase.FAILED, node=node, ended_at=AT)
    second = run_of(config, Phase.STOPPED, node=node, supersedes=first, gpu_uuids=["GPU-1"], ended_at=AT)
    for run in (first, second):
        Attempt.objects.create(deployment=run, number=1, started_at=AT, exit_code=-9, log="读取\nline two", cause="x")
        DeploymentEvent.objects.create(deployment=run, at=AT, phase=run.phase, reason="ended", reason_params={"a": [1]})
    chat_of(ann)
    return second


def chat_of(user: User) -> None:
    """A conversation with a picture, shared, and a preset."""
    settings = ChatSettings(system="简短", numbers={"temperature": 0.5})
    picture = Picture.objects.create(
        owner=user, media_type="image/png", width=1, height=1, size_bytes=3, content=b"\x00\xffp"
    )
    question = Question(config="smollm2-135m", settings=settings)
    asked = begin(user, "你好", question=question, picture_ids=[picture.pk])
    share_branch(asked.conversation.pk, actor=Actor.person(user))
    keep_preset("brief", PresetContent(settings=settings, is_shared=True), actor=Actor.person(user))
    image_of(user)


def image_of(user: User) -> None:
    """A request for images, with one that came."""
    Config.objects.create(
        name="painter",
        model=Config.objects.get(name="smollm2-135m").model,
        protocol="openai-image",
        engine="custom",
        image="some/image",
        served_name="painter",
        port=8000,
        readiness_path="/health",
    )
    answer = draw("灯塔", config="painter", settings=DrawingSettings(seed=2**32 - 1), actor=Actor.person(user))
    keep_drawn(answer.pk, user.pk, [base64.b64encode(png(3)).decode()])
    Answer.objects.filter(pk=answer.pk).update(state=Answer.State.DONE, seed=2**32 - 1, step=20, steps=20)


def exported() -> bytes:
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb") as stream:
        export_installation(stream, actor=HOST)
    return target.getvalue()


def repacked(lines: list[str]) -> io.BytesIO:
    return io.BytesIO(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


def unpacked(archive: bytes) -> list[str]:
    return gzip.decompress(archive).decode().splitlines()


def everything() -> dict[str, list[Any]]:
    """Each moved row, as Django serializes it; an import's own audit row apart."""

    def rows(model: type[models.Model]) -> Iterator[Any]:
        found: models.QuerySet[Any] = models.QuerySet(model).order_by("pk")
        if model is AuditEntry:
            found = found.exclude(action="installation.import")
        for row in serializers.serialize("python", found, use_natural_foreign_keys=True):
            # Groups are known by their names.
            yield {**row, "pk": None} if model is Group else row

    return {model._meta.label: list(rows(model)) for model in moved_models()}


def test_every_table_either_moves_or_is_said_to_stay() -> None:
    tables = {model._meta.label for model in apps.get_models()}
    assert tables == {*MOVED, *STAYS}
    assert not {*MOVED} & {*STAYS}


def test_a_used_installation_comes_back_row_by_row(used: Deployment) -> None:
    archive = exported()
    before = everything()
    Deployment.objects.update(reason="changed")
    User.objects.filter(username="ann").delete()
    import_installation(io.BytesIO(archive), replace=True, actor=HOST)
    assert everything() == before
    assert Deployment.objects.get(pk=used.pk).created_at == used.created_at, "with its microseconds"
    assert User.objects.get(username="ann").check_password("correct horse")
    assert User.objects.get(username="ann").has_perm("deployments.operate_deployment")


def test_new_rows_go_on_after_the_imported_ones(used: Deployment) -> None:
    archive = exported()
    import_installation(io.BytesIO(archive), replace=True, actor=HOST)
    assert run_of(used.config, Phase.STOPPED).pk > used.pk


def test_both_leave_an_audit_row(used: Deployment) -> None:
    archive = exported()
    count = import_installation(io.BytesIO(archive), replace=True, actor=HOST)
    taken, given = AuditEntry.objects.order_by("-pk")[:2]
    assert (taken.action, taken.actor, taken.via) == ("installation.import", "root", "cli")
    assert taken.detail["rows"] == count
    assert given.action == "installation.export", "the file knows that it was made"


def test_neither_keys_nor_passwords_nor_the_secret_key_are_in_the_file(settings: Any, used: Deployment) -> None:
    key = create_key("desktop", actor=HOST).secret
    text = gzip.decompress(exported()).decode()
    for secret in (key, "correct horse", settings.SECRET_KEY):
        assert secret not in text


def test_an_operator_may_do_neither(used: Deployment) -> None:
    operator = Actor.person(User.objects.get(username="ann"))
    archive = exported()
    with pytest.raises(NotAllowedError):
        export_installation(io.BytesIO(), actor=operator)
    with pytest.raises(NotAllowedError):
        import_installation(io.BytesIO(archive), replace=True, actor=operator)
    assert not AuditEntry.objects.filter(action="installation.import").exists()


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.READY, Phase.STOPPING])
def test_what_runs_stays_where_it_is(used: Deployment, phase: Phase) -> None:
    archive = exported()
    run_of(used.config, phase)
    with pytest.raises(ConflictError, match=r"Stop these first, .*: smollm2-135m\."):
        export_installation(io.BytesIO(), actor=HOST)
    with pytest.raises(ConflictError, match="smollm2-135m"):
        import_installation(io.BytesIO(archive), replace=True, actor=HOST)


def test_an_installation_in_use_is_replaced_only_when_told_so(used: Deployment) -> None:
    archive = exported()
    before = everything()
    with pytest.raises(ConflictError, match=r"in use \(2 deployments, 1 gateway key, 1 person beside the first\)"):
        import_installation(io.BytesIO(archive), replace=False, actor=HOST)
    assert everything() == before


def test_a_fresh_installation_needs_no_word(used: Deployment) -> None:
    archive = exported()
    before = everything()
    import_into_fresh(archive)
    assert everything() == before


def import_into_fresh(archive: bytes) -> None:
    """As ``berth install`` leaves it: a catalogue and one admin."""
    for model in reversed(moved_models()):
        if model is not Group:
            models.QuerySet(model).delete()
    load_catalogue(HOST)
    User.objects.create_superuser("admin", password="another one")
    import_installation(io.BytesIO(archive), replace=False, actor=HOST)


def test_a_file_that_was_cut_short_changes_nothing(used: Deployment) -> None:
    archive = exported()
    before = everything()
    lines = unpacked(archive)
    for short in (io.BytesIO(archive[:-200]), repacked(lines[:-1]), repacked([*lines[:5], lines[-1]])):
        with pytest.raises(InvalidInputError, match="not whole: its end is missing"):
            import_installation(short, replace=True, actor=HOST)
    assert everything() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b"hello\n"), gzip.compress(b"[1]\n"), b"\x1f\x8b\x08"],
    # gzip writes the time into its bytes, and xdist compares the names that two processes collect.
    ids=["empty", "text", "packed text", "packed list", "cut head"],
)
def test_a_file_that_is_no_export_is_a_sentence(content: bytes) -> None:
    with pytest.raises(InvalidInputError, match="not a file of “berth export”"):
        import_installation(io.BytesIO(content), replace=True, actor=HOST)


def test_a_file_of_another_version_is_refused_with_both_versions(used: Deployment) -> None:
    header, *lines = unpacked(exported())
    other = {**json.loads(header), "schema": {**schema(), "deployments": "0999_later"}}
    with pytest.raises(InvalidInputError, match="deployments 0999_later"):
        import_installation(repacked([json.dumps(other), *lines]), replace=True, actor=HOST)
    newer = {**json.loads(header), "berth_export": 2}
    with pytest.raises(InvalidInputError, match="format 2"):
        import_installation(repacked([json.dumps(newer), *lines]), replace=True, actor=HOST)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"model": "sessions.session", "pk": "x", "fields": {"session_data": "", "expire_date": AT}}, "not belong"),
        ({"model": "deployments.node", "pk": 99, "fields": {"name": None}}, "deployments.node 99"),
        ({"model": "deployments.gone", "pk": 1, "fields": {}}, "deployments.gone 1"),
        ({"nonsense": 1}, "does not fit here"),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_nothing_changes(used: Deployment, row: dict[str, Any], why: str) -> None:
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb") as stream:
        writer = Writer(stream, header={"schema": schema(), "made_at": AT})
        writer.row(row)
        writer.finish()
    target.seek(0)
    before = everything()
    with pytest.raises(InvalidInputError, match=why):
        import_installation(target, replace=True, actor=HOST)
    assert everything() == before


def test_a_nul_in_a_log_does_not_stop_the_move(used: Deployment) -> None:
    Attempt.objects.filter(deployment=used).update(log="a\x00b")
    archive = exported()
    import_installation(io.BytesIO(archive), replace=True, actor=HOST)
    assert Attempt.objects.get(deployment=used).log == "a�b", "PostgreSQL stores none"


def test_only_its_owner_reads_the_file_and_no_file_is_overwritten(used: Deployment, tmp_path: Path) -> None:
    path = tmp_path / "berth.export"
    call_command("export", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SystemExit):
        call_command("export", str(path))
    with pytest.raises(InvalidInputError, match="is there already"), writing(path):
        pass
    call_command("import", str(path), "--replace")
    assert GatewayKey.objects.get().name == "laptop"


def test_an_export_that_fails_leaves_no_file(used: Deployment, tmp_path: Path) -> None:
    run_of(used.config, Phase.READY, ready_at=timezone.now())
    with pytest.raises(SystemExit):
        call_command("export", str(tmp_path / "berth.export"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["export", "import"])
def test_a_path_that_cannot_be_used_is_a_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call_command(command, str(tmp_path / "nowhere" / "berth.export"))
    assert "No such file or directory" in capsys.readouterr().err
