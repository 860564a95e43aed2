"""The one door out: picks the transport by scheme, keeps credentials to their hosts, and is shut when offline."""

import threading
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

from remote_wheel.errors import InsecureTransport, NotCached, NotFound
from remote_wheel.fetch.http import HttpTransport, is_secure_enough
from remote_wheel.fetch.local import LocalTransport
from remote_wheel.fetch.port import Answer, Sink, Transport
from remote_wheel.settings import Limits
from remote_wheel.spec.source import redact


class Client:
    """Fetch by any supported scheme. Credentials of a URL handed to `learn` go to its host and nowhere else."""

    def __init__(
        self,
        limits: Limits,
        *,
        is_offline: bool = False,
        transports: Mapping[str, Callable[[], Transport]] | None = None,
    ) -> None:
        self._limits = limits
        self._is_offline = is_offline
        self._makers = transports or {
            "https": lambda: HttpTransport(limits),
            "http": lambda: HttpTransport(limits),
            "file": LocalTransport,
        }
        self._made: dict[str, Transport] = {}
        self._lock = threading.Lock()
        self._credentials: dict[tuple[str, str], str] = {}

    def learn(self, url: str) -> str:
        """Take user name and password out of *url*, keep them for its host, and return the clean URL."""
        parts = urlsplit(url)
        userinfo, _, host = parts.netloc.rpartition("@")
        if userinfo and parts.scheme in ("http", "https"):
            self._credentials[parts.scheme, host.lower()] = userinfo
            return urlunsplit(parts._replace(netloc=host))
        return url

    def fetch(
        self,
        url: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        sink: Sink | None = None,
        is_held_by_hash: bool = False,
        may_be_missing: bool = False,
    ) -> Answer:
        """Get *url*. *is_held_by_hash* says that the caller will refuse any other content, so plain http may do.

        Raises FetchError, or NotCached when offline. A 404 raises NotFound unless *may_be_missing*.
        """
        parts = urlsplit(url)
        if self._is_offline and parts.scheme != "file":
            raise NotCached(what=redact(url), way="run it once without offline=True (--offline).")
        if not (is_held_by_hash or is_secure_enough(url)):
            raise InsecureTransport(url=redact(url), reason="it is plain http, which anyone on the way can change")
        sent = dict(headers or {})
        if userinfo := self._credentials.get((parts.scheme, parts.netloc.lower())):
            sent["Authorization"] = _basic(userinfo)
        answer = self._transport(parts.scheme).fetch(url, headers=sent, max_bytes=max_bytes, sink=sink)
        if not (is_held_by_hash or is_secure_enough(answer.url)):
            raise InsecureTransport(url=redact(url), reason="it redirects to plain http, which anyone can change")
        if answer.status == 404 and not may_be_missing:
            raise NotFound(url=redact(url), reason="404 Not Found" if parts.scheme != "file" else "no such file")
        return answer

    def _transport(self, scheme: str) -> Transport:
        maker = self._makers[scheme]
        with self._lock:
            if scheme not in self._made:
                self._made[scheme] = maker()
            return self._made[scheme]


def _basic(userinfo: str) -> str:
    import base64

    user, _, password = userinfo.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
