"""The store's file operations, every one of them: files that appear whole or not at all, in folders that are ours.

`Disk` does them; store.memory has the same for where nothing can, or may, be written.
"""

import contextlib
import errno
import json
import mmap
import os
import secrets
import shutil
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, NamedTuple

from remote_wheel.errors import StoreError
from remote_wheel.store.strict import check_ours, check_way_to

Buffer = bytes | memoryview
Token = tuple[int, ...]  # what another file in a file's place would not have
Manifest = dict[str, tuple[int, int, Token]]  # of a tree: path → size in bytes, CRC-32, token
_FEW: Final = 16  # files that are not worth a thread
_WRITERS: Final = 4
_NO_LOCKS: Final = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # as file systems of clusters may be mounted
_PATIENCE_WITHOUT_LOCKS_S: Final = 60.0  # for a file that says so: nobody takes it back for who has died
_POLL_S: Final = 0.005  # who waits for what another makes is near the end of a user's patience
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
# A pipe in the place of a file of ours is no file, and nobody waits for who writes into it.
_READ: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_SMALL: Final = 1 << 16  # bytes of a file
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_RDWR | _NOFOLLOW | getattr(os, "O_BINARY", 0)
# Errors of a folder that can't take anything, now or ever; imports can go on without it.
_UNWRITABLE: Final = frozenset(
    (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENOENT)
)
_staged: set[Path] = set()  # files that are being written


class Staged:
    """A new file that takes the name `keep_as` when its context ends well, and vanishes without one."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.keep_as = ""

    def restart(self) -> None:
        """Forget what was written, because a transfer starts over."""
        self.file.seek(0)
        self.file.truncate()

    def contents(self) -> memoryview:
        """Map what was written so far."""
        self.file.flush()
        if not self.file.seek(0, os.SEEK_END):
            return memoryview(b"")
        if os.name == "nt":  # a mapped file can't be renamed there
            self.file.seek(0)
            return memoryview(self.file.read())
        return memoryview(mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ))


class Disk:
    """File operations on a disk. Paths are given whole. Raises StoreError where the system refuses one.

    What is written is durable: synced, and its folder, too. What can be had again and carries its own digest need not
    be (*is_durable*): after a crash it may be missing or not whole, which its reader notices. Thousands of small
    answers cost seconds of waiting for the disk otherwise.
    """

    keeps: bool = True  # whether what is written is there for others, and later

    def make_folder(self, path: Path, *, is_first: bool = False) -> None:
        """Make *path* and what is above it, for us alone. Raises StoreError unless only we can write to it.

        With *is_first* nobody else may be able to put another in its place either: it, and all above it, is looked at.
        It may be a link then.
        """
        try:
            for folder in reversed((path, *path.parents)):
                with contextlib.suppress(FileExistsError):
                    if not os.path.isdir(folder):
                        folder.mkdir(mode=0o700)
            status = path.stat() if is_first else path.lstat()
            if is_first:
                check_way_to(path)
        except OSError as error:
            raise failure(path, error) from error
        if not stat.S_ISDIR(status.st_mode):
            raise StoreError(path=str(path), reason="it is a link or a file, not a folder")
        check_ours(path, status)

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder."""
        return os.path.isdir(path)

    def is_file(self, path: Path) -> bool:
        """Whether there is a file."""
        return os.path.isfile(path)

    def token(self, path: Path | str) -> tuple[int, ...] | None:
        """Return what another file in its place would not have: bytes, modification time in ns, inode."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns, status.st_ino

    def read(self, path: Path | str) -> bytes | None:
        """Return the file's contents, None where there is none."""
        try:
            number = _open(path)  # in half of open()'s time: a resolution reads hundreds
            try:
                read = os.read(number, _SMALL)
                if not os.read(number, 1):
                    return read
            finally:
                os.close(number)
            with os.fdopen(_open(path), "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise failure(path, error) from error

    def read_line(self, path: Path | str, most: int) -> bytes | None:
        """Return the file's first line, at most *most* bytes, None where there is none."""
        try:
            with os.fdopen(_open(path), "rb") as file:
                return file.readline(most)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise failure(path, error) from error

    def map(self, path: Path) -> memoryview | None:
        """Map the file; None where there is none, or nothing in it."""
        try:
            with os.fdopen(_open(path), "rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):
            return None

    def staged(self, folder: Path, hint: str, *, is_durable: bool = True) -> AbstractContextManager[Staged]:
        """Return the context of a new file in *folder* that takes its name, if it is given one, at the end."""
        return _staged_on_disk(folder, hint, is_durable=is_durable)

    def write(self, path: Path | str, data: bytes, *, is_durable: bool = True) -> None:
        """Write *data* to *path*, whole or not at all."""
        path = Path(path)
        with self.staged(path.parent, path.name, is_durable=is_durable) as new:
            new.file.write(data)
            new.keep_as = path.name

    def make_tree(
        self, path: Path, files: Mapping[str, bool], chunks: Callable[[str], Iterable[Buffer]], manifest: Path
    ) -> None:
        """Make the folder *path* of *files* (path with slashes → whether executable), made of *chunks*.

        One that is there is replaced. What it should be, a `Manifest` as JSON, is in the file *manifest* before it is
        there: whoever finds a folder can tell whether it is whole.
        """
        with _staged_folder(path) as staging:
            made = _write_tree(staging, files, chunks)
            self.sync_tree(staging)
            self.remove_all(path)  # before its manifest says of the other one that it is whole
            self.write(manifest, dump_manifest(made))

    def renew_manifest(self, path: Path, made: "Manifest") -> None:
        """Note the tokens that the files of a tree have now, which were found to be what they were."""
        with contextlib.suppress(StoreError):  # they are compared again, then
            self.write(path, dump_manifest(made), is_durable=False)

    def sync_tree(self, path: Path) -> None:
        """Make all files below *path* durable."""
        try:
            _sync_tree(path)
        except OSError as error:
            raise failure(path, error) from error

    def append(self, path: Path) -> BinaryIO | None:
        """Return a new file at *path* for others to read while it is written; None where it cannot be, or is there."""
        try:
            return os.fdopen(os.open(path, _NEW, 0o600), "wb", buffering=0)
        except OSError:
            return None

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise failure(path, error) from error

    def list(self, folder: Path) -> "list[StoredFile]":
        """Return what is in *folder*: files, and folders with the size of all below them."""
        found = []
        try:
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                        status = entry.stat(follow_symlinks=False)
                        size = _size_below(entry.path) if entry.is_dir(follow_symlinks=False) else status.st_size
                        found.append(StoredFile(Path(entry.path), size, status.st_mtime))
        except OSError as error:
            raise failure(folder, error) from error
        return found

    def remove_all(self, path: Path) -> None:
        """Remove a file, or a folder with all below it, which is gone for everybody at once."""
        if not path.is_dir() or path.is_symlink():
            self.remove(path)
            return
        staging = _staging_name(path)
        try:
            os.rename(path, staging)
        except FileNotFoundError:
            return
        except OSError as error:
            raise failure(path, error) from error
        shutil.rmtree(staging, ignore_errors=True)

    def remove_lock(self, path: Path) -> None:
        """Remove the file of a lock, if nobody holds it."""
        import filelock

        lock = filelock.FileLock(path, mode=0o600)
        with contextlib.suppress(filelock.Timeout, OSError), lock.acquire(timeout=0):
            path.unlink(missing_ok=True)  # who waits for it notices, and makes it anew

    def lock(self, path: Path, *, may_wait: bool = True) -> AbstractContextManager[None]:
        """Return the context of the lock that the file at *path* is, between processes and threads.

        It waits or, if it may not, raises LockIsHeld.
        """
        return _locked(path, may_wait=may_wait)


def _open(path: Path | str) -> int:
    """Open a regular file of ours for reading; what is none counts as not there (FileNotFoundError)."""
    number = os.open(path, _READ)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(errno.ENOENT, "not a regular file", str(path))
    return number


def dump_manifest(made: Manifest) -> bytes:
    """Return a manifest as it is written: its CRC-32 in hexadecimal, a line's end, JSON."""
    body = json.dumps(made).encode()
    return b"%08x\n%s" % (zlib.crc32(body), body)


def load_manifest(data: bytes) -> Manifest | None:
    """Return what dump_manifest was given, None where *data* is not what it returned."""
    crc, _, body = data.partition(b"\n")
    if crc != b"%08x" % zlib.crc32(body):
        return None
    return {path: (size, check, tuple(token)) for path, (size, check, token) in json.loads(body).items()}


def token_of(status: os.stat_result) -> Token:
    """Return what another file in its place, or the same one changed, would not have."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


class LockIsHeld(Exception):
    """Raised where a lock is somebody else's, to who may not wait for it."""


class StoredFile(NamedTuple):
    """A file, or a folder with all below it. The time is in seconds since the epoch."""

    path: Path
    size_bytes: int
    modified_s: float


def failure(path: Path | str, error: OSError) -> StoreError:
    """Return the StoreError of a system error."""
    is_unwritable = error.errno in _UNWRITABLE
    return StoreError(path=str(path), reason=error.strerror or str(error), is_unwritable=is_unwritable)


def discard_staged() -> None:
    """Remove what this process has begun to write and will not end, as it is about to end itself."""
    for staging in list(_staged):
        staging.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, *, may_wait: bool) -> Iterator[None]:
    import filelock  # not needed where nothing is made

    lock: filelock.BaseFileLock
    try:
        with contextlib.suppress(FileNotFoundError):
            check_ours(path, path.lstat(), is_file=True)
        if _has_locks(path):
            lock = filelock.FileLock(path, mode=0o600, poll_interval=_POLL_S, timeout=-1 if may_wait else 0)
        else:
            patience_s = _PATIENCE_WITHOUT_LOCKS_S if may_wait else 0
            lock = filelock.SoftFileLock(f"{path}.held", mode=0o600, poll_interval=_POLL_S, timeout=patience_s)
        lock.acquire()
    except filelock.Timeout as error:
        if not may_wait:
            raise LockIsHeld from error
        Path(lock.lock_file).unlink(missing_ok=True)  # who made it has died: what is made here is whole or not there
        lock.acquire()
    except NotImplementedError as error:
        raise StoreError(path=str(path), reason=str(error)) from error
    except OSError as error:
        raise failure(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # what is refused here, the process's end does
            lock.release()


def _has_locks(path: Path) -> bool:
    """Whether the file system can lock *path*: some of clusters answer that they can't, or that nobody has done it."""
    try:
        import fcntl
    except ImportError:  # Windows, where files can always be locked
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # it changes nothing, and is answered as locking is
    except OSError as error:
        return error.errno not in _NO_LOCKS
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _staged_on_disk(folder: Path, hint: str, *, is_durable: bool) -> Iterator[Staged]:
    staging = _staging_name(folder / hint)
    try:
        descriptor = os.open(staging, _NEW, 0o600)
        _staged.add(staging)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                new = Staged(file)
                yield new
                file.flush()
                if new.keep_as and is_durable:
                    os.fsync(file.fileno())
            if new.keep_as:
                os.replace(staging, folder / new.keep_as)
        finally:
            staging.unlink(missing_ok=True)
            _staged.discard(staging)
        if is_durable:
            sync_folder(folder)
    except OSError as error:
        raise failure(folder / hint, error) from error


@contextmanager
def _staged_folder(destination: Path) -> Iterator[Path]:
    """Yield a new folder beside *destination*; on success it takes that name, else it is removed."""
    staging = _staging_name(destination)
    try:
        staging.mkdir(mode=0o700)
        try:
            yield staging
            os.rename(staging, destination)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_folder(destination.parent)
    except OSError as error:
        raise failure(destination, error) from error


def _write_tree(folder: Path, files: Mapping[str, bool], chunks: Callable[[str], Iterable[Buffer]]) -> "Manifest":
    """Write *files* below *folder*. To make one takes half a millisecond on some disks: several threads take less."""
    for place in sorted({parent for path in files for parent in PurePosixPath(path).parents}):
        (folder / place).mkdir(mode=0o700, exist_ok=True)

    def write(path: str) -> tuple[int, int, Token]:
        size = crc = 0
        descriptor = os.open(folder / path, _NEW, 0o700 if files[path] else 0o600)
        try:
            for chunk in chunks(path):
                rest = memoryview(chunk)
                size, crc = size + len(rest), zlib.crc32(rest, crc)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        return size, crc, token_of(os.stat(folder / path))

    if len(files) <= _FEW:
        return {path: write(path) for path in files}
    with ThreadPoolExecutor(_WRITERS) as pool:
        return dict(zip(files, pool.map(write, files), strict=True))


def _size_below(folder: str) -> int:
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def sync_folder(path: Path) -> None:
    """Make a rename in *path* durable; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(path: Path) -> None:
    """Sync by one call where Linux has it: one for each file takes a disk seconds."""
    descriptor = os.open(path, os.O_RDONLY) if os.name == "posix" else -1
    try:
        if descriptor >= 0 and (syncfs := _find_syncfs()) is not None and syncfs(descriptor) == 0:
            return
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    for folder, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(folder, name), "r+b") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))


def _find_syncfs() -> Callable[[int], int] | None:
    import ctypes

    try:
        return ctypes.CDLL(None).syncfs
    except (AttributeError, OSError, TypeError):  # no Linux
        return None


def _staging_name(destination: Path) -> Path:
    return destination.with_name(f".{destination.name[:32]}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
