"""Audit events (PEP 578): what is fetched, verified and mounted, for hooks of the process that asked for it."""

import sys
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "remote_wheel."
_heard: list[tuple[str, ...]] | None = None


def audit(event: str, *facts: str) -> None:
    """Raise the audit event ``remote_wheel.EVENT``; in a helper, for who asked it, too."""
    sys.audit(PREFIX + event, *facts)
    if _heard is not None:
        _heard.append((event, *facts))


def listen() -> list[tuple[str, ...]]:
    """Return a list that every event of this process is added to from now on."""
    global _heard  # one process, one list
    _heard = []
    return _heard


def replay(events: Iterable[Iterable[str]]) -> None:
    """Raise in this process what another heard."""
    for event, *facts in events:
        sys.audit(PREFIX + event, *facts)
