"""Amounts as the user writes and reads them: sizes in bytes, ages in seconds."""

import re
from typing import Final

from remote_wheel.errors import UsageError

_SIZE: Final = r"(?i)(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?"
_AGE: Final = r"(?i)(\d+)\s*(s(?:econds?)?|m(?:in(?:utes?)?)?|h(?:ours?)?|d(?:ays?)?|w(?:eeks?)?)"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def parse_size(text: str) -> int:
    """Return the bytes that *text* is: ``2GB``, ``500 MB`` (powers of ten), ``1GiB`` (of two). Raises UsageError."""
    if not (found := re.fullmatch(_SIZE, text.strip())):
        raise UsageError(message=f"{text!r} is no size", way_out="As in 500MB, 2GB or 1GiB.")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))


def parse_budget(text: str) -> int | None:
    """Return the bytes that the cache may have, None for as many as it takes (``none``, ``0``). Raises UsageError."""
    if text.strip().lower() in ("none", "0", ""):
        return None
    try:
        return parse_size(text)
    except UsageError as error:
        way = "REMOTE_WHEEL_MAX_CACHE_SIZE is a size, as in 500MB, 2GB or 1GiB, or none."
        raise UsageError(message=f"max_cache_size={text!r} is no size", way_out=way) from error


def parse_age(text: str) -> float:
    """Return the seconds that *text* is: ``30d``, ``12h``, ``90m``. Raises UsageError."""
    if not (found := re.fullmatch(_AGE, text.strip())):
        raise UsageError(message=f"{text!r} is no age", way_out="As in 30d, 12h or 2w.")
    return float(int(found[1]) * _SECONDS[found[2][0].lower()])


def shown_size(size_bytes: int) -> str:
    """Return a size to read: ``1.2 MB``."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def shown_age(age_s: float) -> str:
    """Return an age to read: ``3 days``."""
    for name, seconds in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if age_s >= seconds:
            count = int(age_s // seconds)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "just now"
