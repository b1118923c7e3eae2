"""The worker's round of questions to registries, in which one failure is one delivery's and no other's."""

from __future__ import annotations

import pytest

from deployments.models import ImageTransfer, Job, Node, Registry
from deployments.transfers import looking
from deployments.transfers.looking import look_at_pushed
from tests.deployments.pushing import make_delivery, make_node, make_registry

pytestmark = pytest.mark.django_db


def pushed(name: str, *, node: Node, registry: Registry | None = None) -> ImageTransfer:
    return ImageTransfer.objects.create(
        kind="push",
        state=Job.State.DONE,
        delivery=make_delivery(name),
        node=node,
        registry=registry,
        repository=f"{registry.address}/{name}" if registry else "",
        tag="1",
        digest=f"sha256:{name}",
        requested_by="ed",
    )


class Registries:
    """Stands for every registry: it has all, but asking for the digest of ``bad`` is a fault that nobody foresaw."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def has(self, path: str, digest: str) -> bool:
        self.asked.append(path)
        if path == "bad":
            raise RuntimeError("a fault of our own")
        return True


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Registries:
    found = Registries()
    monkeypatch.setattr(looking, "client_of", lambda registry: found)
    return found


@pytest.fixture
def house() -> Registry:
    return make_registry(username="", password="")


def test_one_pushs_failure_is_logged_and_the_others_are_asked_about(
    registries: Registries, house: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    node = make_node()
    bad, good = (pushed(name, node=node, registry=house) for name in ("bad", "good"))
    assert look_at_pushed() == 2
    assert registries.asked == ["bad", "good"]
    assert f"transfer {bad.pk} " in caplog.text
    assert "a fault of our own" in caplog.text
    for row in (bad, good):
        row.refresh_from_db()
    assert (bad.looked_at is None, bad.asked_at, bad.gone_at) == (False, None, None)
    assert good.asked_at is not None
    assert look_at_pushed() == 0, "the bad one waits its turn as the good one does"


def test_a_push_is_asked_about_in_every_spelling_of_its_registrys_address(
    registries: Registries, house: Registry
) -> None:
    row = pushed("good", node=make_node(), registry=house)
    for repository, address, asked in (
        ("docker.io/good", "registry-1.docker.io", ["good"]),
        ("Docker.IO/good", "docker.io", ["good"]),
        ("docker.io/good", "registry.example.org", []),
    ):
        Registry.objects.update(address=address)
        ImageTransfer.objects.update(repository=repository, looked_at=None)
        registries.asked.clear()
        assert look_at_pushed() == 1
        assert registries.asked == asked, (row, address)
