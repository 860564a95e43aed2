"""Trees of lean mounts: a wheel that must be unpacked is so when it is first looked into, if nobody has done it yet.

The process that works ahead (api.ahead) unpacks them, too, one after the other. Who comes first does it, under the
same lock; the other waits for that. What is unpacked was verified, and each file's CRC-32 is checked once more.
"""

import _thread
import mmap
import os
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from remote_wheel.mounts.finder import Root

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
_THREADS = 4
_STORED = 0  # the zip format's method; the other one is deflated


def make(root: "Root") -> None:
    """Make the tree of *root* unless it is there. Raises StoreError where what it is made of is gone or damaged."""
    if os.path.isdir(root.path):
        return
    try:
        lock = _lock(root.facts["lock"])
        try:
            if not os.path.isdir(root.path):
                _unpack(root)
        finally:
            _unlock(lock)
    except (OSError, ValueError, zlib.error) as error:
        from remote_wheel.errors import StoreError

        reason = f"{root.facts['name']} can't be unpacked there ({getattr(error, 'strerror', None) or error})"
        raise StoreError(path=os.path.dirname(root.path), reason=reason) from error


def _lock(path: str) -> int:
    """Wait for the lock file at *path*, as filelock does; closing the descriptor lets go of it."""
    import fcntl  # where there is none, no mount is lean

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:  # who had it has removed the file
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _unlock(descriptor: int) -> None:
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor, too
    os.close(descriptor)


def _unpack(root: "Root") -> None:
    folder, name = os.path.split(root.path)
    staging = os.path.join(folder, f".{name[:32]}.{os.getpid()}.{os.urandom(8).hex()}.tmp")
    try:
        _unpack_to(staging, root)
    except BaseException:
        import shutil

        shutil.rmtree(staging, ignore_errors=True)
        if os.path.exists(f"{staging}.files"):
            os.unlink(f"{staging}.files")
        raise


def _unpack_to(staging: str, root: "Root") -> None:
    import json

    archive = _map(root.facts["archive"])
    members = root.image.members
    sizes, made = {}, set[str]()
    os.mkdir(staging, 0o700)
    for path in members:
        for at, letter in enumerate(path):
            if letter == "/" and path[:at] not in made:
                os.mkdir(os.path.join(staging, path[:at]), 0o700)
                made.add(path[:at])

    def unpack(path: str) -> None:
        entry = members[path]
        data = _contents(root, archive, path, entry)
        mode = 0o700 if len(entry) > 3 and entry[5] else 0o600
        _write(os.path.join(staging, path), data, mode)
        sizes[path] = len(data)

    _in_threads(unpack, list(members))
    _write(f"{staging}.files", json.dumps(sizes).encode(), 0o600)
    os.rename(f"{staging}.files", f"{root.path}.files")
    os.rename(staging, root.path)


def _in_threads(work: "Callable[[str], None]", paths: "list[str]") -> None:
    """Do *work* on each of *paths* in a few threads: inflating and writing need no interpreter. Raises as it does."""
    errors: "list[BaseException]" = []
    ends = [_thread.allocate_lock() for _ in range(min(_THREADS, len(paths)))]

    def run(end: "_thread.LockType") -> None:
        try:
            while paths and not errors:
                try:
                    path = paths.pop()
                except IndexError:  # another thread was faster
                    break
                work(path)
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            errors.append(error)
        finally:
            end.release()

    for end in ends:
        end.acquire()
        _thread.start_new_thread(run, (end,))
    for end in ends:
        end.acquire()
    if errors:
        raise errors[0]


def _contents(root: "Root", archive: memoryview, path: str, entry: "tuple[int, ...]") -> "bytes | memoryview":
    if len(entry) == 3:
        data: "bytes | memoryview | None" = root.image.read(*entry)
    else:
        at, packed, crc, size, method, _is_executable = entry
        raw = archive[at : at + packed]
        data = raw if method == _STORED else zlib.decompress(raw, -zlib.MAX_WBITS, size or 1)
        data = data if len(data) == size and zlib.crc32(data) == crc else None
    if data is None:
        raise ValueError(f"{path} is damaged")
    return data


def _map(path: str) -> memoryview:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def _write(path: str, data: "bytes | memoryview", mode: int) -> None:
    descriptor = os.open(path, _NEW, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
