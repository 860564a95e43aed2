"""The helper process: one request as JSON on stdin, one answer as JSON on stdout, progress on stderr."""

import json
import sys

from remote_wheel.api import pipeline
from remote_wheel.api.cold import MARK, facts_of_failure, parse_request
from remote_wheel.cli.output import make_progress, take_stdout
from remote_wheel.errors import HelperFailed, RemoteWheelError


def serve() -> int:
    """Carry out the request on stdin; errors of ours go back as name and facts."""
    answer = take_stdout()
    progress = make_progress()
    try:
        result = pipeline.run(parse_request(json.load(sys.stdin)), progress)
    except RemoteWheelError as error:
        result = {"error": type(error).__name__, "facts": error.facts()}
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  # the caller must get an answer; it shows the traceback under -v
        result = {"error": HelperFailed.__name__, "facts": facts_of_failure(error)}
    finally:
        progress.close()
    with answer:
        answer.write(MARK + json.dumps(result).encode())
    return 0
