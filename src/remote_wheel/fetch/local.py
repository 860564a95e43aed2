"""Local files, and simple indexes in a local folder."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from remote_wheel.errors import NetworkError, TooLarge
from remote_wheel.fetch.port import Answer, Sink

_CHUNK_BYTES = 1024 * 1024
# What a static index keeps for a project's page, with the content type a web server would send.
_PAGES = (("index.json", "application/vnd.pypi.simple.v1+json"), ("index.html", "text/html"))


class LocalTransport:
    """The ``file:`` scheme. A URL that ends in a slash is a folder, answered by the page in it."""

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Read the file; see Transport.fetch."""
        path, content_type = Path(url2pathname(urlsplit(url).path)), "application/octet-stream"
        if url.endswith("/"):
            for name, media_type in _PAGES:
                if (path / name).is_file():
                    path, content_type = path / name, media_type
                    break
        try:
            with path.open("rb") as file:
                if path.stat().st_size > max_bytes:
                    raise TooLarge(url=url, reason=f"it is larger than {max_bytes} bytes")
                if sink is None:
                    return Answer(url=url, status=200, headers={"content-type": content_type}, body=file.read())
                sink.restart()
                while chunk := file.read(_CHUNK_BYTES):
                    sink.write(chunk)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Answer(url=url, status=404)
        except OSError as error:
            raise NetworkError(url=url, reason=error.strerror or str(error)) from error
        return Answer(url=url, status=200)
