"""Text in cells of spreadsheets."""

from __future__ import annotations


def harmless(text: str) -> str:
    """Spreadsheets run what begins like a formula; names, prompts and answers are anybody's words."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
