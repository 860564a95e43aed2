"""Code that another process compiles while this one imports from a lean image: a file beside it that grows.

docs/reference/store.md has its layout.
"""

import _thread
import os
import zlib

from remote_wheel.mounts.image import INTERPRETER, READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ENTRY_BYTES: "Final" = 3 * 4


def make_entry(name: str, code: bytes) -> bytes:
    """Return a file's marshalled code as it is published: three little-endian 32-bit numbers, name, code.

    The numbers are how many bytes each has, and the CRC-32 of both, begun with the interpreter that it is for.
    """
    path = name.encode()
    crc = _crc_of(path, code)
    return b"".join((*(number.to_bytes(4, "little") for number in (len(path), len(code), crc)), path, code))


def _crc_of(path: bytes, code: bytes) -> int:
    return zlib.crc32(code, zlib.crc32(path, INTERPRETER))


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
                    self._descriptor = os.open(self._path, READ)
                except OSError:
                    return None
            if name not in self._found:
                try:
                    self._read_on(self._descriptor)
                except OSError:
                    return None
            if name not in self._found:
                return None
            at, size, crc = self._found[name]
            try:
                code = os.pread(self._descriptor, size, at)
            except OSError:  # what can't be read is compiled once more
                return None
            return code if _crc_of(name.encode(), code) == crc else None

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
