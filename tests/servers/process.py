"""A server's process: started, waited for, ended."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], folder: Path, *, stop: int = signal.SIGTERM) -> Iterator[Path]:
    """Run a server in *folder* until the context ends; yield its log."""
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield log
        finally:
            server.send_signal(stop)
            server.wait(30)


def wait_until(is_up: Callable[[], bool], log: Path, limit_s: float = 60) -> None:
    """Wait for the server that writes *log*; fail the test with what it wrote if it does not come up."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        try:
            if is_up():
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def listens(port: int) -> Callable[[], bool]:
    """Return the check whether somebody listens on *port*."""

    def check() -> bool:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True

    return check
