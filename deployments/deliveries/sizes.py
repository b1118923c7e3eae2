"""Sizes in words, for refusals."""

from __future__ import annotations

from django.template.defaultfilters import filesizeformat


def in_words(size_bytes: int) -> str:
    """Such as “32.0 MB”, with a plain space."""
    return filesizeformat(size_bytes).replace("\xa0", " ")
