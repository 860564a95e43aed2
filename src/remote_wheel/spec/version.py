"""Versions (PEP 440), each read once: pages and metadata repeat them."""

from functools import lru_cache

from packaging.version import Version


@lru_cache(maxsize=65536)
def parse_version(text: str) -> Version:
    """Return the version; raise packaging's InvalidVersion."""
    return Version(text)
