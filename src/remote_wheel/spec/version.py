"""Versions (PEP 440), each read once: pages and metadata repeat them."""

from functools import lru_cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version


def check_versions(specifiers: SpecifierSet) -> None:
    """Raise ValueError where a version that *specifiers* compare with has numbers too long for Python."""
    for specifier in specifiers:
        if specifier.operator != "===":  # whose versions are any text
            parse_version(specifier.version.removesuffix(".*"))


@lru_cache(maxsize=65536)
def parse_version(text: str) -> Version:
    """Return the version; raise packaging's InvalidVersion."""
    return Version(text)
