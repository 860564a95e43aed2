"""The port to everything outside: one verb, bounded, with errors of our own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Sink(Protocol):
    """Where the bytes of a large answer go, chunk by chunk."""

    def restart(self) -> None:
        """Forget all chunks: the transfer starts over."""

    def write(self, chunk: bytes) -> None:
        """Take the next chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Header names are lower case; `url` is where redirects led; `body` is empty with a sink."""

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Transport(Protocol):
    """One kind of place. `fetch` blocks the calling thread, may be called by many, and bounds what it reads."""

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Get *url* and return its answer: status 200, 206 or 304 (only if *headers* ask for these), or 404.

        Raises FetchError: AccessDenied, ServerError, NetworkError, FetchTimeout, TooLarge. A missing file is
        answered with status 404, for the caller to decide whether that is an error.
        """
