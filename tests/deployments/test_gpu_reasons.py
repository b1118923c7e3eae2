"""Why a node has no GPUs, in the reader's language."""

from __future__ import annotations

import pytest
from django.utils import translation

from deployments import gpu_reasons
from deployments.gpu_reasons import NO_ANSWER, NOT_PLAYED, WAITED, in_words


@pytest.mark.parametrize(
    ("written", "chinese"),
    [
        (NO_ANSWER % {"error": "error (12)."}, "本机没有 NVIDIA 驱动响应（error (12).）。"),
        (
            NOT_PLAYED % {"path": "/a b.jsonl", "error": "line 1:\nno JSON"},
            "无法播放录制文件 /a b.jsonl：line 1:\nno JSON",
        ),
        (WAITED % {"seconds": "12"}, "驱动已有 12 秒没有响应。"),
        ("Some driver's own words.", "Some driver's own words."),
        ("", ""),
    ],
)
def test_what_an_agent_wrote_is_read_in_the_active_language(written: str, chinese: str) -> None:
    assert in_words(written) == written
    with translation.override("zh-hans"):
        assert in_words(written) == chinese


def test_every_sentence_is_known_again() -> None:
    sentences = [value for name, value in vars(gpu_reasons).items() if name.isupper() and not name.startswith("_")]
    assert len(sentences) == 8
    with translation.override("zh-hans"):
        for sentence in sentences:
            written = sentence % {"error": "x", "path": "/x", "seconds": "3"}
            assert in_words(written) != written
