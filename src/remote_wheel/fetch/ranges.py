"""A wheel's METADATA without the wheel: the archive's directory and one member, by HTTP range requests.

What comes back is only for planning. The whole wheel is verified before use, and must hold the same METADATA.
"""

import io
import re
import struct
import zlib
from typing import Final

from remote_wheel.errors import FetchError, InvalidMetadata, ServerError, TooLarge
from remote_wheel.fetch.client import Client
from remote_wheel.spec.source import redact

TAIL_BYTES: Final = 64 * 1024  # end record, directory and dist-info of most wheels: one request
_STEP_BYTES: Final = 32 * 1024
_MOST_BYTES: Final = 1 << 40
_MOST_FETCHED_BYTES: Final = 64 * 1024 * 1024
IDENTITY: Final = {"Accept-Encoding": "identity"}  # ranges and hashes are of the file, not of a compressed transfer


def size_of_tail(content_range: str, length: int) -> int | None:
    """Return the file's size of a ``Content-Range: bytes a-b/size`` header (RFC 9110 section 14.4).

    None where the *length* bytes that came are not the file's last ones.
    """
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", content_range.strip())
    first, last, size = map(int, match.groups()) if match else (0, 0, 0)
    return size if match and last + 1 == size and last + 1 - first == length else None


def read_remote_metadata(client: Client, url: str, *, size: int, tail: bytes, max_bytes: int) -> bytes:
    """Return the one ``*.dist-info/METADATA`` of the wheel at *url*, whose last bytes are *tail*.

    Raises FetchError, or InvalidMetadata where what is there is no wheel.
    """
    import zipfile  # only where an index has no metadata of its own

    if size > _MOST_BYTES:
        raise InvalidMetadata(subject=redact(url), reason=f"it is said to have {size} bytes")
    file = _RangedFile(client, url, size, tail)
    try:
        with zipfile.ZipFile(io.BufferedReader(file, _STEP_BYTES)) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > max_bytes:
                raise InvalidMetadata(subject=redact(url), reason="it has no single METADATA of a sensible size")
            return archive.read(names[0])
    except FetchError:
        raise
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
        struct.error,
    ) as error:
        raise InvalidMetadata(subject=redact(url), reason=f"it is no readable archive ({error})") from error


class _RangedFile(io.RawIOBase):
    """A seekable view of a remote file, of which the tail is here and the rest is fetched in steps."""

    def __init__(self, client: Client, url: str, size: int, tail: bytes) -> None:
        self._client, self._url, self._size = client, url, size
        self._at = 0
        self._parts = [(size - len(tail), tail)]
        self._fetched = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub has no Buffer before 3.12
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        for start, data in self._parts:
            if start <= self._at < start + len(data):
                piece = data[self._at - start :][:wanted]
                buffer[: len(piece)] = piece
                self._at += len(piece)
                return len(piece)
        self._parts.append((self._at, self._fetch(self._at, max(wanted, _STEP_BYTES))))
        return self.readinto(buffer)

    def _fetch(self, start: int, length: int) -> bytes:
        end = min(start + length, self._size) - 1
        self._fetched += length
        if self._fetched > _MOST_FETCHED_BYTES:
            raise ServerError(url=redact(self._url), reason="its directory is said to be larger than any real one")
        try:
            answer = self._client.fetch(
                self._url,
                headers={"Range": f"bytes={start}-{end}", **IDENTITY},
                max_bytes=end - start + 1,
                is_held_by_hash=True,  # compared with the METADATA of the verified wheel
            )
        except TooLarge as error:  # all of it, in place of a part
            raise ServerError(url=redact(self._url), reason="it stopped answering range requests") from error
        is_part = answer.headers.get("content-range", "").strip() == f"bytes {start}-{end}/{self._size}"
        if answer.status != 206 or not is_part or len(answer.body) != end - start + 1:
            raise ServerError(url=redact(self._url), reason="it stopped answering range requests")
        return answer.body
