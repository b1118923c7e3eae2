"""The steps Dockerfile and Build: what their pages show and refuse, who may press what, and what each press leaves."""

from __future__ import annotations

import errno
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import Prefetch
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from deployments.actors import Actor
from deployments.deliveries import builds
from deployments.deliveries.steps import prefetched_relations, step_states
from deployments.exceptions import ConflictError, InvalidInputError, NotAllowedError, RuntimeUnavailableError
from deployments.models import AuditEntry, ContextArchive, Delivery, ImageBuild, Node
from deployments.runtimes.docker.built_images import BuiltImage
from deployments.services import image_builds
from deployments.services.image_builds import BuildOptions
from tests.deployments.editing import person, signed_in
from tests.deployments.image_builds import DOCKERFILE, make_build, make_delivery, this_node

pytestmark = pytest.mark.django_db
OPS = Actor(name="ops1", via="cli")
TOKEN = "hf_abcdefghijklmnopqrst"


@pytest.fixture
def editor() -> Client:
    return signed_in("editor", "editor")


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The ids of the images that the engine has."""
    there: set[str] = set()

    def find(image: str) -> BuiltImage | None:
        return BuiltImage(image_id=image, size_bytes=5, labels={}) if image in there else None

    monkeypatch.setattr(builds, "find_image", find)
    monkeypatch.setattr(builds, "image_ids", lambda: set(there))
    monkeypatch.setattr(builds, "delete_image", there.discard)
    return there


def options(**changes: object) -> BuildOptions:
    wanted = {"node": this_node().name, "tag": "berth/chat:1", **changes}
    return BuildOptions(**wanted)  # type: ignore[arg-type]


def archive(name: str = "a.txt") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr(name, "hello")
    return packed.getvalue()


def state_of(delivery: Delivery, step: str) -> tuple[str, str]:
    found = next(each for each in step_states(Delivery.objects.get(pk=delivery.pk)) if each.name == step)
    return found.state.state, found.state.sentence


def finished(delivery: Delivery, **columns: object) -> ImageBuild:
    now = timezone.now()
    wanted: dict[str, Any] = {"state": "done", "image_id": "sha256:1", "ended_at": now, "started_at": now}
    return make_build(delivery=delivery, **{**wanted, **columns})


CHANGES: dict[str, Callable[[int, Actor], object]] = {
    "dockerfile": lambda pk, actor: image_builds.save_dockerfile(pk, DOCKERFILE, actor=actor),
    "no context": lambda pk, actor: image_builds.choose_no_context(pk, actor=actor),
    "folder": lambda pk, actor: image_builds.choose_folder(pk, "/x", actor=actor),
    "upload": lambda pk, actor: image_builds.upload_context(pk, archive(), name="a.zip", actor=actor),
    "build": lambda pk, actor: image_builds.request_build(pk, options(), actor=actor),
    "cancel": lambda pk, actor: image_builds.cancel_build(make_build().pk, actor=actor),
    "delete": lambda pk, actor: image_builds.delete_built_image(make_build(image_id="i").pk, actor=actor),
    "take": lambda pk, actor: image_builds.dockerfile_from_context(Delivery.objects.get(pk=pk), "x", actor=actor),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_those_who_may_build_change_anything(change: Callable[[int, Actor], object], role: str) -> None:
    delivery = make_delivery()
    with pytest.raises(NotAllowedError, match="editor role"):
        change(delivery.pk, Actor.person(person(role, role)))
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("name", ["dockerfile", "no context", "upload", "build"])
def test_a_closed_delivery_does_not_change(name: str) -> None:
    delivery = make_delivery(closed_at=timezone.now())
    with pytest.raises(ConflictError, match="is closed"):
        CHANGES[name](delivery.pk, OPS)


def test_a_saved_dockerfile_is_kept_with_its_author(editor: Client) -> None:
    delivery = make_delivery(dockerfile="")
    assert state_of(delivery, "dockerfile") == ("open", "Nobody has written a Dockerfile yet.")
    address = f"/deliveries/{delivery.pk}/dockerfile/"
    answer = editor.post(address, {"dockerfile": "FROM a:1\r\nRUN x\r\n", "way": "official"})
    assert (answer.status_code, answer.headers["Location"]) == (303, address)
    delivery.refresh_from_db()
    assert (delivery.dockerfile, delivery.way, delivery.dockerfile_by) == ("FROM a:1\nRUN x\n", "official", "editor")
    assert AuditEntry.objects.get().action == "delivery.dockerfile"
    assert state_of(delivery, "dockerfile")[0] == "done"


@pytest.mark.parametrize(
    ("text", "said"), [("FROM a\nRNU x\n", "Line 2 of the Dockerfile"), (f"FROM a\nENV A={TOKEN}\n", "holds a token")]
)
def test_a_dockerfile_that_may_not_be_built_stays_in_the_editor(editor: Client, text: str, said: str) -> None:
    delivery = make_delivery()
    answer = editor.post(f"/deliveries/{delivery.pk}/dockerfile/", {"dockerfile": text})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert said in page
    delivery.refresh_from_db()
    assert delivery.dockerfile == DOCKERFILE


def test_the_review_names_lines_and_what_changed_since_the_last_build(editor: Client, images: set[str]) -> None:
    delivery = make_delivery()
    finished(delivery)
    answer = editor.post(f"/deliveries/{delivery.pk}/dockerfile/review/", {"dockerfile": "FROM b:2\nRNU x\n"})
    part = answer.content.decode()
    assert 'data-line="2"' in part
    assert "RNU” is no instruction" in part
    assert "diff-removed" in part


def test_a_template_and_a_file_of_the_context_fill_the_editor_without_saving(editor: Client) -> None:
    delivery = make_delivery(requirement={"repository": "org/model", "revision": "abc"})
    address = f"/deliveries/{delivery.pk}/dockerfile/"
    page = editor.get(f"{address}?way=official&engine=vllm&baked=1").content.decode()
    assert "hf download org/model --revision abc" in page
    assert "Not saved yet." in page
    image_builds.upload_context(delivery.pk, archive("docker/Dockerfile"), name="a.zip", actor=OPS)
    assert ">\nhello" in editor.get(f"{address}?take=docker/Dockerfile").content.decode()
    assert "holds no Dockerfile" in editor.get(f"{address}?take=Dockerfile").content.decode()
    assert "leads out of the build context" in editor.get(f"{address}?take=../../etc/passwd").content.decode()
    delivery.refresh_from_db()
    assert delivery.dockerfile == DOCKERFILE


def test_a_context_is_uploaded_shown_and_forgotten_once_nobody_needs_it(editor: Client) -> None:
    delivery = make_delivery()
    address = f"/deliveries/{delivery.pk}/dockerfile/context/"
    editor.post(address, {"kind": "archive", "archive": SimpleUploadedFile("app.zip", archive(".env"))})
    page = editor.get(f"/deliveries/{delivery.pk}/dockerfile/").content.decode()
    assert "app.zip" in page
    assert "These files look like secrets" in page
    first = ContextArchive.objects.get().digest
    ContextArchive.objects.update(uploaded_at=timezone.now() - 2 * image_builds.KEPT_FOR)
    editor.post(address, {"kind": "archive", "archive": SimpleUploadedFile("app.zip", archive("b.txt"))})
    assert ContextArchive.objects.exclude(digest=first).count() == ContextArchive.objects.count() == 1
    editor.post(address, {"kind": "none"})
    delivery.refresh_from_db()
    assert delivery.context["kind"] == "none"
    assert AuditEntry.objects.filter(action="delivery.context").count() == 3


@pytest.mark.parametrize("posted", [{"kind": "archive"}, {"kind": "folder", "path": "/etc"}])
def test_a_context_that_is_refused_says_why(editor: Client, posted: dict[str, str]) -> None:
    delivery = make_delivery()
    page = editor.post(f"/deliveries/{delivery.pk}/dockerfile/context/", posted, follow=True).content.decode()
    assert "Choose a file to upload." in page or "none may be mounted" in page
    delivery.refresh_from_db()
    assert delivery.context == {}


def test_a_folder_that_only_another_node_has_is_left_to_that_one(tmp_path: Path, settings: LazySettings) -> None:
    settings.BERTH_HOST_PATHS = (tmp_path,)
    this_node()
    delivery = make_delivery()
    with pytest.raises(InvalidInputError, match="There is no folder"):
        image_builds.choose_folder(delivery.pk, str(tmp_path / "there"), actor=OPS)
    Node.objects.create(name="other")
    assert image_builds.choose_folder(delivery.pk, str(tmp_path / "there"), actor=OPS).files == 0


def test_a_build_is_asked_for_once_with_everything_frozen(editor: Client) -> None:
    delivery, node = make_delivery(), this_node()
    address = f"/deliveries/{delivery.pk}/build/"
    posted = {"node": node.name, "tag": "berth/chat:1", "arguments": "A=1\nB=x=y", "secrets": ["HF_TOKEN"]}
    assert editor.post(address, {**posted, "no_cache": "on"}).status_code == 303
    made = ImageBuild.objects.get()
    assert (made.dockerfile, made.tag, made.arguments) == (DOCKERFILE, "berth/chat:1", {"A": "1", "B": "x=y"})
    assert (made.secret_names, made.no_cache, made.requested_by) == (["HF_TOKEN"], True, "editor")
    assert state_of(delivery, "build")[0] == "running"
    again = editor.post(address, posted)
    assert again.status_code == 409
    assert "It is being built already." in again.content.decode()
    assert AuditEntry.objects.filter(action="image.build").count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"tag": "Berth Chat"}, "tag", "A tag is of the form"),
        ({"tag": "a:1 --privileged"}, "tag", "A tag is of the form"),
        ({"arguments": {"A": TOKEN}}, "arguments", "A is a secret"),
        ({"arguments": {"API_KEY": "x"}}, "arguments", "API_KEY is a secret"),
        ({"secret_names": ["SECRET_KEY"]}, "secrets", "no secret that Berth knows"),
        ({"node": "never"}, "node", "Choose a node"),
    ],
)
def test_options_that_are_wrong_are_refused_at_their_field(changes: dict[str, object], field: str, said: str) -> None:
    delivery = make_delivery()
    with pytest.raises(InvalidInputError, match=said) as refused:
        image_builds.request_build(delivery.pk, options(**changes), actor=OPS)
    assert list(refused.value.fields) == [field]
    assert TOKEN not in str(refused.value)
    assert not ImageBuild.objects.exists()


def test_a_node_in_maintenance_builds_nothing() -> None:
    delivery = make_delivery()
    wanted = options()
    Node.objects.update(maintenance_since=timezone.now())
    with pytest.raises(InvalidInputError, match="is in maintenance"):
        image_builds.request_build(delivery.pk, wanted, actor=OPS)


def test_arguments_of_another_form_are_refused_by_their_line() -> None:
    with pytest.raises(InvalidInputError, match="“no equals” is not of the form"):
        image_builds.parse_arguments("A=1\nno equals\n")


def test_the_live_part_is_asked_for_until_the_build_ends(editor: Client) -> None:
    delivery = make_delivery()
    steps = [{"number": 1, "text": "[1/1] RUN <b>x</b>", "state": "running", "seconds": 1.5}]
    job = make_build(delivery=delivery, state="running", started_at=timezone.now(), steps=steps, log="so <far>")
    ask = {"HX-Request": "true"}
    answer = editor.get(f"/deliveries/{delivery.pk}/build/", headers=ask)
    part = answer.content.decode()
    assert answer.status_code == 200
    assert "so &lt;far&gt;" in part
    assert "RUN &lt;b&gt;x" in part
    assert "every 500ms" in part
    assert "Cancel" in part
    assert (
        "Cancel"
        not in signed_in("viewer", "viewer").get(f"/deliveries/{delivery.pk}/build/", headers=ask).content.decode()
    )
    editor.post(f"/deliveries/{delivery.pk}/build/{job.pk}/cancel/")
    ImageBuild.objects.update(state="cancelled")
    ended = editor.get(f"/deliveries/{delivery.pk}/build/", headers=ask)
    assert (ended.status_code, ended.headers["HX-Refresh"]) == (286, "true")
    assert "every 500ms" not in ended.content.decode()
    assert state_of(delivery, "build") == ("open", "The last build was cancelled by editor.")


def test_the_step_is_red_once_its_image_is_gone_and_says_who_deleted_it(
    editor: Client, images: set[str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    delivery = make_delivery()
    job = finished(delivery)
    images.add("sha256:1")
    assert state_of(delivery, "build") == ("done", f"berth-test/built:1 is on {job.node.name}.")
    images.clear()
    state, sentence = state_of(delivery, "build")
    assert state == "failed"
    assert "is not on" in sentence
    assert "any more" in sentence
    assert sentence in editor.get(f"/deliveries/{delivery.pk}/build/").content.decode()

    images.add("sha256:1")
    assert state_of(delivery, "build")[0] == "done"
    with django_capture_on_commit_callbacks():
        editor.post(f"/deliveries/{delivery.pk}/build/{job.pk}/delete/")
    assert "being deleted" in editor.get(f"/deliveries/{delivery.pk}/build/").content.decode()
    builds.look_at(job.pk)
    assert images == set()
    assert state_of(delivery, "build") == (
        "failed",
        "The image berth-test/built:1 was deleted by editor. Build it again.",
    )
    assert editor.post(f"/deliveries/{delivery.pk}/build/{job.pk}/delete/").status_code == 409


def a_server_that_is_away(_path: Path, **_: object) -> None:
    raise OSError(errno.ESTALE, "Stale file handle")


def test_the_step_dockerfile_is_red_once_its_folder_is_gone(
    tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BERTH_HOST_PATHS = (tmp_path,)
    (tmp_path / "app").mkdir()
    delivery = make_delivery(dockerfile="FROM scratch")
    image_builds.choose_folder(delivery.pk, str(tmp_path / "app"), actor=OPS)
    assert state_of(delivery, "dockerfile")[0] == "done"
    (tmp_path / "app").rmdir()
    said = f"The build context {tmp_path}/app is not there any more. Put it back, or choose another one."
    assert state_of(delivery, "dockerfile") == ("failed", said)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", a_server_that_is_away)
        assert state_of(delivery, "dockerfile")[0] == "done", "what cannot be looked at is not gone"
    Delivery.objects.update(context={"kind": "folder", "path": "/only/there", "name": "there"})
    assert state_of(delivery, "dockerfile")[0] == "done", "another node has it"


@pytest.mark.parametrize("relations", [[], prefetched_relations()], ids=["alone", "in a list"])
def test_a_later_build_that_was_cancelled_leaves_the_step_as_it_was(
    images: set[str], relations: list[Prefetch[Any]]
) -> None:
    images.add("sha256:1")
    delivery = make_delivery()
    make_build(delivery=delivery, state="cancelled", cancelled_by="ops1")
    assert state_of(delivery, "build")[0] == "open"
    finished(delivery)
    make_build(delivery=delivery, state="cancelled", cancelled_by="ops1")
    found = builds.step_state(Delivery.objects.prefetch_related(*relations).get())
    assert found.state == "done"


def test_a_silent_engine_says_nothing_about_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(image: str) -> None:
        raise RuntimeUnavailableError("silent")

    monkeypatch.setattr(builds, "find_image", silent)
    delivery = make_delivery()
    finished(delivery)
    assert state_of(delivery, "build")[0] == "done"


def test_an_image_of_another_node_is_asked_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr(builds, "hint_image_look", lambda pk, *, node: asked.append((pk, node)))
    delivery = make_delivery()
    job = finished(delivery, node=Node.objects.create(name="other", runtimes=["docker"]))
    assert state_of(delivery, "build")[0] == "done"
    assert asked == [(job.pk, "other")]


def test_the_step_is_out_of_date_once_the_text_or_the_context_changed(images: set[str]) -> None:
    delivery = make_delivery()
    finished(delivery)
    images.add("sha256:1")
    Delivery.objects.update(context={"kind": "archive", "digest": "d"})
    assert state_of(delivery, "build")[0] == "stale"
    Delivery.objects.update(context={}, dockerfile="FROM other:1")
    assert state_of(delivery, "build")[0] == "stale"


@pytest.mark.parametrize("address", ["cancel", "delete"])
def test_pressing_takes_a_post(editor: Client, address: str) -> None:
    job = make_build()
    assert editor.get(f"/deliveries/{job.delivery_id}/build/{job.pk}/{address}/").status_code == 405


def test_a_viewer_sees_both_pages_without_buttons() -> None:
    delivery = make_delivery()
    viewer = signed_in("viewer", "viewer")
    for step in ("dockerfile", "build"):
        page = viewer.get(f"/deliveries/{delivery.pk}/{step}/").content.decode()
        assert "needs the editor role" in page
        assert "Upload an archive" not in page
    assert viewer.post(f"/deliveries/{delivery.pk}/build/", {}).status_code == 403


def test_the_history_takes_as_many_queries_for_many_as_for_one(
    editor: Client, images: set[str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    delivery = make_delivery()
    for number in range(12):
        images.add(f"sha256:{number}")
        finished(delivery, image_id=f"sha256:{number}")
    address = f"/deliveries/{delivery.pk}/build/"
    editor.get(address)
    with django_assert_num_queries(QUERIES_OF_A_BUILD_PAGE):
        editor.get(address)


#: Session, person, permissions (2), role; the delivery; once more for the stepper, with its builds, tests and pushes;
#: the newest build for the form and the page; the nodes; the newest push; and the history.
QUERIES_OF_A_BUILD_PAGE = 14
