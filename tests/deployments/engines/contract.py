"""What every engine's module must hold against the answers transcribed from that engine's documentation and source.

The answers stand in ``answers/<engine>.yaml``, each file with its sources at the top.
A line at a commit (``@…``) is counted in that commit's text, one at a version is that of the released package.
"""

from __future__ import annotations

import copy
import socket
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deployments.engines import engine_named
from deployments.engines.base import Engine
from deployments.engines.causes import classify
from deployments.progress import Progress
from deployments.spec import ServingSpec
from tests.fakes.engine_server import EngineServer

ANSWERS = Path(__file__).parent / "answers"
KEY = "berth-0123456789abcdef"


@cache
def answers_of(engine: str) -> dict[str, Any]:
    """The transcribed answers of an engine."""
    loaded: dict[str, Any] = yaml.safe_load((ANSWERS / f"{engine}.yaml").read_text(encoding="utf-8"))
    return loaded


class Contract:
    """Subclassed for each engine. Tests with ``deviation``, ``loading``, ``bar`` or ``cause`` run for each listed."""

    name: str

    @property
    def engine(self) -> Engine:
        return engine_named(self.name)

    @property
    def answers(self) -> dict[str, Any]:
        return answers_of(self.name)

    def spec(self, **changes: Any) -> ServingSpec:
        values: dict[str, Any] = {
            "config": "c",
            "model": "m",
            "protocol": self.answers["protocol"],
            "engine": self.name,
            "runtime": "docker",
            "image": "i",
            "served_name": "served",
            "readiness_path": self.answers["readiness_path"],
            "load_timeout_s": 10,
        }
        return ServingSpec(**{**values, **changes})

    def server(self, *changes: dict[str, Any], key: str = "") -> EngineServer:
        """The engine when it is ready, with some answers changed."""
        table = copy.deepcopy(self.answers["ready"])
        for each in changes:
            table.update(copy.deepcopy(each))
        keyed = {"unauthorized": self.answers["unauthorized"]} if "unauthorized" in self.answers else {}
        return EngineServer(table, key=key, keyed_paths=tuple(self.answers.get("keyed_paths", ())), **keyed)

    def is_ready(self, server: EngineServer, *, key: str = "") -> bool:
        return self.engine.probe(server.endpoint, self.spec(), thorough=True, key=key).answering

    def test_the_default_readiness_path_is_the_contracts(self) -> None:
        assert self.engine.default_readiness_path == self.answers["readiness_path"]

    def test_a_ready_server_is_ready_and_was_asked_for_something_real(self) -> None:
        with self.server() as server:
            result = self.engine.probe(server.endpoint, self.spec(), thorough=True)
        assert result.answering, result.detail
        assert set(server.paths()) == set(self.answers["ready"])

    def test_while_it_loads_it_is_not_ready(self, loading: str) -> None:
        changed = self.answers["loading"][loading]
        if changed is None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                free = taken.getsockname()[1]
            result = self.engine.probe(f"http://127.0.0.1:{free}", self.spec(), thorough=True)
            assert "refused" in result.detail.lower()
        else:
            with self.server(changed) as server:
                result = self.engine.probe(server.endpoint, self.spec(), thorough=True)
        assert not result.answering

    def test_a_slow_start_ends_ready(self) -> None:
        slow = {
            path: [{"status": 503, "body": "starting"}, answer]
            for path, answer in self.answers["ready"].items()
            if path == f"GET {self.answers['readiness_path']}"
        }
        with self.server(slow) as server:
            assert not self.is_ready(server)
            assert self.is_ready(server)

    def test_one_deviation_is_found_out(self, deviation: str) -> None:
        with self.server(self.answers["deviations"][deviation]) as server:
            result = self.engine.probe(server.endpoint, self.spec(), thorough=True)
        assert not result.answering, deviation
        assert result.detail

    def test_its_key_is_sent_as_a_bearer_token_where_it_takes_one(self) -> None:
        assert bool(self.engine.key_variable) == ("keyed_paths" in self.answers)
        if not self.engine.key_variable:
            return
        with self.server(key=KEY) as server:
            refused = self.engine.probe(server.endpoint, self.spec(), thorough=True)
            assert not refused.answering
            assert refused.detail.startswith("401")
            assert self.is_ready(server, key=KEY)

    def test_its_metrics_are_read_by_the_common_names(self) -> None:
        told = self.answers["metrics"]
        if told is None:
            assert self.engine.read_metrics("http://127.0.0.1:9") is None
            return
        with self.server({f"GET {told['path']}": {"body": told["text"]}}, key=KEY) as server:
            metrics = self.engine.read_metrics(server.endpoint, key=KEY)
        assert metrics is not None
        figures = dict(told["figures"])
        ttft = figures.pop("ttft")
        assert {name: getattr(metrics, name) for name in figures} == figures
        shown = metrics.ttft_seconds and [metrics.ttft_seconds.count, metrics.ttft_seconds.total]
        assert shown == ttft

    def test_a_figure_under_another_name_is_not_told(self) -> None:
        told = self.answers["metrics"]
        if told is None or "renamed" not in told:
            return
        text = told["text"].replace(told["renamed"], "other:figure")
        with self.server({f"GET {told['path']}": {"body": text}}) as server:
            metrics = self.engine.read_metrics(server.endpoint)
        assert metrics is not None
        names = set(told["figures"]) - {"ttft"}
        missing = {name for name in names if getattr(metrics, name) is None and told["figures"][name] is not None}
        assert len(missing) == 1

    def test_metrics_that_do_not_come_are_none(self) -> None:
        assert self.engine.read_metrics("http://127.0.0.1:9") is None
        told = self.answers["metrics"]
        if told is not None:
            with self.server({f"GET {told['path']}": {"status": 500, "body": "oops"}}) as server:
                assert self.engine.read_metrics(server.endpoint) is None

    def test_its_log_tells_how_far_loading_is(self, bar: list[Any] | None) -> None:
        if bar is None:
            assert self.engine.load_progress(["Loading: 25%|██▌       | 1/4 [00:01<00:03,  1.00s/it]"]) is None
            return
        line, step, done, total, unit = [*bar, "steps"][:5]
        progress = self.engine.load_progress(["before", line, "after"])
        assert progress == Progress(step=step, done=done, total=total, unit=unit)

    def test_its_own_words_name_the_cause(self, cause: list[str]) -> None:
        line, code = cause
        assert classify(1, out_of_memory=False, log_tail=["before", line, "after"], engine=self.engine).code == code
        broken = line[: len(line) // 4]
        assert classify(1, out_of_memory=False, log_tail=[broken], engine=self.engine).code != code
