"""Every other scheme that fsspec knows (gs, az, hf, ftp, …), read-only."""

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from remote_wheel.errors import AccessDenied, FetchTimeout, InvalidSource, MissingExtra, NetworkError, TooLarge
from remote_wheel.fetch.port import (
    PAGES,
    Answer,
    Pace,
    Sink,
    import_extra,
    ranged_headers,
    receive,
    requested_range,
)
from remote_wheel.settings import Limits
from remote_wheel.spec.listing import LISTING, dump_listing
from remote_wheel.spec.source import redact, redact_text

_CHUNK_BYTES: Final = 1024 * 1024
_DENIALS: Final = ("401", "403", "530")  # the last is FTP's


class FilesystemTransport:
    """One fsspec filesystem for each place; fsspec keeps and shares them."""

    def __init__(self, limits: Limits, scheme: str) -> None:
        self._limits = limits
        self._fsspec = import_extra(scheme, "fsspec")
        self._lock = threading.Lock()  # many filesystems are no more thread-safe than their one connection

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Read the file; see Transport.fetch. What the filesystem tells of a file stands for an ETag."""
        scheme, shown = url.partition("://")[0], redact(url)
        if "::" in url:  # fsspec's chains of filesystems: the checks would be of the first alone
            raise InvalidSource(source=shown, reason="chained URLs (::) are not supported")
        try:
            with self._lock:
                filesystem, path = self._fsspec.core.url_to_fs(url)
                return self._read(filesystem, url, path, headers, max_bytes, sink)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Answer(url=url, status=404)
        except ImportError as error:  # fsspec names the library in its message
            library = _library_of(scheme, error)
            raise MissingExtra(scheme=scheme, library=library, install=library) from error
        except (TooLarge, FetchTimeout, InvalidSource):
            raise
        except PermissionError as error:
            raise AccessDenied(url=shown, reason=redact_text(str(error)) or "no permission") from error
        except TimeoutError as error:
            raise FetchTimeout(url=shown, reason="the host did not answer in time") from error
        except ValueError as error:
            if "Protocol not known" not in str(error):
                raise NetworkError(url=shown, reason=redact_text(str(error))) from error
            raise InvalidSource(source=shown, reason=f"the scheme {scheme!r} is not supported") from error
        except Exception as error:  # each filesystem has errors of its own, with no common base
            reason = redact_text(str(error)) or type(error).__name__
            raise (AccessDenied if _is_denial(error, url) else NetworkError)(url=shown, reason=reason) from error

    def _read(
        self, filesystem: Any, url: str, path: str, headers: Mapping[str, str], max_bytes: int, sink: Sink | None
    ) -> Answer:
        pace, content_type = Pace(self._limits, url), ""
        if url.endswith("/"):
            entries = filesystem.ls(path, detail=True)
            files = {
                each["name"].rstrip("/").rpartition("/")[2]: int(each.get("size") or 0)
                for each in entries
                if each.get("type") == "file"
            }
            page = next((name for name in PAGES if name in files), None)
            if page is None:
                return Answer(url=url, status=200, headers={"content-type": LISTING}, body=dump_listing(files.items()))
            path, content_type = f"{path.rstrip('/')}/{page}", PAGES[page]
        info = filesystem.info(path)
        if info.get("type") == "directory":
            return Answer(url=url, status=404)
        size, etag = int(info["size"]), f'"{filesystem.ukey(path)}"'
        if headers.get("If-None-Match") == etag:
            return Answer(url=url, status=304, headers={"etag": etag})
        asked = requested_range(headers, size)
        start, end = asked or (0, size)
        if end - start > max_bytes:
            raise TooLarge(url=redact(url), reason=f"it is larger than {max_bytes} bytes")
        with filesystem.open(path, "rb") as file:
            chunks = _chunks(file, start, end)
            body = receive(chunks, pace=pace, url=url, max_bytes=max_bytes, sink=sink)
        told = ranged_headers(asked, size, etag, content_type)
        return Answer(url=url, status=206 if asked else 200, headers=told, body=body)


def _is_denial(error: Exception, url: str) -> bool:
    """Whether an error of a filesystem says that access is denied: by its status or its words, not those of a path."""
    status = next((value for name in ("status", "status_code", "code") if (value := getattr(error, name, None))), None)
    if status is not None:
        return str(status) in _DENIALS
    said = str(error)
    for name in (url, unquote(urlsplit(url).path), *unquote(urlsplit(url).path).split("/")):
        said = said.replace(name, "") if name else said
    return bool(re.search(rf"\b({'|'.join(_DENIALS)})\b|denied|Forbidden", said))


def _library_of(scheme: str, error: ImportError) -> str:
    """Return what to install for a filesystem: the library that could not be imported, else what fsspec says."""
    from fsspec.registry import known_implementations

    said = str(known_implementations.get(scheme, {}).get("err", ""))
    found = re.search(r"pip install ([\w.-]+)|[Ii]nstall[\"' ]+(?:the )?([a-z][\w.-]*)|requires \"([\w-]+)", said)
    named = next(filter(None, found.groups()), "") if found else ""
    return named or (error.name or scheme).partition(".")[0]


def _chunks(file: Any, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (chunk := file.read(min(_CHUNK_BYTES, end - start))):
        start += len(chunk)
        yield chunk
    if start < end:
        raise EOFError("the file ended early")
