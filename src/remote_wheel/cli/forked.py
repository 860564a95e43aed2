"""The helper as a fork of a process that is ours: a command that has imported nothing but the island yet.

It starts some thirty milliseconds sooner than an interpreter does. Linux alone: elsewhere the system's own libraries
may not live through a fork. Nothing else is to run in the process: a fork has one thread.
"""

import os
import signal
import sys
import time
from typing import NoReturn

from remote_wheel.cli.output import renew_stdout

_POLL_S = 0.005


def fork(package_parent: str) -> "Forked | None":
    """Return the helper; None where one of the standard streams is closed, whose number a pipe would get."""
    try:
        for stream in range(3):
            os.fstat(stream)
    except OSError:
        return None
    return Forked(package_parent)


class Forked:
    """A helper process with the methods of subprocess.Popen that cold needs."""

    def __init__(self, package_parent: str) -> None:
        (input_end, self._input), (self._output, output_end) = os.pipe(), os.pipe()
        self.returncode: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _serve(input_end, output_end, package_parent)
        os.close(input_end)
        os.close(output_end)

    def communicate(self, data: bytes) -> tuple[bytes, None]:
        """Hand over the request; return the answer, when the helper has ended, and None for what went to stderr."""
        with open(self._output, "rb") as answers:
            try:
                with open(self._input, "wb") as requests:
                    requests.write(data)
            except BrokenPipeError:  # its exit code says more
                pass
            answer = answers.read()
        self.wait()
        return answer, None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most *timeout* seconds; return its exit code. Raises TimeoutError."""
        until_s = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self._pid, 0 if until_s is None else os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif until_s is not None and time.monotonic() > until_s:
                raise TimeoutError
            else:
                time.sleep(_POLL_S)
        return self.returncode

    def kill(self) -> None:
        """End it."""
        if self.returncode is None:
            os.kill(self._pid, signal.SIGKILL)


def _serve(input_end: int, output_end: int, package_parent: str) -> NoReturn:
    """Be the helper, as cold starts one otherwise."""
    code = 1
    try:
        os.dup2(input_end, 0)
        os.dup2(output_end, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
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
