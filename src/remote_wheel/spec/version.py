"""Versions (PEP 440), each read once: pages and metadata repeat them."""

from functools import lru_cache
from typing import Final

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

# Around what sort keys have of numbers and letters.
_LEAST: Final = " "
_MOST: Final = "~"
_LONG: Final = 70  # digits


def check_versions(specifiers: SpecifierSet) -> None:
    """Raise ValueError where a version that *specifiers* compare with has numbers too long for Python."""
    for specifier in specifiers:
        if specifier.operator != "===":  # whose versions are any text
            parse_version(specifier.version.removesuffix(".*"))


@lru_cache(maxsize=16384)
def parse_clause(text: str) -> Specifier:
    """Return one clause of a specifier; raise packaging's InvalidSpecifier."""
    return Specifier(text)


@lru_cache(maxsize=65536)
def parse_version(text: str) -> Version:
    """Return the version; raise packaging's InvalidVersion."""
    return Version(text)


def sort_key(version: Version) -> str:
    """Return a line of text that sorts among others as PEP 440 has their versions, and is equal for equal ones."""
    release = list(version.release)
    while release and not release[-1]:  # 1.0 is 1
        release.pop()
    numbers = "".join(map(_sorted, (version.epoch, *release)))
    pre, post, dev = version.pre, version.post, version.dev
    is_early = pre is None and post is None and dev is not None  # 1.dev0 is older than 1a0
    parts = (
        pre[0] + _sorted(pre[1]) if pre else _LEAST if is_early else _MOST,
        _LEAST if post is None else _sorted(post),
        _MOST if dev is None else _sorted(dev),
    )
    # Of the parts of a local version numbers count more than words, and one more part more than none.
    local = version.local.split(".") if version.local else ()
    ends = (f"b{_sorted(int(part))}" if part.isdigit() else f"a{part}{_LEAST}" for part in local)
    return "".join((numbers, _LEAST, *parts, *ends))


def _sorted(number: int) -> str:
    """Return text that sorts as numbers do, between _LEAST and _MOST: how many digits there are stands in front."""
    text = str(number)
    count = len(text)
    return chr(ord("0") + count) + text if count <= _LONG else f"z{_sorted(count)}{text}"
