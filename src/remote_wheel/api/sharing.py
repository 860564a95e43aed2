"""Requests of several threads: equal ones share one answer, and few helpers run at a time."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from remote_wheel.errors import RemoteWheelError, rebuild_error

_MOST_HELPERS: Final = 4  # at a time, of one process: each takes a core or two


class _Asked:
    """A request that is under way: those who ask the same meanwhile wait for its answer."""

    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.answer: dict[str, Any] | None = None
        self.error: tuple[str, dict[str, Any]] | None = None  # name and facts


_asked: dict[str, _Asked] = {}  # by the request, as JSON
_lock = threading.Lock()
_helpers = threading.BoundedSemaphore(_MOST_HELPERS)


def _renew() -> None:
    """Begin anew in a forked child: the threads that asked are not in it, and may have held a lock."""
    global _lock, _helpers  # of this process
    _asked.clear()
    _lock, _helpers = threading.Lock(), threading.BoundedSemaphore(_MOST_HELPERS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def shared(request: Mapping[str, Any], ask: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Return what *ask* answers to *request*; of equal ones at a time, one is asked, and the others share its answer.

    Raises what *ask* raises; of a RemoteWheelError, each thread gets one of its own.
    """
    key = json.dumps(request, sort_keys=True)
    while True:
        with _lock:
            other = _asked.get(key)
            if other is None:
                mine = _asked[key] = _Asked()
        if other is None:
            return _answered(request, ask, key, mine)
        other.is_done.wait()
        if other.answer is not None:
            return other.answer
        if other.error is not None:
            raise rebuild_error(*other.error)
        # Who asked was interrupted: the next one asks.


def _answered(
    request: Mapping[str, Any], ask: Callable[[Mapping[str, Any]], dict[str, Any]], key: str, mine: _Asked
) -> dict[str, Any]:
    try:
        with _helpers:
            mine.answer = ask(request)
        return mine.answer
    except RemoteWheelError as error:
        mine.error = type(error).__name__, error.facts()
        raise
    finally:
        with _lock:
            if _asked.get(key) is mine:
                del _asked[key]
        mine.is_done.set()
