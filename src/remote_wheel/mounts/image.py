"""The image of a wheel: one mapped file that holds its compiled code and, for pure wheels, all its files.

An image is a *stored* zip that stock zipimport can read, so a child process without our finder can too: sources,
unchecked-hash ``.pyc`` (PEP 552) and folders. Its end record's comment points to marshalled tables of our own,
which are all that a warm import reads:

- modules: path below the root without suffix, as in ``flask/app`` → (kind, code offset, code bytes, the code's
  checksum, file name), and the set of folders;
- members: file path → (offset, bytes, CRC-32); empty where the wheel is unpacked and its files are on disk. Where it is
  still to be unpacked, (offset, packed bytes, CRC-32, bytes, method, whether executable) in the archive;
- digests: file path → SHA-256 of what is executed of a wheel that is unpacked: sources and shared libraries.

docs/reference/store.md has the layout byte by byte. Offsets count from the start of the file. Tables and code have a
checksum that the interpreter brings along, so that what imports need not load zlib; files have the zip format's CRC-32.
"""

import _frozen_importlib_external
import _imp
import marshal
import mmap
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MODULE: "Final" = 0
PACKAGE: "Final" = 1
EXTENSION: "Final" = 2
EXTENSION_PACKAGE: "Final" = 3
BYTECODE: "Final" = 4  # a .pyc without its source: found, and refused
_AS_MODULE: "Final" = {PACKAGE: MODULE, EXTENSION_PACKAGE: EXTENSION}  # what the file of a package is by itself

_MAGIC: "Final" = b"RWI3"
_TRAILER_BYTES: "Final" = len(_MAGIC) + 4 + 9 * 8
_KEY: "Final" = 0x72656D6F  # it has to fit into 31 bits
# A map need not hold the file open; before 3.13 it does, so that as many can be mounted as files may be open.
_UNTRACKED: "dict[str, Any]" = {"trackfd": False} if sys.version_info >= (3, 13) else {}
_RELEASED_BYTES: "Final" = 256 * 1024  # less is not worth a call
_AROUND_BYTES: "Final" = 64 * 1024  # what Linux maps around a page of a file that is read
_DONT_NEED: "int | None" = getattr(mmap, "MADV_DONTNEED", None)  # of a file that is only read, it loses nothing
LEAN: "Final" = "-lean.zip"  # how the name of an image ends that has no code, or little of it

if TYPE_CHECKING:
    from remote_wheel.mounts.published import Published

    ModuleEntry = tuple[int, int, int, int, str]
    Modules = tuple[dict[str, ModuleEntry], frozenset[str]]
    MemberEntry = tuple[int, int, int]
    PackedEntry = tuple[int, int, int, int, int, bool]


def checksum(data: "bytes | memoryview") -> int:
    """Return 32 bits of the SipHash that the interpreter has for the sources of modules (PEP 552)."""
    return int.from_bytes(_imp.source_hash(_KEY, data)[:4], "little")


def _number_of_interpreter() -> int:
    """Return 32 bits that another version's bytecode has not: of a copy or a wrong record nothing is unmarshalled."""
    magic: bytes = _frozen_importlib_external.MAGIC_NUMBER
    return checksum(str(sys.implementation.cache_tag).encode() + magic)


INTERPRETER: "Final" = _number_of_interpreter()


def make_trailer(*tables: "MemberEntry") -> bytes:
    """Return the end record's comment: magic, for which interpreter it is, and where the three tables are.

    The latter are nine little-endian 64-bit numbers, the one before them has 32 bits.
    """
    numbers = (number.to_bytes(8, "little") for table in tables for number in table)
    return _MAGIC + INTERPRETER.to_bytes(4, "little") + b"".join(numbers)


def _read_trailer(trailer: bytes, path: str) -> "list[MemberEntry]":
    if len(trailer) != _TRAILER_BYTES or trailer[:4] != _MAGIC or trailer[4:8] != INTERPRETER.to_bytes(4, "little"):
        raise DamagedImage(path)
    numbers = [int.from_bytes(trailer[i : i + 8], "little") for i in range(8, _TRAILER_BYTES, 8)]
    return [(numbers[at], numbers[at + 1], numbers[at + 2]) for at in (0, 3, 6)]


# Nobody waits for who writes into a pipe that somebody has put in the place of a file of ours.
READ: "Final" = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def _map(path: str) -> mmap.mmap:
    descriptor = os.open(path, READ)
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ, **_UNTRACKED)
    except ValueError:  # an empty file can't be mapped
        raise DamagedImage(path) from None
    finally:
        os.close(descriptor)


class DamagedImage(Exception):
    """The file is no image or is not whole. The caller makes it again; it never reaches the user."""


def is_of_another_form(data: "bytes | memoryview") -> bool:
    """Whether *data* ends as the images of another version of this library, or for another interpreter, do."""
    trailer = bytes(data[-_TRAILER_BYTES:][:8])
    is_of_another = trailer[:4] == _MAGIC and trailer[4:] != INTERPRETER.to_bytes(4, "little")
    return is_of_another or is_later_or_earlier(trailer[:4], _MAGIC)


def is_later_or_earlier(magic: bytes, own: bytes) -> bool:
    """Whether *magic* is *own* with another number at its end."""
    return magic[:3] == own[:3] and magic[3:].isdigit() and magic != own


class Image:
    """A mapped image. Its module table is checked when it is opened, all else each time it is used."""

    __slots__ = ("_digests", "_map", "_mapped_bytes", "_members", "_modules", "_published", "is_file", "path", "view")

    def __init__(self, path: str, data: "memoryview | None" = None) -> None:
        """Map the file at *path*, or take *data* for what would be in it. Raises OSError or DamagedImage."""
        self.path, self.is_file = path, data is None
        self._map: mmap.mmap | None = None
        if data is None:
            self._map = _map(path)
            data = memoryview(self._map)
        self.view = data
        self._mapped_bytes = 0
        self._modules: "MemberEntry | Modules"
        self._members: "MemberEntry | dict[str, Any]"
        self._digests: "MemberEntry | dict[str, bytes]"
        self._modules, self._members, self._digests = _read_trailer(bytes(self.view[-_TRAILER_BYTES:]), path)
        if not self._is_whole(*self._modules):  # the other one is seldom asked for
            raise DamagedImage(path)
        self.release(_RELEASED_BYTES)  # many are mounted of which nothing is imported
        self._published: "Published | None" = None
        if path.endswith(LEAN) and self.is_file:
            from remote_wheel.mounts.published import Published

            self._published = Published(path)

    def _is_whole(self, at: int, size: int, check: int) -> bool:
        return checksum(self.view[at : at + size]) == check

    def _load(self, at: int, size: int, check: int) -> "Any":
        if not self._is_whole(at, size, check):
            raise DamagedImage(self.path)
        table = marshal.loads(self.view[at : at + size])  # noqa: S302  # checked just above
        self.release(size)
        return table

    def _table(self, place: "MemberEntry") -> "Any":
        """Return a table that was whole when the image was opened, or made. Raises StoreError where it is not."""
        try:
            return self._load(*place)
        except DamagedImage as error:
            self.distrust()
            from remote_wheel.errors import StoreError

            raise StoreError(path=self.path, reason="it has changed while it was in use") from error

    def distrust(self) -> None:
        """Have the next process make the image anew: it counts as missing from now on."""
        if self.is_file:
            for path in (f"{self.path[:-4]}.facts", self.path):
                try:
                    os.unlink(path)
                except OSError:  # it is gone, or can't be removed
                    pass

    @property
    def _tables(self) -> "Modules":
        tables = self._modules
        if len(tables) == 3:
            tables = self._modules = self._table(tables)
        return tables

    @property
    def modules(self) -> "dict[str, ModuleEntry]":
        """The table of modules by path, read when first asked for."""
        return self._tables[0]

    def find(self, key: str) -> "ModuleEntry | None":
        """Return the entry of the module *key*; ``pkg/__init__`` is a module of its own, as in a folder on disk."""
        modules = self._tables[0]
        entry = modules.get(key)
        if entry is None and key.endswith("/__init__"):
            package = modules.get(key[: -len("/__init__")])
            if package is not None and package[0] in _AS_MODULE:
                return (_AS_MODULE[package[0]], *package[1:])
        return entry

    @property
    def folders(self) -> "frozenset[str]":
        """The paths of folders."""
        return self._tables[1]

    @property
    def members(self) -> "dict[str, Any]":
        """The table of files, read when first asked for: MemberEntry or PackedEntry by path."""
        members = self._members
        if isinstance(members, tuple):
            members = self._members = self._table(members)
        return members

    @property
    def digests(self) -> "dict[str, bytes]":
        """The table of SHA-256 digests of files that are executed from the disk, read when first asked for."""
        digests = self._digests
        if isinstance(digests, tuple):
            digests = self._digests = self._table(digests)
        return digests

    def published(self, name: str) -> "bytes | None":
        """Return the code of a file that another process has compiled since this lean image was made, None without."""
        return self._published.read(name) if self._published else None

    def is_whole(self) -> bool:
        """Whether every piece of code and every member is what it was; reads the whole file."""
        tables = (self._modules, self._members, self._digests)
        places = [place for place in tables if isinstance(place, tuple) and len(place) == 3]
        if not all(self._is_whole(*place) for place in places):
            return False
        codes = (entry[1:4] for entry in self.modules.values() if entry[2])
        members = (entry for entry in self.members.values() if len(entry) == 3)
        return all(self._is_whole(*place) for place in codes) and all(
            self.read(*entry) is not None for entry in members
        )

    def read_code(self, at: int, size: int, check: int) -> "memoryview | None":
        """Return checked code of the module table, None where it is damaged. Not a copy."""
        return self.view[at : at + size] if self._is_whole(at, size, check) else None

    def read(self, at: int, size: int, crc: int) -> "memoryview | None":
        """Return a checked file, None where it is damaged. Not a copy."""
        import zlib

        blob = self.view[at : at + size]
        return blob if zlib.crc32(blob) == crc else None

    def release(self, size: int) -> None:
        """Say that so many bytes were read for good: their pages need not count as this process's memory any more."""
        self._mapped_bytes += size + _AROUND_BYTES
        if self._mapped_bytes > _RELEASED_BYTES and _DONT_NEED is not None and self._map is not None:
            self._mapped_bytes = 0
            try:
                self._map.madvise(_DONT_NEED)
            except OSError:  # all of this process's memory is locked
                pass
