"""Trees of lean mounts: a wheel that must be unpacked is so when it is first looked into, if nobody has done it yet.

The process that works ahead (api.ahead) unpacks them, too, one after the other. Who comes first does it, under the
same lock; the other waits for that. What is unpacked was verified, and each file's CRC-32 is checked once more.
"""

import _thread
import mmap
import os
import zlib

from remote_wheel.mounts.image import READ, DamagedImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from remote_wheel.mounts.finder import Root

    Buffer = bytes | memoryview

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
_THREADS = 2  # more of them wait for each other
_PIECE_BYTES = 1024 * 1024
_DONT_NEED: "int | None" = getattr(mmap, "MADV_DONTNEED", None)  # not on Windows
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
        except OSError:
            if not os.path.isdir(root.path):  # else, where there are no locks, somebody else was first
                raise
        finally:
            _unlock(lock)
    except (OSError, ValueError, zlib.error, DamagedImage) as error:
        from remote_wheel.errors import StoreError

        if not isinstance(error, OSError):  # what says that it is whole is wrong: it is made anew next time
            try:
                os.unlink(f"{root.image.path[:-4]}.facts")
            except OSError:  # it is gone, or can't be written
                pass
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
        except OSError as error:
            import errno

            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):  # a file system that has no locks:
                return descriptor  # what is made is whole or not there, if by two at once
            os.close(descriptor)
            raise
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _unlock(descriptor: int) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has the descriptor, too
    except OSError:  # it could not be locked either
        pass
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
    written: "dict[str, tuple[int, int, tuple[int, ...]]]" = {}
    made = set[str]()
    os.mkdir(staging, 0o700)
    for path in members:
        for at, letter in enumerate(path):
            if letter == "/" and path[:at] not in made:
                os.mkdir(os.path.join(staging, path[:at]), 0o700)
                made.add(path[:at])

    def unpack(path: str) -> None:
        entry = members[path]
        mode = 0o700 if len(entry) > 3 and entry[5] else 0o600
        place = os.path.join(staging, path)
        size = _write(place, _contents(root, archive, path, entry), mode)
        written[path] = size, entry[2], token_of(os.stat(place))

    _in_threads(unpack, list(members))
    body = json.dumps(written).encode()
    _write(f"{staging}.files", (b"%08x\n" % zlib.crc32(body), body), 0o600)  # as store.files has manifests
    os.rename(f"{staging}.files", f"{root.path}.files")
    os.rename(staging, root.path)
    root.facts["tokens"] = {path: token for path, (_, _, token) in written.items() if path in root.image.digests}


def _in_threads(work: "Callable[[str], None]", paths: "list[str]") -> None:
    """Do *work* on each of *paths* in a few threads: inflating and writing need no interpreter. Raises as it does.

    This thread is one of them, and does all where no other can be started. None works on when this has ended.
    """
    errors: "list[BaseException]" = []

    def run() -> None:
        try:
            while paths and not errors:
                try:
                    path = paths.pop()
                except IndexError:  # another thread was faster
                    break
                work(path)
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            errors.append(error)

    def run_beside(end: "_thread.LockType") -> None:
        try:
            run()
        finally:
            end.release()

    ends = []
    for _ in range(min(_THREADS, len(paths)) - 1):
        end = _thread.allocate_lock()
        end.acquire()
        try:
            _thread.start_new_thread(run_beside, (end,))
        except RuntimeError:  # there can be no more
            break
        ends.append(end)
    run()
    for end in ends:
        while True:
            try:
                end.acquire()
                break
            except BaseException as error:  # noqa: BLE001  # Ctrl-C: the others are to end, too
                errors.append(error)
    if errors:
        raise errors[0]


def _contents(root: "Root", archive: mmap.mmap, path: str, entry: "tuple[int, ...]") -> "Iterator[Buffer]":
    """Yield the contents of a file piece by piece. Raises ValueError, at the end, where they are not what they were."""
    if len(entry) == 3:
        data = root.image.read(*entry)
        if data is None:
            raise ValueError(f"{path} is damaged")
        yield data
        return
    at, packed, crc, size, method, _is_executable = entry
    if max(size, packed) <= _PIECE_BYTES:  # as nearly all are
        whole = archive[at : at + packed]
        if method != _STORED:
            whole = zlib.decompressobj(-zlib.MAX_WBITS).decompress(whole, size + 1)
        if (len(whole), zlib.crc32(whole)) != (size, crc):
            raise ValueError(f"{path} is damaged")
        yield whole
        return
    count = actual = 0
    raw = _pieces(archive, at, packed)
    for chunk in raw if method == _STORED else _inflate(raw):
        count, actual = count + len(chunk), zlib.crc32(chunk, actual)
        if count > size:
            break
        yield chunk
    if (count, actual) != (size, crc):
        raise ValueError(f"{path} is damaged")


def _pieces(archive: mmap.mmap, start: int, size: int) -> "Iterator[bytes]":
    end = start + size
    for at in range(start, end, _PIECE_BYTES):
        yield archive[at : min(at + _PIECE_BYTES, end)]
        if size > _PIECE_BYTES and _DONT_NEED is not None:  # what was read need not count as our memory any more
            first = at - at % mmap.PAGESIZE
            archive.madvise(_DONT_NEED, first, min(_PIECE_BYTES + mmap.PAGESIZE, len(archive) - first))


def _inflate(raw: "Iterator[bytes]") -> "Iterator[bytes]":
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in raw:
        rest, is_cut = piece, True  # there may be more to come of what was put in
        while is_cut:
            chunk = inflater.decompress(rest, _PIECE_BYTES)
            rest, is_cut = inflater.unconsumed_tail, len(chunk) == _PIECE_BYTES
            yield chunk


def token_of(status: os.stat_result) -> "tuple[int, ...]":
    """Return what another file in its place, or the same one changed, would not have."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def _map(path: str) -> mmap.mmap:
    descriptor = os.open(path, READ)
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _write(path: str, chunks: "Iterable[Buffer]", mode: int) -> int:
    """Write a new file and return its size."""
    size = 0
    descriptor = os.open(path, _NEW, mode)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            size += len(rest)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
    return size
