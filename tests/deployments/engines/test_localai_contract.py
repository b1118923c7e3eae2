"""LocalAI: its module against its own documentation, the gallery included."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deployments.engines import localai
from deployments.exceptions import FetchCancelledError, FetchError
from deployments.progress import Progress
from tests.deployments.engines.contract import Contract
from tests.fakes.engine_server import EngineServer

NONE_YET = {"status": 200, "body": {"object": "list", "data": []}}
APPLIED = {"POST /models/apply": {"body": {"uuid": "u-1", "status": "http://localhost/models/jobs/u-1"}}}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localai, "POLL_S", 0.01)


class TestLocalAi(Contract):
    name = "localai"

    def installing(self, *jobs: dict[str, Any]) -> EngineServer:
        """A server without the model, whose job says ``jobs`` (the contract's own unless given)."""
        listed = [NONE_YET, self.answers["ready"]["GET /v1/models"]]
        told = list(copy.deepcopy(jobs or self.answers["jobs"]))
        return self.server(APPLIED, {"GET /v1/models": listed, "GET /models/jobs/u-1": told})

    def prepare(self, server: EngineServer, *, key: str = "") -> list[Progress]:
        seen: list[Progress] = []
        self.engine.prepare(server.endpoint, self.spec(), report=seen.append, cancelled=lambda: False, key=key)
        return seen

    def test_the_model_is_installed_from_the_gallery(self) -> None:
        with self.installing() as server:
            seen = self.prepare(server)
            assert self.is_ready(server)
        assert ("POST /models/apply", {"id": "localai@served"}) in server.asked
        assert [(each.done, each.total, each.unit) for each in seen] == [(12.5, 100, "%"), (100, 100, "%")]

    def test_a_newer_version_tells_bytes_and_no_error_where_there_is_none(self) -> None:
        with self.installing(*self.answers["newer_jobs"]) as server:
            seen = self.prepare(server)
        assert [(each.done, each.total) for each in seen] == [(1 << 30, 8 << 30), (100, 100)]

    def test_it_is_asked_with_the_key(self) -> None:
        with self.installing() as server:
            server.key = "secret"
            with pytest.raises(FetchError, match="401"):
                self.prepare(server)
            self.prepare(server, key="secret")

    def test_what_the_arguments_installed_is_not_installed_again(self) -> None:
        with self.server() as server:
            self.prepare(server)
        assert server.paths() == ["GET /v1/models"]

    @pytest.mark.parametrize(
        ("status", "code", "permanent"),
        [
            ({"error": 'no model found with name "served"', "processed": True}, "model_not_in_library", True),
            ({"error": {}, "message": "error: connection reset", "processed": True}, "install_failed", False),
            ({"error": None, "cancelled": True, "processed": True}, "install_failed", False),
            ({"error": "write /models/x: no space left on device", "processed": True}, "no_disk_space", False),
        ],
    )
    def test_a_job_that_failed_is_a_failure_although_processed(
        self, status: dict[str, Any], code: str, *, permanent: bool
    ) -> None:
        with self.installing({"body": status}) as server, pytest.raises(FetchError) as caught:
            self.prepare(server)
        assert (caught.value.code, caught.value.permanent) == (code, permanent)

    def test_a_job_that_leaves_no_model_is_a_failure(self) -> None:
        with self.installing() as server:
            server.answers["GET /v1/models"] = NONE_YET
            with pytest.raises(FetchError, match="not listed"):
                self.prepare(server)

    def test_a_job_that_stays_unknown_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(localai, "UNKNOWN_FOR_S", 0.05)
        with self.installing(self.answers["jobs"][0]) as server, pytest.raises(FetchError, match="could not find"):
            self.prepare(server)

    def test_nobody_waits_for_a_job_that_is_not_wanted(self) -> None:
        with self.installing(self.answers["jobs"][1]) as server, pytest.raises(FetchCancelledError):
            self.engine.prepare(server.endpoint, self.spec(), report=lambda _p: None, cancelled=lambda: True)
