"""The real weights with their real server, fetched once for the tests of one process.

`tests/conftest.py` makes `bundle` known to every test. Tests that ask for it belong to the group `real-model`, so that
pytest-xdist keeps them in one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.requirements import left_out

if TYPE_CHECKING:
    from deployments.runtimes.process import ProcessRuntime

#: Bundle of the built-in example.
IMAGE = "smollm2-135m"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ProcessRuntime:
    """A process runtime that has the bundle, fetched from wherever this machine's pip fetches."""
    from deployments.exceptions import FetchError
    from deployments.runtimes.process import ProcessRuntime

    runtime = ProcessRuntime(tmp_path_factory.mktemp("data"))
    try:
        runtime.ensure_image(IMAGE, report=lambda _progress: None, cancelled=lambda: False)
    except FetchError as error:
        if error.permanent:
            raise
        left_out("model", str(error))
    return runtime
