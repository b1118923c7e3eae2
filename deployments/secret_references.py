"""Secrets in a config's environment: ``${NAME}`` refers to one, its value is never written down."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

#: What stands in the place of a secret.
HIDDEN = "••••••"
REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_SECRET_NAME = re.compile(r"(?:^|_)(?:TOKENS?|KEYS?|SECRETS?|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
#: Beginnings of well-known tokens: Hugging Face, OpenAI-like, GitHub, NVIDIA, GitLab, AWS.
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|nvapi-|glpat-|AKIA)[A-Za-z0-9_-]{12,}")


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name holds a secret: ``HF_TOKEN``, ``API_KEY``."""
    return _SECRET_NAME.search(name) is not None


def contains_token(text: str) -> bool:
    """Whether ``text`` holds something that looks like a token of a well-known service."""
    return _TOKEN.search(text) is not None


def only_references(value: str) -> bool:
    """Whether nothing but references, spaces and a scheme word stand in ``value``: ``Bearer ${KEY}``."""
    rest = REFERENCE.sub("", value)
    return rest.strip() in {"", "Bearer", "Basic", "Token"} and rest != value


def referred_names(value: str) -> list[str]:
    """The names that ``value`` refers to, in order."""
    return REFERENCE.findall(value)


def split_references(value: str) -> Iterator[tuple[str, bool]]:
    """Pieces of ``value`` in order: (text, False) for literal text, (name, True) for a reference."""
    end = 0
    for match in REFERENCE.finditer(value):
        if match.start() > end:
            yield value[end : match.start()], False
        yield match.group(1), True
        end = match.end()
    if end < len(value):
        yield value[end:], False


def shown_value(name: str, value: str) -> str:
    """``value`` as a page may show it: references as they are, a literal secret hidden."""
    hidden = contains_token(value) or (is_secret_name(name) and value and not only_references(value))
    return HIDDEN if hidden else value


def covered(text: str, values: Collection[str]) -> str:
    """``text`` with every one of ``values`` hidden; the longest first, since one may be the beginning of another."""
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text
