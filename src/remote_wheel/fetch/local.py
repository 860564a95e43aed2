"""Local files, and simple indexes in a local folder."""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from remote_wheel.errors import NetworkError, TooLarge
from remote_wheel.fetch.port import PAGES, Answer, Pace, Sink, receive
from remote_wheel.settings import Limits
from remote_wheel.spec.listing import LISTING, dump_listing

_CHUNK_BYTES = 1024 * 1024


class LocalTransport:
    """The ``file:`` scheme. A URL that ends in a slash is a folder, answered by the page in it or by what it holds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Read the file; see Transport.fetch."""
        path, content_type = Path(local_path(url)), "application/octet-stream"
        try:
            if url.endswith("/"):
                page = next((name for name in PAGES if (path / name).is_file()), None)
                if page is None:
                    files = ((each.name, each.stat().st_size) for each in path.iterdir() if each.is_file())
                    return Answer(url=url, status=200, headers={"content-type": LISTING}, body=dump_listing(files))
                path, content_type = path / page, PAGES[page]
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size > max_bytes:
                    raise TooLarge(url=url, reason=f"it is larger than {max_bytes} bytes")
                pace = Pace(self._limits, url)
                body = receive(chunks_of(file), pace=pace, url=url, max_bytes=max_bytes, sink=sink)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Answer(url=url, status=404)
        except OSError as error:
            raise NetworkError(url=url, reason=error.strerror or str(error)) from error
        return Answer(url=url, status=200, headers={"content-type": content_type}, body=body)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; raise OSError for what is none: a pipe waits for somebody, a device may never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        raise (IsADirectoryError if is_folder else OSError)(errno.EIO, "it is no regular file")
    return os.fdopen(descriptor, "rb")


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of an open file, in pieces."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def local_path(url: str) -> str:
    """Return the path of a ``file:`` URL."""
    from urllib.request import url2pathname  # http.client and ssl come with it

    return url2pathname(urlsplit(url).path)
