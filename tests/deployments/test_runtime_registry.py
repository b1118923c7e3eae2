"""Which runtimes there are, and that each process builds one of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.exceptions import LaunchError
from deployments.runtimes import runtime_named, runtime_names, use_runtime
from tests.fakes.runtime import FakeRuntime


@pytest.fixture(autouse=True)
def _own_seats() -> Iterator[None]:
    yield
    for name in runtime_names():
        use_runtime(name, None)


@pytest.mark.parametrize("name", runtime_names())
def test_a_runtime_is_built_once_and_knows_its_name(name: str) -> None:
    assert runtime_named(name).name == name
    assert runtime_named(name) is runtime_named(name)


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LaunchError, match="process") as caught:
        runtime_named("mainframe")
    assert caught.value.code == "unknown_runtime"


def test_a_test_takes_a_seat_and_gives_it_back() -> None:
    fake = FakeRuntime()
    use_runtime("process", fake)
    assert runtime_named("process") is fake
    use_runtime("process", None)
    assert runtime_named("process") is not fake
