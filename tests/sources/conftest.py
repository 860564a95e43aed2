"""What the tests of sources share."""

import pytest

from tests.conftest import Python

CATCH = """
import remote_wheel
def caught(call, *args, **options):
    try:
        call(*args, **options)
    except remote_wheel.RemoteWheelError as error:
        return f"{type(error).__name__}: {error} | {error.hint}"
    return "nothing"
"""


class Mounting:
    """Mounts sources in fresh interpreters and tells what came of it."""

    def __init__(self, python: Python, verb: str = "mount") -> None:
        self._python, self._verb = python, verb

    def value(self, source: str, expression: str, /, options: str = "", **environ: str) -> str:
        """Return what *expression* prints, with the source's module as `m` and its mount as `mount`."""
        code = f"{CATCH}\nmount = remote_wheel.mount({source!r}, {options})\nm = mount.import_module()\n"
        return self._python(f"{code}print({expression})", **environ).stdout.rstrip("\n")

    def error(self, source: str, /, options: str = "", **environ: str) -> str:
        """Return the error that mounting raises, with its hint; nothing else may have been printed."""
        done = self._python(f"{CATCH}\nprint(caught(remote_wheel.{self._verb}, {source!r}, {options}))", **environ)
        return done.stdout.rstrip("\n")


@pytest.fixture
def mounting(python: Python) -> Mounting:
    return Mounting(python)


@pytest.fixture
def requiring(python: Python) -> Mounting:
    """The same for require(), of which only the errors are of interest."""
    return Mounting(python, "require")
