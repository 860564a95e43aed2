"""Text from elsewhere, fit for a terminal: no control character of it does anything there."""

import re
from typing import Final

# What moves the cursor, sets a title, turns the text around, is not seen, or can't be encoded; line ends and tabs stay.
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Return *text* with control characters spelled out, in digits."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_line(text: str) -> str:
    """Return *text* as one line: with line ends spelled out, too."""
    return visible(text).replace("\n", "\\n")
