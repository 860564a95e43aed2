"""The image of a wheel: one mapped file that holds its compiled code and, for pure wheels, all its files.

An image is a *stored* zip that stock zipimport can read, so a child process without our finder can too: sources,
unchecked-hash ``.pyc`` (PEP 552) and folders. Its end record's comment points to two marshalled tables of our own,
which are all that a warm import reads:

- modules: path below the root without suffix, as in ``flask/app`` → (kind, code offset, code bytes, code CRC-32,
  file name), and the set of folders;
- members: file path → (offset, bytes, CRC-32); empty where the wheel is unpacked and its files are on disk. Where it is
  still to be unpacked, (offset, packed bytes, CRC-32, bytes, method, whether executable) in the archive.

docs/reference/store.md has the layout byte by byte. Offsets count from the start of the file.
"""

import _thread
import marshal
import mmap
import os
import sys
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MODULE: "Final" = 0
PACKAGE: "Final" = 1
EXTENSION: "Final" = 2
EXTENSION_PACKAGE: "Final" = 3
BYTECODE: "Final" = 4  # a .pyc without its source: found, and refused

_MAGIC: "Final" = b"RWI1"
_TRAILER_BYTES: "Final" = len(_MAGIC) + 6 * 8
_ENTRY_BYTES: "Final" = 3 * 4
# A map need not hold the file open; before 3.13 it does, so that as many can be mounted as files may be open.
_UNTRACKED: "dict[str, Any]" = {"trackfd": False} if sys.version_info >= (3, 13) else {}
_RELEASED_BYTES: "Final" = 256 * 1024  # less is not worth a call
_DONT_NEED: "int | None" = getattr(mmap, "MADV_DONTNEED", None)  # of a file that is only read, it loses nothing
LEAN: "Final" = "-lean.zip"  # how the name of an image ends that has no code, or little of it

if TYPE_CHECKING:
    ModuleEntry = tuple[int, int, int, int, str]
    MemberEntry = tuple[int, int, int]
    PackedEntry = tuple[int, int, int, int, int, bool]


def make_trailer(modules: "MemberEntry", members: "MemberEntry") -> bytes:
    """Return the end record's comment: magic, then where the two tables are, six little-endian 64-bit numbers."""
    return _MAGIC + b"".join(number.to_bytes(8, "little") for number in (*modules, *members))


def _read_trailer(trailer: bytes, path: str) -> "tuple[MemberEntry, MemberEntry]":
    if len(trailer) != _TRAILER_BYTES or trailer[:4] != _MAGIC:
        raise DamagedImage(path)
    at, size, crc, at2, size2, crc2 = (int.from_bytes(trailer[i : i + 8], "little") for i in range(4, 52, 8))
    return (at, size, crc), (at2, size2, crc2)


def make_entry(name: str, code: bytes) -> bytes:
    """Return a file's marshalled code as it is published: three little-endian 32-bit numbers, name, code.

    The numbers are how many bytes each has, and the CRC-32 of both.
    """
    path = name.encode()
    crc = zlib.crc32(code, zlib.crc32(path))
    return b"".join((*(number.to_bytes(4, "little") for number in (len(path), len(code), crc)), path, code))


class Published:
    """Code that another process compiles while this one imports from a lean image.

    It appends entries to a file beside the image; what has come so far is looked up, nothing is waited for.
    """

    __slots__ = ("_at", "_descriptor", "_found", "_lock", "_path")

    def __init__(self, image: str) -> None:
        self._path = published_path(image)
        self._descriptor = -1
        self._at = 0  # up to where it was read
        self._found: dict[str, tuple[int, int, int]] = {}
        self._lock = _thread.allocate_lock()

    def read(self, name: str) -> "bytes | None":
        """Return the code of the file *name* if it is there and whole."""
        with self._lock:
            if self._descriptor < 0:
                try:
                    self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    return None
            if name not in self._found:
                self._read_on(self._descriptor)
            if name not in self._found:
                return None
            at, size, crc = self._found[name]
            code = os.pread(self._descriptor, size, at)
            return code if zlib.crc32(code, zlib.crc32(name.encode())) == crc else None

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _read_on(self, descriptor: int) -> None:
        end = os.fstat(descriptor).st_size
        while self._at + _ENTRY_BYTES <= end:
            head = os.pread(descriptor, _ENTRY_BYTES + 512, self._at)
            length, size, crc = (int.from_bytes(head[at : at + 4], "little") for at in (0, 4, 8))
            code_at = self._at + _ENTRY_BYTES + length
            if code_at + size > end:
                return
            name = head[_ENTRY_BYTES : _ENTRY_BYTES + length].decode("utf-8", "replace")  # a longer one is not found
            self._found[name] = (code_at, size, crc)
            self._at = code_at + size


def published_path(image: str) -> str:
    """Return where the code that a lean image lacks is published."""
    return image[:-4] + ".codes"


def _map(path: str) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ, **_UNTRACKED)
    except ValueError:  # an empty file can't be mapped
        raise DamagedImage(path) from None
    finally:
        os.close(descriptor)


class DamagedImage(Exception):
    """The file is no image or is not whole. The caller makes it again; it never reaches the user."""


class Image:
    """A mapped image. Its tables are checked when read, its code and members each time they are used."""

    __slots__ = ("_map", "_members", "_published", "_read_bytes", "folders", "is_file", "modules", "path", "view")

    def __init__(self, path: str, data: "memoryview | None" = None) -> None:
        """Map the file at *path*, or take *data* for what would be in it, and read its module table.

        Raises OSError or DamagedImage.
        """
        self.path, self.is_file = path, data is None
        self._map: mmap.mmap | None = None
        if data is None:
            self._map = _map(path)
            data = memoryview(self._map)
        self.view = data
        self._read_bytes = 0
        modules, members = _read_trailer(bytes(self.view[-_TRAILER_BYTES:]), path)
        self.modules: dict[str, ModuleEntry]
        self.folders: frozenset[str]
        self.modules, self.folders = self._load(*modules)
        self._members: "MemberEntry | dict[str, Any]" = members
        self._published = Published(path) if path.endswith(LEAN) and self.is_file else None

    def _load(self, at: int, size: int, crc: int) -> "Any":
        blob = self.view[at : at + size]
        if zlib.crc32(blob) != crc:
            raise DamagedImage(self.path)
        table = marshal.loads(blob)  # noqa: S302  # checked just above
        self.release(size)
        return table

    @property
    def members(self) -> "dict[str, Any]":
        """The table of files, read when first asked for: MemberEntry or PackedEntry by path."""
        if isinstance(self._members, tuple):
            members: dict[str, Any] = self._load(*self._members)
            self._members = members
        return self._members

    def published(self, name: str) -> "bytes | None":
        """Return the code of a file that another process has compiled since this lean image was made, None without."""
        return self._published.read(name) if self._published else None

    def is_whole(self) -> bool:
        """Whether every piece of code and every member has its checksum; reads the whole file."""
        codes = (entry[1:4] for entry in self.modules.values())
        members = (entry for entry in self.members.values() if len(entry) == 3)
        return all(self.read(*place) is not None for place in (*codes, *members))

    def read(self, at: int, size: int, crc: int) -> "memoryview | None":
        """Return a checked slice of the file, None where it is damaged. Not a copy."""
        blob = self.view[at : at + size]
        return blob if zlib.crc32(blob) == crc else None

    def release(self, size: int) -> None:
        """Say that so many bytes were read for good: their pages need not count as this process's memory any more."""
        self._read_bytes += size
        if self._read_bytes > _RELEASED_BYTES and _DONT_NEED is not None and self._map is not None:
            self._read_bytes = 0
            self._map.madvise(_DONT_NEED)  # all of it: Linux has mapped what is around each page, too
