"""The helper process: one request as JSON on stdin, one answer as JSON on stdout, progress on stderr."""

import json
import os
import sys
from typing import Any, NoReturn

from remote_wheel.api.cold import abandon, carry_out, listen, own_process
from remote_wheel.api.process import MARK
from remote_wheel.cli.output import LineProgress, flush, make_progress, take_stdout
from remote_wheel.errors import RemoteWheelError


def serve() -> NoReturn:
    """Carry out the request on stdin and end; errors go back as name and facts."""
    own_process()
    events = listen()
    answer = take_stdout()
    result: dict[str, Any]
    try:
        request = json.load(sys.stdin)
        may_fork = hasattr(os, "fork") and os.environ.get("REMOTE_WHEEL_COMPILE") != "before"
        may_be_lean = may_fork and bool(request.get("may_be_lean"))
        progress = LineProgress() if request.pop("tells", False) else make_progress()
        result = carry_out({**request, "may_be_lean": may_be_lean}, progress)
    except RemoteWheelError as error:
        result = {"error": type(error).__name__, "facts": error.facts()}
    except KeyboardInterrupt:
        abandon()
        os._exit(130)
    blobs: dict[str, Any] = result.pop("blobs", {})
    result["audit"] = list(events)
    result["sizes"] = {name: len(blob) for name, blob in blobs.items()}
    with answer:
        answer.write(MARK + json.dumps(result).encode() + b"\n")
        for blob in blobs.values():
            answer.write(blob)
    flush()
    abandon()
    os._exit(0)  # nobody is to wait for a transfer that turned out not to be needed
