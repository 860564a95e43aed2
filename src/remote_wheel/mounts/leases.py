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
_open: "dict[str, int]" = {}


def hold(store: str, digests: "Iterable[str]") -> None:
    """Say that this process uses archives of the *store* (its versioned folder) from now on, by their SHA-256.

    Raises OSError for one that is being removed. Where a store can't be locked, nothing is removed from it either.
    """
    descriptor = _descriptor(store)
    if descriptor >= 0:
        for digest in digests:
            _lock(descriptor, digest, is_shared=True)


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


def is_free(descriptor: int, digest: str) -> bool:
    """Take the archive's byte of the open file *descriptor* for its holder alone; False where others have it."""
    try:
        _lock(descriptor, digest, is_shared=False)
    except OSError:
        return False
    return True


def open_leases(store: str) -> int:
    """Open the file of a *store*, making it. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    return os.open(os.path.join(store, NAME), flags, 0o600)


def _descriptor(store: str) -> int:
    if store not in _open:
        try:
            _open[store] = open_leases(store)
        except OSError:
            _open[store] = -1
    return _open[store]


def _lock(descriptor: int, digest: str, *, is_shared: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, where nobody can remove what is mapped
        return
    start = int(digest[:_DIGITS], 16)
    if hasattr(fcntl, "F_OFD_SETLK") and sys.maxsize > 1 << 32:
        kind = fcntl.F_RDLCK if is_shared else fcntl.F_WRLCK
        # struct flock: type, whence (from the start), a gap, start, length, process (none), a gap
        parts = ((kind, 2), (0, 2), (0, 4), (start, 8), (1, 8), (0, 4), (0, 4))
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, b"".join(n.to_bytes(size, sys.byteorder) for n, size in parts))
    else:
        fcntl.lockf(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, start)
