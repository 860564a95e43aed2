"""Text from elsewhere, fit for a terminal: no control character of it does anything there."""

import re
from typing import Final

# What moves the cursor, sets a title, or turns the text around; line ends and tabs are ours.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return *text* with control characters spelled out, in digits."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
