"""A program whose children, and their children, end with it: a process above them waits, and ends what is left.

Linux alone: prctl(2)'s PR_SET_CHILD_SUBREAPER has orphans be children of the process that waits.
"""

import _signal  # type: ignore[import-not-found]  # signal itself makes enumerations of all of it
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, NoReturn

_CHILD_SUBREAPER, _PARENT_DEATH = 36, 1
_PATIENCE_S: "Final" = 10.0
_OF_THE_KERNEL: "Final" = 0x80  # si_code of what a terminal sends to all of a group at once
# A terminal stops and continues us with the program; nobody can wait for these, or hold them back.
_NOT_OURS: "Final" = (
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGCONT",
    "SIGKILL",
    "SIGSTOP",
    "SIGSEGV",
    "SIGBUS",
    "SIGFPE",
    "SIGILL",
)


def go_on_below(end: "Callable[[], None]") -> None:
    """Return in a child process, for the program. This one waits for it, calls *end*, and ends as the program did.

    Between the two is a process which ends all that the program has started, if this one is killed, too.
    """
    from remote_wheel.api import libc

    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # who has it ignored waits for nobody
    others = {getattr(_signal, name) for name in _NOT_OURS}
    own = {number for number in _signal.valid_signals() if number not in others}
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, own)
    above, group = os.getpid(), os.getpgrp()
    if between := os.fork():
        _end_as(_wait_for(between, own), end)
    os.setpgid(0, 0)  # what is sent to all of the caller's group does not end who has to end the rest
    libc.prctl(_PARENT_DEATH, int(_signal.SIGTERM), 0, 0, 0)
    libc.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != above:
        os._exit(1)
    below = os.getpid()
    if program := os.fork():
        status = _wait_for(program, own, above)
        _end_the_rest()
        _end_as(status, end if os.getppid() != above else _nothing)
    libc.prctl(_PARENT_DEATH, int(_signal.SIGKILL), 0, 0, 0)
    if os.getppid() != below:
        os._exit(1)
    _join(group)  # a terminal, and job control, have to do with the program itself
    _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _join(group: int) -> None:
    try:
        os.setpgid(0, group)
    except OSError:  # who led it has ended
        return


def _nothing() -> None:
    pass


def _wait_for(child: int, signals: "set[int]", above: int = 0) -> int:
    """Return the status that *child* ends with; what is sent to us alone goes on to it. It ends if *above* has."""
    while True:
        # Whoever ended before somebody waited for the signal is found first.
        while True:
            try:
                ended, status = os.waitpid(-1 if above else child, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                return 1 << 8
            if ended == child:
                return status
            if not ended:
                break
        got = _signal.sigwaitinfo(signals)
        if above and os.getppid() != above:
            _send(child, int(_signal.SIGKILL))
        elif got.si_signo != _signal.SIGCHLD and got.si_code != _OF_THE_KERNEL:
            _send(child, got.si_signo)


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except OSError:  # it has ended
        return


def _end_the_rest() -> None:
    """End all children; those of theirs are ours then, and so on. Who forks and ends all the time is hit in between."""
    import time

    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        for child in _children():
            _send(child, int(_signal.SIGKILL))
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _children() -> "list[int]":
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(number) for number in file.read().split()]
    except OSError:  # a kernel that does not list them
        pass
    own, found = str(os.getpid()), []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                if file.read().rpartition(")")[2].split()[1] == own:
                    found.append(int(name))
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return found


def _end_as(status: int, end: "Callable[[], None]") -> "NoReturn":
    """End as a process with this *status* did: by the same signal, or with the same code."""
    code = os.waitstatus_to_exitcode(status)
    try:
        end()
    finally:
        if code < 0:
            from remote_wheel.api import libc

            libc.setrlimit(4, bytes(16))  # no core of ours
            if -code not in (int(_signal.SIGKILL), int(_signal.SIGSTOP)):
                _signal.signal(-code, _signal.SIG_DFL)
            os.kill(os.getpid(), -code)
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {-code})
        os._exit(code if code >= 0 else 128 - code)


def command_of(interpreter: str, package_parent: str) -> "Sequence[str]":
    """Return the command that starts sandbox.launch() in a bare interpreter."""
    code = f"import sys; sys.path.append({package_parent!r}); from remote_wheel.api.sandbox import launch; launch()"
    return [interpreter, "-I", "-S", "-c", code]
