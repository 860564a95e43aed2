"""What a process uses of a store, told to whoever removes what nobody uses: shared locks on single bytes of one file.

The byte that stands for an archive, and for all that was made of it, is the one whose number is the first 15 hex digits
of its SHA-256; the file is empty. The system lets go of the locks when the process ends, however it ends, and a forked
child has them, too, as they are the open file's where Linux can do that (open file description locks).
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "leases"
_DIGITS = 15
_PATIENCE_S = 30.0
_CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_open: "dict[str, tuple[int, int]]" = {}  # by store: descriptor, inode


def hold(store: str, digests: "Iterable[str]") -> None:
    """Say that this process uses archives of the *store* (its versioned folder) from now on, by their SHA-256.

    Raises OSError for one that is being removed. Where a store can't be locked, nothing is removed from it either.
    """
    descriptor = _descriptor(store)
    for digest in digests if descriptor >= 0 else ():
        try:
            _lock(descriptor, digest, "F_RDLCK")
        except (BlockingIOError, PermissionError):  # somebody has it for himself
            raise
        except OSError:  # no such locks there
            return


def hold_for_making(store: str, digest: str) -> None:
    """As hold, for who makes what is not there: it waits for who removes it. Raises OSError if that takes too long."""
    import time

    until_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return hold(store, (digest,))
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.005)


def let_go() -> None:
    """Close what this process holds leases by: another one that was forked from it holds them on."""
    while _open:
        os.close(_open.popitem()[1][0])


def is_free(descriptor: int, digest: str) -> bool:
    """Take the archive's byte of the open file *descriptor* for its holder alone; False where others have it."""
    try:
        _lock(descriptor, digest, "F_WRLCK")
    except OSError:
        return False
    return True


def give_back(descriptor: int, digest: str) -> None:
    """Let go of what is_free took; where that is refused, closing the file does it."""
    try:
        _lock(descriptor, digest, "F_UNLCK")
    except OSError:
        pass


def open_leases(store: str) -> int:
    """Open the file of a *store*, making it. Raises OSError."""
    return os.open(os.path.join(store, NAME), os.O_RDWR | os.O_CREAT | _CLOEXEC, 0o600)


def _descriptor(store: str) -> int:
    """Return the open file of a *store*, -1 without: what was opened once may be closed since, or its file gone."""
    descriptor, inode = _open.get(store, (-1, 0))
    path = os.path.join(store, NAME)
    try:
        if descriptor >= 0 and os.fstat(descriptor).st_ino == os.stat(path).st_ino == inode:
            return descriptor
    except OSError:
        pass
    try:
        try:
            descriptor = open_leases(store)
        except OSError:  # where it can only be read, others may be able to remove
            descriptor = os.open(path, os.O_RDONLY | _CLOEXEC)
        _open[store] = descriptor, os.fstat(descriptor).st_ino
    except OSError:
        return -1
    return descriptor


def _lock(descriptor: int, digest: str, kind: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where nobody can remove what is mapped
        return
    # struct flock of 64-bit systems: the lock's kind, from where (the file's start), start, length, process (none)
    start, number = int(digest[:_DIGITS], 16), getattr(fcntl, kind)
    if sys.platform == "linux":
        parts = ((number, 2), (0, 2), (0, 4), (start, 8), (1, 8), (0, 4), (0, 4))
    elif sys.platform == "darwin":
        parts = ((start, 8), (1, 8), (0, 4), (number, 2), (0, 2))
    else:
        raise OSError("no locks of an open file")
    command = getattr(fcntl, "F_OFD_SETLK", 0)
    if not command or sys.maxsize < 1 << 32:
        raise OSError("no locks of an open file")
    fcntl.fcntl(descriptor, command, b"".join(value.to_bytes(size, sys.byteorder) for value, size in parts))
