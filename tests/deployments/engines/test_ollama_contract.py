"""Ollama: its module against its own documentation, pull and preload included."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

from deployments.exceptions import FetchCancelledError, FetchError
from deployments.progress import Progress
from tests.deployments.benches import wait_for
from tests.deployments.engines.contract import Contract
from tests.fakes.engine_server import EngineServer

LOADED = {"status": 200, "body": {"model": "served", "created_at": "t", "response": "", "done": True}}
ABSENT = {"GET /api/tags": {"body": {"models": [{"name": "other:latest"}]}}, "POST /api/generate": LOADED}
PRESENT = {"GET /api/tags": {"body": {"models": [{"name": "served:latest"}]}}, "POST /api/generate": LOADED}


class TestOllama(Contract):
    name = "ollama"

    def pulling(self, **changes: Any) -> EngineServer:
        return self.server(ABSENT, {"POST /api/pull": {"lines": copy.deepcopy(self.answers["pull"]), **changes}})

    def prepare(self, server: EngineServer) -> list[Progress]:
        seen: list[Progress] = []
        self.engine.prepare(server.endpoint, self.spec(), report=seen.append, cancelled=lambda: False)
        return seen

    def test_the_model_is_pulled_with_the_sum_of_its_layers_then_loaded(self) -> None:
        with self.pulling() as server:
            seen = self.prepare(server)
            assert self.is_ready(server)
        assert server.asked[1] == ("POST /api/pull", {"model": "served", "stream": True})
        assert server.asked[2] == ("POST /api/generate", {"model": "served", "keep_alive": -1})
        counted = [(each.done, each.total) for each in seen if each.total]
        assert counted[:4] == [(0, 4000), (1000, 4000), (2000, 5000), (5000, 5000)]
        assert [each.step for each in seen][-3:] == ["removing any unused layers", "success", "loading into memory"]

    def test_what_is_there_is_not_pulled_again(self) -> None:
        with self.server(PRESENT) as server:
            self.prepare(server)
        assert "POST /api/pull" not in server.paths()

    @pytest.mark.parametrize(
        ("error", "code", "permanent"),
        [
            ("pull model manifest: file does not exist", "model_not_in_library", True),
            ("write /root/.ollama/models/blobs/sha256-1-partial: no space left on device", "no_disk_space", False),
            ("max retries exceeded: EOF", "pull_failed", False),
        ],
    )
    def test_an_error_line_is_a_failure_despite_the_200(self, error: str, code: str, *, permanent: bool) -> None:
        with (
            self.server(
                ABSENT, {"POST /api/pull": {"lines": [{"status": "pulling manifest"}, {"error": error}]}}
            ) as it,
            pytest.raises(FetchError) as caught,
        ):
            self.prepare(it)
        assert (str(caught.value), caught.value.code, caught.value.permanent) == (error, code, permanent)
        assert "POST /api/generate" not in it.paths()

    def test_an_error_before_the_first_line_has_its_own_status(self) -> None:
        refused = {"status": 500, "body": {"error": "pull model manifest: file does not exist"}}
        with self.server(ABSENT, {"POST /api/pull": refused}) as it, pytest.raises(FetchError) as caught:
            self.prepare(it)
        assert (caught.value.code, caught.value.permanent) == ("model_not_in_library", True)
        assert "POST /api/generate" not in it.paths()

    def test_a_pull_that_ends_without_success_failed(self) -> None:
        short = {"POST /api/pull": {"lines": self.answers["pull"][:-1]}}
        with self.server(ABSENT, short) as server, pytest.raises(FetchError, match="without success"):
            self.prepare(server)

    def test_a_line_that_is_no_json_is_a_failure(self) -> None:
        page = {"POST /api/pull": {"body": "<html>proxy</html>\n"}}
        with self.server(ABSENT, page) as server, pytest.raises(FetchError, match="not a JSON line"):
            self.prepare(server)

    @pytest.mark.parametrize(
        "change",
        [
            {"POST /api/generate": {"status": 500, "body": {"error": "model requires more system memory"}}},
            {"POST /api/generate": {"status": 200, "body": {"error": "llama runner process has terminated"}}},
            {"GET /api/ps": {"status": 200, "body": {"models": []}}},
        ],
    )
    def test_a_model_that_does_not_become_resident_is_a_failure(self, change: dict[str, Any]) -> None:
        with self.server(PRESENT, change) as server, pytest.raises(FetchError) as caught:
            self.prepare(server)
        assert caught.value.code == "preload_failed"

    def test_a_server_that_goes_away_is_a_failure_that_may_be_tried_again(self) -> None:
        with self.server() as server:
            gone = server.endpoint
        with pytest.raises(FetchError) as caught:
            self.engine.prepare(gone, self.spec(), report=lambda _progress: None, cancelled=lambda: False)
        assert (caught.value.code, caught.value.permanent) == ("pull_failed", False)

    def test_stop_does_not_wait_for_a_silent_pull(self) -> None:
        wanted = threading.Event()
        wanted.set()
        caught: list[BaseException] = []

        def work() -> None:
            try:
                self.engine.prepare(
                    server.endpoint, self.spec(), report=lambda _p: None, cancelled=lambda: not wanted.is_set()
                )
            except FetchCancelledError as error:
                caught.append(error)

        with self.pulling() as server:
            server.hold["/api/pull"] = threading.Event()
            thread = threading.Thread(target=work)
            thread.start()
            wait_for(lambda: "POST /api/pull" in server.paths(), "the pull to begin")
            wanted.clear()
            thread.join(3)
            assert not thread.is_alive()
        assert len(caught) == 1
