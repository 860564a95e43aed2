"""Conversations with helper processes: started, recognised by what they say first, asked, and never left behind."""

import contextlib
import json
import os
import sys

from remote_wheel.api.interpreter import SAY_IDENTITY, find_interpreters, identity
from remote_wheel.mounts import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO, Any, Final

    Watcher = Callable[[Mapping[str, Any]], None]

MARK: "Final" = b"\n\0remote_wheel answers\0"
TELLS: "Final" = b"\0remote_wheel tells\0"
_GREETING: "Final" = b"\n\0remote_wheel is started\0"
_GREETING_S: "Final" = 30.0  # for an interpreter to start, hooks of others included, on a busy machine
_PATIENCE_S: "Final" = 2.0
# Appended, not prepended: the helper must find the same standard library and packages that an ordinary start would.
# What we rely on may be in places that only this process knows, as in a program that embeds Python.
_START: "Final" = f"""import sys, os
{SAY_IDENTITY}
try: os.write(1, ({_GREETING.decode()!r} + own + chr(10)).encode())
except OSError: os._exit(0)
if own != sys.argv[2]: os._exit(0)
import signal
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
if hasattr(signal, 'pthread_sigmask'): signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
sys.path += [each for each in sys.argv[1].split(os.pathsep) if each not in sys.path]
from remote_wheel.cli.helper import serve
serve()"""


class NoInterpreter(Exception):
    """Raised where no interpreter like this one can be started: the work is to be done in this process."""


def converse(request: "Mapping[str, Any]", watcher: "Watcher | None") -> "tuple[bytearray, int]":
    """Have a helper carry out *request*; return all that it wrote, and its exit code. Raises NoInterpreter."""
    data = json.dumps({**request, "tells": True} if watcher else request).encode()
    for program in find_interpreters():
        try:
            helper = _Helper(program, request, watcher)
        except (OSError, RuntimeError):  # no more processes or threads may be
            raise NoInterpreter from None
        try:
            if helper.is_like_this():
                return helper.answer_to(data)
        finally:
            helper.end()
    raise NoInterpreter


def package_parent() -> str:
    """Return the folder that this package is imported from."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@contextlib.contextmanager
def _interrupts_held() -> "Iterator[None]":
    """Have a process that is started begin without Ctrl-C, where the system can do that."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


class _Helper:
    """An interpreter that was started to serve one request."""

    def __init__(self, program: str, request: "Mapping[str, Any]", watcher: "Watcher | None") -> None:
        import subprocess
        import threading

        pipe = subprocess.PIPE
        places = os.pathsep.join((package_parent(), *filter(os.path.isabs, request["search_path"])))
        command = [program, *_inherited_flags(), "-c", _START, places, identity()]
        # The helper must not see the caller's mounts, which may be other versions of what it needs itself.
        environ = {name: value for name, value in os.environ.items() if name != children.VARIABLE}
        environ |= {"PYTHONIOENCODING": "utf-8", "PYTHONSAFEPATH": "1"}
        self._watcher = watcher
        with _interrupts_held():  # it takes them when it can answer them, not by a trace of its start
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe if watcher else None, env=environ
            )
        self._written = bytearray()
        self._is_greeted = threading.Event()
        self._reader = threading.Thread(target=self._read, name="remote_wheel helper", daemon=True)
        try:
            self._reader.start()
        except BaseException:
            self._kill()
            raise

    def is_like_this(self) -> bool:
        """Whether it is an interpreter like this one; whatever says nothing in time is none."""
        self._is_greeted.wait(_GREETING_S)
        said = bytes(self._written).partition(_GREETING)[2].partition(b"\n")[0]
        return said == identity().encode()

    def answer_to(self, data: bytes) -> "tuple[bytearray, int]":
        """Hand the request over; return what it writes until its end, and its exit code."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as requests:  # has it ended, its exit code says more
            requests.write(data)
        if self._watcher and self._process.stderr:
            self._listen(self._process.stderr, self._watcher)
        self._reader.join()
        return self._written, self._process.wait()

    def end(self) -> None:
        """Leave nothing of it behind, whatever happened."""
        try:
            if self._process.poll() is None:  # Ctrl-C reaches both: it is about to clean up behind itself
                self._process.wait(_PATIENCE_S)
        except BaseException:  # noqa: BLE001  # it takes too long, or the user has no patience either
            self._kill()
        for stream in (self._process.stdin, self._process.stderr):
            if stream:
                with contextlib.suppress(OSError):  # what was not written yet can't be any more
                    stream.close()
        if self._process.returncode is not None:
            self._reader.join(_PATIENCE_S)  # what it has started may hold its output open

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        """Take what it writes until it ends, and say when the greeting is whole, or will not come."""
        assert self._process.stdout is not None
        try:
            with self._process.stdout as stream:
                while chunk := os.read(stream.fileno(), 1 << 20):
                    self._written += chunk
                    if not self._is_greeted.is_set():
                        greeting = self._written.find(_GREETING)
                        if greeting >= 0 and self._written.find(b"\n", greeting + len(_GREETING)) >= 0:
                            self._is_greeted.set()
        finally:
            self._is_greeted.set()

    def _listen(self, stream: "IO[bytes]", watcher: "Watcher") -> None:
        """Hand what it tells of its progress to *watcher*, in this thread."""
        for line in stream:
            if line.startswith(TELLS):
                watcher(json.loads(line.removeprefix(TELLS)))
            else:
                os.write(2, line)  # where it would have gone


def _inherited_flags() -> "list[str]":
    flags = [("isolated", "-I"), ("ignore_environment", "-E"), ("no_user_site", "-s")]
    found = [option for name, option in flags if getattr(sys.flags, name)]
    return [*found, "-P"] if "-E" in found else found  # elsewhere a variable says it, which older versions ignore
