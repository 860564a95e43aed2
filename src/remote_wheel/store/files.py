"""Files that appear whole or not at all, in a folder that only this user can write."""

import mmap
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from remote_wheel.errors import StoreError

_FEW: Final = 16  # files that are not worth a thread
_WRITERS: Final = 4
Buffer = bytes | memoryview
_staged: set[Path] = set()  # files that are being written
NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def make_private_folder(path: Path) -> None:
    """Make *path* and what is above it; raise StoreError unless it is a real folder that only its owner can write."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise StoreError(path=str(path), reason=error.strerror or str(error)) from error
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError(path=str(path), reason="it is a link or a file, not a folder")
    if os.name == "posix":
        if status.st_uid != os.geteuid():
            raise StoreError(path=str(path), reason=f"it belongs to user {status.st_uid}")
        if status.st_mode & 0o022:
            raise StoreError(path=str(path), reason=f"others can write it (mode {stat.S_IMODE(status.st_mode):04o})")


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


@contextmanager
def staged(folder: Path, hint: str = "incoming", *, is_durable: bool = True) -> Iterator[Staged]:
    """Yield a new file in *folder*, synced (if it is to be durable) and renamed at the end.

    Raises StoreError where the disk refuses.
    """
    staging = _staging_name(folder / hint)
    try:
        descriptor = os.open(staging, NEW, 0o600)
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
        raise StoreError(path=str(folder / hint), reason=error.strerror or str(error)) from error


@contextmanager
def staged_file(destination: Path, *, is_durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file that becomes *destination*."""
    with staged(destination.parent, destination.name, is_durable=is_durable) as new:
        yield new.file
        new.keep_as = destination.name


@contextmanager
def staged_folder(destination: Path) -> Iterator[Path]:
    """Yield a new folder beside *destination*; on success it takes that name, else it is removed."""
    staging = _staging_name(destination)
    try:
        staging.mkdir(mode=0o700)
        try:
            yield staging
            if destination.exists():  # a damaged one; who has it open keeps it
                os.rename(destination, staging.with_suffix(".old"))
            os.rename(staging, destination)
            shutil.rmtree(staging.with_suffix(".old"), ignore_errors=True)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_folder(destination.parent)
    except OSError as error:
        raise StoreError(path=str(destination), reason=error.strerror or str(error)) from error


def discard_staged() -> None:
    """Remove what this process has begun to write and will not end, as it is about to end itself."""
    for staging in list(_staged):
        staging.unlink(missing_ok=True)


def write_tree(folder: Path, files: Mapping[str, bool], chunks: Callable[[str], Iterable[Buffer]]) -> dict[str, int]:
    """Write *files* (path with slashes → whether executable), made of *chunks*, below *folder*; return their sizes.

    To make a file takes half a millisecond of the system's time on some disks: several threads take less.
    """
    for place in sorted({parent for path in files for parent in PurePosixPath(path).parents}):
        (folder / place).mkdir(mode=0o700, exist_ok=True)

    def write(path: str) -> int:
        size = 0
        descriptor = os.open(folder / path, NEW, 0o700 if files[path] else 0o600)
        try:
            for chunk in chunks(path):
                rest = memoryview(chunk)
                size += len(rest)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        return size

    if len(files) <= _FEW:
        return {path: write(path) for path in files}
    with ThreadPoolExecutor(_WRITERS) as pool:
        return dict(zip(files, pool.map(write, files), strict=True))


def write_file(destination: Path, data: bytes, *, is_durable: bool = True) -> None:
    """Write *data* to *destination*, whole or not at all.

    What can be had again and carries its own digest need not be durable: after a crash it may be missing or not whole,
    which its reader notices. Thousands of small answers cost seconds of waiting for the disk otherwise.
    """
    with staged_file(destination, is_durable=is_durable) as file:
        file.write(data)


def read_file(path: Path | str) -> bytes | None:
    """Return the file's contents, None where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(path=str(path), reason=error.strerror or str(error)) from error


def sync_folder(path: Path) -> None:
    """Make a rename in *path* durable; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _staging_name(destination: Path) -> Path:
    return destination.with_name(f".{destination.name[:32]}.{os.getpid()}.{secrets.token_hex(8)}.tmp")
