"""The helper as a fork of a process that is ours: a command that has imported nothing but the island yet.

It starts some thirty milliseconds sooner than an interpreter does. Linux alone: elsewhere the system's own libraries
may not live through a fork. Nothing else is to run in the process: a fork has one thread.
"""

import contextlib
import os
import signal
import sys
import time
from typing import NoReturn

from remote_wheel.cli.output import renew_stdout

_POLL_S = 0.005
_PATIENCE_S = 2.0
_MOST_FILES = 4096


def fork(package_parent: str) -> "Forked | None":
    """Return the helper; None where one of the standard streams is closed, whose number a pipe would get."""
    try:
        for stream in range(3):
            os.fstat(stream)
    except OSError:
        return None
    return Forked(package_parent)


class Forked:
    """A helper process that was an interpreter already."""

    def __init__(self, package_parent: str) -> None:
        (input_end, self._input), (self._output, output_end) = os.pipe(), os.pipe()
        self._exit_code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _serve(input_end, output_end, package_parent)
        os.close(input_end)
        os.close(output_end)

    def converse(self, data: bytes) -> tuple[bytes, int]:
        """Hand over the request; return the answer and the exit code, when the helper has ended. None outlives this."""
        try:
            with open(self._output, "rb") as answers:
                try:
                    with open(self._input, "wb") as requests:
                        requests.write(data)
                except BrokenPipeError:  # its exit code says more
                    pass
                answer = answers.read()
            return answer, self._wait()
        except BaseException:
            try:
                self._wait(_PATIENCE_S)  # Ctrl-C reaches both: it is about to clean up behind itself
            except BaseException:  # noqa: BLE001  # it takes too long, or the user has no patience either
                os.kill(self._pid, signal.SIGKILL)
                self._wait()
            raise

    def _wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end, at most *timeout_s* seconds; return its exit code. Raises TimeoutError."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._exit_code is None:
            pid, status = os.waitpid(self._pid, 0 if until_s is None else os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
            elif until_s is not None and time.monotonic() > until_s:
                raise TimeoutError
            else:
                time.sleep(_POLL_S)
        return self._exit_code


def _close_from(first: int) -> None:
    """Close what is open from a number on: all numbers that there may be can be a thousand million."""
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # it is not mounted
        opened = list(range(first, _MOST_FILES))
    for descriptor in opened:
        if descriptor >= first:
            with contextlib.suppress(OSError):  # the folder that was listed
                os.close(descriptor)


def _serve(input_end: int, output_end: int, package_parent: str) -> NoReturn:
    """Be the helper, as cold starts one otherwise."""
    code = 1
    try:
        os.dup2(input_end, 0)
        os.dup2(output_end, 1)
        _close_from(3)
        sys.stdin = os.fdopen(0, encoding="utf-8")  # what the parent's has read ahead is not ours
        renew_stdout()
        if not sys.flags.safe_path:
            del sys.path[0]  # the folder that the program was started in, or is in
        sys.path.append(package_parent)
        from remote_wheel.cli.helper import serve

        serve()
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001  # nothing of the parent's is to go on in here
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
