"""Prompts of a given number of tokens: by a seed and a number always the same, and no two alike. Pure.

Which text is how many tokens only the model's own tokenizer knows. These words are one token each, with the space
before them, in the tokenizers of GPT-2, Llama 2 and 3, Qwen 2 and SmolLM2; the chat template adds some dozens. So the
first answers of a test, which are not counted, tell the difference (:func:`words_for`), and figures name what the
server counted.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Final

#: Common short English words; their order is part of what makes a prompt the same again.
_TEXT: Final = """
    the of and to in that is was for on are with as his they at be this have from or one had by word but not what
    all were we when your can said there use an each which she do how their if will up other about out many then
    them these so some her would make like him into time has look two more write go see number no way could people
    my than first water been call who now find long down day did get come made may part over new sound take only
    little work know place year live me back give most very after thing our just name good man think say great where
    help through much before line right too mean old any same tell boy follow came want show also around form three
    small set put end does another well large must big even such because turn here why ask went men read need land
    different home us move try kind hand picture again change off play point air away animal house page letter
    mother answer found study still learn should world
"""
WORDS: Final = tuple(_TEXT.split())


#: With so many words of its own each prompt begins; what follows is drawn once, since choosing the words of a long
#: prompt would take tens of milliseconds of the loop that measures.
_OWN: Final = 32


def prompt(number: int, *, words: int, seed: int = 0) -> str:
    """The prompt of request ``number`` in the test of that ``seed``: so many of :data:`WORDS`.

    They differ from the first word on, so that no server answers from its cache of prefixes: not of this test, and not
    of the one before, which made the second of two runs eight times as fast to the first token.
    """
    own = _drawn(f"{seed} {number}", min(words, _OWN))
    return own if words <= _OWN else f"{own} {_common(words - _OWN)}"


def _drawn(seed: str, words: int) -> str:
    # The same on each machine: a load test is no place for secrets.
    return " ".join(random.Random(seed).choices(WORDS, k=words))  # noqa: S311


@lru_cache(maxsize=4)
def _common(words: int) -> str:
    return _drawn("common", words)


def words_for(tokens: int, *, words: int, counted: int | None) -> int:
    """How many words make ``tokens``, after a prompt of ``words`` was ``counted``; None leaves it as it is.

    What is around the words (the chat template) is taken for constant. One word is the least: then the template
    alone is longer than what is wanted, and the figures show that.
    """
    if counted is None:
        return words
    return max(1, words + tokens - counted)
