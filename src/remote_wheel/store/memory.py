"""A store that writes nothing: what is made is kept in this process, what is on the disk already may be used."""

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from remote_wheel.errors import StoreError
from remote_wheel.store.files import Buffer, Disk, Staged


class Memory(Disk):
    """File operations that end in memory. If it *reads* a disk, files that are there count, until they are replaced.

    `files` are those that were written, by path.
    """

    keeps = False

    def __init__(self, *, reads: bool, reason: str) -> None:
        self._reads, self._reason = reads, reason
        self.files: dict[str, memoryview] = {}
        self._gone: set[str] = set()
        self._locks = _Locks()

    def make_folder(self, path: Path, *, is_first: bool = False) -> None:
        """Need none."""

    def is_folder(self, path: Path) -> bool:
        """Need none."""
        return True

    def is_file(self, path: Path) -> bool:
        """Whether there is a file, here or on the disk."""
        return str(path) in self.files or (self._may_read(path) and super().is_file(path))

    def token(self, path: Path | str) -> tuple[int, ...] | None:
        """Return the token of a file on the disk; what is here has none."""
        return super().token(path) if str(path) not in self.files and self._may_read(path) else None

    def read(self, path: Path | str) -> bytes | None:
        """Return the file's contents."""
        found = self.files.get(str(path))
        if found is not None or not self._may_read(path):
            return None if found is None else bytes(found)
        try:
            return super().read(path)
        except StoreError:  # what can't be read counts as not there
            return None

    def read_line(self, path: Path | str, most: int) -> bytes | None:
        """Return the file's first line."""
        found = self.read(path)
        return None if found is None else io.BytesIO(found).readline(most)

    def map(self, path: Path) -> memoryview | None:
        """Return the file's contents."""
        found = self.files.get(str(path))
        return found if found is not None else super().map(path) if self._may_read(path) else None

    def staged(self, folder: Path, hint: str, *, is_durable: bool = True) -> AbstractContextManager[Staged]:
        """Return the context of a new file in memory."""
        return self._staged_here(folder)

    @contextmanager
    def _staged_here(self, folder: Path) -> Iterator[Staged]:
        buffer = io.BytesIO()
        new = _StagedHere(buffer)
        yield new
        if new.keep_as:
            self.files[str(folder / new.keep_as)] = memoryview(buffer.getvalue())

    def make_tree(
        self, path: Path, files: Mapping[str, bool], chunks: Callable[[str], Iterable[Buffer]], manifest: Path
    ) -> None:
        """Refuse: real files need a real folder."""
        raise StoreError(path=str(path), reason=self._reason)

    def sync_tree(self, path: Path) -> None:
        """Need no sync."""

    def append(self, path: Path) -> BinaryIO | None:
        """Return None: nobody else could read it."""
        return None

    def remove(self, path: Path) -> None:
        """Forget a file; one on the disk counts as not there."""
        self.files.pop(str(path), None)
        self._gone.add(str(path))

    def lock(self, path: Path, *, may_wait: bool = True) -> AbstractContextManager[None]:
        """Hold the lock between threads; other processes are none of its business."""
        return self._locked(path)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        with self._locks[str(path)]:
            yield

    def _may_read(self, path: Path | str) -> bool:
        return self._reads and str(path) not in self._gone


class _StagedHere(Staged):
    """A new file in memory."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self._buffer = buffer

    def contents(self) -> memoryview:
        """Return what was written so far."""
        return memoryview(self._buffer.getvalue())


class _Locks:
    """Locks by name, between the threads of one process."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()

    def __getitem__(self, name: str) -> AbstractContextManager[bool]:
        with self._guard:
            return self._locks.setdefault(name, threading.RLock())
