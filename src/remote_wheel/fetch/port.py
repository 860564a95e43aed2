"""The port to everything outside: one verb, bounded, with errors of our own."""

import importlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Final, NamedTuple, Protocol

from remote_wheel.errors import FetchTimeout, MissingExtra, TooLarge
from remote_wheel.settings import Limits
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.source import redact

# What a folder of a static index may hold as its page, with the content type that a web server would send.
PAGES: Final[Mapping[str, str]] = {"index.json": "application/vnd.pypi.simple.v1+json", "index.html": "text/html"}

# PEP 691: JSON, else HTML with the same content, else the HTML of PEP 503.
ACCEPT_PAGE: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
ANEW: Final[Mapping[str, str]] = {"Cache-Control": "no-cache"}  # of a request whose last answer was damaged


class Sink(Protocol):
    """Where the bytes of a large answer go, chunk by chunk."""

    def restart(self) -> None:
        """Forget all chunks: the transfer starts over."""

    def write(self, chunk: bytes) -> None:
        """Take the next chunk."""


class Answer(NamedTuple):
    """What came back. Header names are lower case; `url` is where redirects led; `body` is empty with a sink."""

    url: str
    status: int
    headers: Mapping[str, str] = EMPTY
    body: bytes = b""
    is_plain: bool = False  # it crossed a network that may have changed it, though its scheme does not tell


class HttpOptions(NamedTuple):
    """How http and https are spoken: *allowed_by* says who gave *allowed_hosts*.

    *named* are the places of URLs that the user gave, scheme and host; they may grow.
    """

    limits: Limits = Limits()
    insecure_hosts: Collection[str] = ()
    client_cert: str = ""
    allowed_hosts: Collection[str] = ()
    allowed_by: str = ""
    named: Collection[tuple[str, str]] = ()


class Transport(Protocol):
    """One kind of place. `fetch` blocks the calling thread, may be called by many, and bounds what it reads."""

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Get *url* and return its answer: status 200, 206 or 304 (only if *headers* ask for these), or 404.

        A *url* that ends in a slash is a folder where the place has folders, answered by its page, else by a listing
        (spec.listing).
        Raises FetchError: AccessDenied, ServerError, NetworkError, FetchTimeout, TooLarge. A missing file is
        answered with status 404, for the caller to decide whether that is an error.
        """


class SshAccess:
    """What the user's URLs said of SSH servers, by ``user@host:port`` as it stands in them."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.hostkeys: dict[str, str] = {}


class Pace:
    """How long one request may take: a while, and what its bytes take at the least rate. Times by time.monotonic().

    A timeout between two packets never ends a server that sends one byte a second.
    """

    def __init__(self, limits: Limits, url: str) -> None:
        self._limits, self._url = limits, url
        self._started_s = time.monotonic()
        self._received = 0

    @property
    def until_s(self) -> float:
        """When it is over, with what has come so far."""
        return self._started_s + self._limits.patience_s + self._received / self._limits.least_bytes_s

    @property
    def is_over(self) -> bool:
        """Whether it is over."""
        return time.monotonic() > self.until_s

    def take(self, size: int) -> None:
        """Count so many bytes more. Raises FetchTimeout where they come too late."""
        is_late, self._received = self.is_over, self._received + size
        if is_late:
            raise self.error()

    def error(self) -> FetchTimeout:
        """Return the error that says how slow it is."""
        took_s = time.monotonic() - self._started_s
        least = self._limits.least_bytes_s
        reason = f"only {self._received} bytes came in {took_s:.0f} s ({least} a second are the least, after a while)"
        return FetchTimeout(url=redact(self._url), reason=reason)


def receive(
    chunks: Iterable[bytes], *, pace: Pace, url: str, max_bytes: int, sink: Sink | None, has_bytes: int = 0
) -> bytes:
    """Take *chunks* into *sink*, or return them as one, within *max_bytes* and the time that *pace* gives.

    *has_bytes* are in the sink already. Raises TooLarge and FetchTimeout.
    """
    if sink and not has_bytes:
        sink.restart()
    kept: list[bytes] = []
    received = has_bytes
    for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise TooLarge(url=redact(url), reason=f"it is larger than {max_bytes} bytes")
        pace.take(len(chunk))
        if sink:
            sink.write(chunk)
        else:
            kept.append(chunk)
    return b"".join(kept)


@contextmanager
def stopped_in_time(pace: Pace, stop: Callable[[], None]) -> Iterator[None]:
    """Call *stop* when the time that *pace* gives is over; it must make what is being read fail.

    For libraries that read on until a piece is whole, however slowly it comes. Raises FetchTimeout then.
    """
    is_over, is_done = threading.Event(), threading.Event()

    def watch() -> None:
        while not is_done.wait(max(0.0, pace.until_s - time.monotonic())):
            if pace.is_over:
                is_over.set()
                stop()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except Exception as error:
        if not is_over.is_set():
            raise
        raise pace.error() from error
    finally:
        is_done.set()


def requested_range(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """Return (start, end) of a ``Range: bytes=`` header over *size* bytes, None where all of it is asked for.

    For the places that know files but not HTTP (RFC 9110 section 14.1.2, the forms that fetch.ranges sends).
    """
    asked = headers.get("Range", "").removeprefix("bytes=")
    if not asked:
        return None
    first, _, last = asked.partition("-")
    if not first:
        return max(0, size - int(last)), size
    return min(int(first), size), min(int(last) + 1, size)


def ranged_headers(asked: tuple[int, int] | None, size: int, etag: str, content_type: str) -> dict[str, str]:
    """Return the headers of an answer to requested_range."""
    headers = {"content-type": content_type or "application/octet-stream", "etag": etag}
    if asked:
        headers["content-range"] = f"bytes {asked[0]}-{asked[1] - 1}/{size}"
    return headers


def import_extra(scheme: str, module: str) -> ModuleType:
    """Import an optional library; raise MissingExtra, which says how to get it, where it is not there.

    It is named itself: the name that this library has on PyPI, with or without an extra, is another project's.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        raise MissingExtra(scheme=scheme, library=library, install=library) from error
