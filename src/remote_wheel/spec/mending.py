"""Requirements of old metadata that break PEP 440 and 508, read as what they were meant to say; uv reads the same ones.

Each rule takes time in proportion to the text. What they don't mend stays an error, and so the release is passed over.
"""

import re
from typing import Final

_VERSION: Final = r"\d+(?:\.\d+)*"
# In the order in which they are applied, to what stands before a marker.
_RULES: Final = (
    (re.compile(r"([<>=!~]=?\s*)[\"']([^\"'\s,]{1,80})[\"']"), r"\1\2"),  # >='1.0'
    (re.compile(rf"!=~\s*({_VERSION})"), r"!=\1.*"),  # !=~1.0
    (re.compile(r"(\d)([<>!~]=?|==)(?=\s*\d)"), r"\1,\2"),  # >=1.0<2.0
    (re.compile(rf"([<>]=?\s*{_VERSION})\.\*"), r"\1"),  # >=1.0.*
    (re.compile(rf"((?:==|!=)\s*{_VERSION})\*"), r"\1.*"),  # !=3.0*
    (re.compile(r">\s*dev\b"), ">0.0.0.dev0"),
    (re.compile(r",\s*(?=\)|$)"), ""),  # >=1.0,)
)
_OF_VERSIONS: Final = r"(?:python_version|python_full_version|implementation_version|platform_release|platform_version)"
_OF_WORDS: Final = (
    r"(?:os_name|sys_platform|platform_machine|platform_python_implementation|implementation_name|platform_system)"
)
_ORDERS_RELEASES: Final = re.compile(
    r"platform_(?:release|version)\s*(?:[<>]|~=)|[<>~]=?\s*platform_(?:release|version)"
)
_QUOTED: Final = r"(?:'[^'\n]{0,200}'|\"[^\"\n]{0,200}\")"
_MARKER_RULES: Final = (
    (re.compile(rf"({_OF_VERSIONS}\s*[<>]=?\s*[\"']{_VERSION})\.\*(?=[\"'])"), r"\1"),  # python_version >= '3.6.*'
    (re.compile(rf"({_OF_WORDS})\s*(?:[<>]=?|~=)\s*{_QUOTED}"), r"\1 == '<'"),  # words have no order: it is false
    (re.compile(rf"{_QUOTED}\s*(?:[<>]=?|~=)\s*({_OF_WORDS})"), r"\1 == '<'"),
)


def mend(text: str) -> str:
    """Return a requirement with what old tools let pass in it mended, the same text where there is nothing of that."""
    wanted, semicolon, marker = text.partition(";")
    if "@" not in wanted:
        for rule, instead in _RULES:
            wanted = rule.sub(instead, wanted)
    return wanted + semicolon + mend_marker(marker)


def mend_marker(marker: str) -> str:
    """Return a marker, mended as `mend` does."""
    for rule, instead in _MARKER_RULES:
        marker = rule.sub(instead, marker)
    return marker


def mend_specifier(text: str) -> str:
    """Return a specifier set (of Requires-Python), mended as `mend` does."""
    for rule, instead in _RULES:
        text = rule.sub(instead, text)
    return text


def environment_for(marker: str, environment: dict[str, str]) -> dict[str, str]:
    """Return the *environment* to evaluate a marker in: where it asks for the order of a system's release, a number.

    A kernel's release (6.1.0-18-amd64) is no version by PEP 440, and so neither older nor newer than any.
    """
    if not _ORDERS_RELEASES.search(marker):
        return environment
    found = dict(environment)
    for name in ("platform_release", "platform_version"):
        number = re.search(_VERSION, found.get(name, ""))
        found[name] = number[0] if number else "0"
    return found
