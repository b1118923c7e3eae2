"""The bench of the GPU sockets, small: the figures themselves are those of ``make bench``."""

from __future__ import annotations

import pytest

from tests.bench.gpu_sockets import gpu_socket_figures


@pytest.mark.slow
def test_a_hundred_sockets_lose_no_frame_beside_some_that_read_nothing() -> None:
    figures = gpu_socket_figures(sockets=100, seconds=5)
    assert figures.mute == 5
    assert figures.healthy.sockets == 95
    assert figures.healthy.closed == 0
    assert figures.healthy.lost == 0
    assert figures.healthy.frames >= 95 * 4
    assert figures.grown_mb < 10
