"""The helper process: one request as JSON on stdin, one answer as JSON on stdout, progress on stderr."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from remote_wheel.api.cold import MARK, carry_out_lean, collect_rarely
from remote_wheel.cli.output import make_progress, take_stdout
from remote_wheel.errors import RemoteWheelError


def serve() -> int:
    """Carry out the request on stdin; errors go back as name and facts."""
    collect_rarely()
    answer = take_stdout()
    result: dict[str, Any]
    finish: Callable[[], None] | None = None
    is_lean = False
    try:
        request = json.load(sys.stdin)
        may_fork = hasattr(os, "fork") and os.environ.get("REMOTE_WHEEL_COMPILE") != "before"
        is_lean = may_fork and request.get("may_be_lean", False)
        result, finish = carry_out_lean({**request, "may_be_lean": is_lean}, make_progress())
    except RemoteWheelError as error:
        result = {"error": type(error).__name__, "facts": error.facts()}
    except KeyboardInterrupt:
        return 130
    with answer:
        answer.write(MARK + json.dumps(result).encode())
    if finish and is_lean:
        _leave_to_child(finish)
    return 0


def _leave_to_child(finish: Callable[[], None]) -> None:
    """Have a process of its own do *finish*, while this one ends: who asked waits for no more than the answer."""
    try:
        if os.fork():
            return
    except OSError:  # no more processes may be: it stays lean, and is tried again
        return
    with contextlib.suppress(BaseException):  # as above, whatever it was
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        os.setsid()  # neither Ctrl-C nor a terminal that closes is meant for it
        os.nice(5)
        finish()
    os._exit(0)
