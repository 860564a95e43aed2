"""Audit events (PEP 578): what is fetched, verified and mounted, for hooks of the process that asked for it."""

import sys
from collections.abc import Callable, Iterable
from typing import Final

PREFIX: Final = "remote_wheel."
_tell: Callable[[tuple[str, ...]], None] | None = None


def audit(event: str, *facts: str) -> None:
    """Raise the audit event ``remote_wheel.EVENT``; in a helper, for who asked it, too."""
    sys.audit(PREFIX + event, *facts)
    if _tell is not None:
        _tell((event, *facts))


def listen() -> list[tuple[str, ...]]:
    """Return a list that every event of this process is added to from now on."""
    heard: list[tuple[str, ...]] = []
    hear(heard.append)
    return heard


def hear(tell: Callable[[tuple[str, ...]], None]) -> None:
    """Have *tell* called with every event of this process from now on, and nobody else who was to be told."""
    global _tell  # one process, one listener
    _tell = tell


def replay(events: Iterable[Iterable[str]]) -> None:
    """Raise in this process what another heard."""
    for event, *facts in events:
        sys.audit(PREFIX + event, *facts)
