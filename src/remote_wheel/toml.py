"""TOML from elsewhere, within bounds: what tomllib takes long for, or fails at by other errors, is a ValueError."""

import re
from typing import Any, Final

_MOST_PARTS: Final = 256  # of a dotted key; tomllib takes time by their square
_BETWEEN: Final = re.compile(r"[=\[\]{},#]")
_NO_PART: Final = str.maketrans("", "", " \t'\"")


def load_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML document. Raises ValueError for what is none, or is nested without end."""
    import tomllib  # some milliseconds, for nothing where no file speaks of this library

    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MOST_PARTS:
            words = _BETWEEN.split(line.translate(_NO_PART))
            if any(word.count(".") > _MOST_PARTS for word in words):
                raise ValueError(f"a key of more than {_MOST_PARTS} parts (at line {number})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
