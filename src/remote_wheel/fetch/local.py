"""Local files, and simple indexes in a local folder."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from remote_wheel.errors import NetworkError, TooLarge
from remote_wheel.fetch.port import PAGES, Answer, Sink, receive
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
        started_s = time.monotonic()
        try:
            if url.endswith("/"):
                page = next((name for name in PAGES if (path / name).is_file()), None)
                if page is None:
                    files = ((each.name, each.stat().st_size) for each in path.iterdir() if each.is_file())
                    return Answer(url=url, status=200, headers={"content-type": LISTING}, body=dump_listing(files))
                path, content_type = path / page, PAGES[page]
            with path.open("rb") as file:
                if path.stat().st_size > max_bytes:
                    raise TooLarge(url=url, reason=f"it is larger than {max_bytes} bytes")
                body = receive(
                    _chunks(file), url=url, limits=self._limits, max_bytes=max_bytes, started_s=started_s, sink=sink
                )
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Answer(url=url, status=404)
        except OSError as error:
            raise NetworkError(url=url, reason=error.strerror or str(error)) from error
        return Answer(url=url, status=200, headers={"content-type": content_type}, body=body)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def local_path(url: str) -> str:
    """Return the path of a ``file:`` URL."""
    from urllib.request import url2pathname  # http.client and ssl come with it

    return url2pathname(urlsplit(url).path)
