"""Long data in pieces, so that of a large archive no more than a piece of each member is held at a time."""

import mmap
import zlib
from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 1024 * 1024
_DONT_NEED: Final[int | None] = getattr(mmap, "MADV_DONTNEED", None)  # not on Windows


def crc_of(data: bytes | memoryview) -> int:
    """Return the CRC-32 of all of *data*."""
    crc = 0
    for piece in pieces(data):
        crc = zlib.crc32(piece, crc)
    return crc


def pieces(data: bytes | memoryview, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
    """Yield the bytes from *start* to *end* in pieces of at most PIECE_BYTES.

    Of a mapped file, the memory that each took is let go when the next is asked for: it stays mapped, and does not
    count as this process's while nobody reads it.
    """
    view = memoryview(data)
    end = len(view) if end is None else end
    for at in range(start, end, PIECE_BYTES):
        yield view[at : min(at + PIECE_BYTES, end)]
        if end - start > PIECE_BYTES:
            _forget(view.obj, len(view), at)


def _forget(mapped: object, size: int, at: int) -> None:
    if _DONT_NEED is None or not isinstance(mapped, mmap.mmap) or len(mapped) != size:
        return
    first = at - at % mmap.PAGESIZE
    mapped.madvise(_DONT_NEED, first, min(PIECE_BYTES + mmap.PAGESIZE, size - first))
