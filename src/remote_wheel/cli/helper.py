"""The helper process: one request as JSON on stdin, one answer as JSON on stdout, progress on stderr."""

import json
import sys
from typing import Any

from remote_wheel.api.cold import MARK, carry_out
from remote_wheel.cli.output import make_progress, take_stdout
from remote_wheel.errors import RemoteWheelError


def serve() -> int:
    """Carry out the request on stdin; errors go back as name and facts."""
    answer = take_stdout()
    result: dict[str, Any]
    try:
        result = carry_out(json.load(sys.stdin), make_progress())
    except RemoteWheelError as error:
        result = {"error": type(error).__name__, "facts": error.facts()}
    except KeyboardInterrupt:
        return 130
    with answer:
        answer.write(MARK + json.dumps(result).encode())
    return 0
