"""The one door out: picks the transport by scheme, keeps credentials to their hosts, and is shut when offline."""

import base64
import threading
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

from remote_wheel.errors import AccessDenied, InsecureTransport, NotCached, NotFound
from remote_wheel.fetch.filesystems import FilesystemTransport
from remote_wheel.fetch.http import HttpTransport, is_secure_enough
from remote_wheel.fetch.local import LocalTransport
from remote_wheel.fetch.port import Answer, Sink, SshAccess, Transport
from remote_wheel.fetch.s3 import S3Transport
from remote_wheel.fetch.sftp import SftpTransport
from remote_wheel.settings import Limits
from remote_wheel.spec.source import redact, take_hostkey

_SSH = ("sftp", "ssh")


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
        self._ssh = SshAccess()
        self._makers = transports or {
            "https": lambda: HttpTransport(limits),
            "http": lambda: HttpTransport(limits),
            "file": lambda: LocalTransport(limits),
            "s3": lambda: S3Transport(limits),
            "sftp": lambda: SftpTransport(limits, self._ssh),
            "ssh": lambda: SftpTransport(limits, self._ssh),
        }
        self._made: dict[str, Transport] = {}
        self._lock = threading.Lock()
        self._credentials: dict[tuple[str, str], str] = {}

    def learn(self, url: str, hostkey: str = "") -> str:
        """Take what is secret out of *url*, keep it for its host, and return the clean URL.

        A password, and for http the user name too; for SSH *hostkey*, or the one that the URL states.
        """
        if urlsplit(url).scheme in _SSH:
            url, stated = take_hostkey(url)
            hostkey = hostkey or stated
        parts = urlsplit(url)
        userinfo, _, host = parts.netloc.rpartition("@")
        if userinfo and parts.scheme in ("http", "https"):
            self._credentials[parts.scheme, host.lower()] = userinfo
            return urlunsplit(parts._replace(netloc=host))
        if parts.scheme in _SSH:
            user, _, password = userinfo.partition(":")
            netloc = f"{user}@{host}" if user else host
            if password:
                self._ssh.passwords[netloc] = unquote(password)
            if hostkey:
                self._ssh.hostkeys[netloc] = hostkey
            return urlunsplit(parts._replace(netloc=netloc))
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
        if "=***" in parts.query:
            reason = "this URL comes from a lock or plan, which keeps no secret; mount it by its full URL"
            raise AccessDenied(url=redact(url), reason=reason)
        if not (is_held_by_hash or is_secure_enough(url)):
            reason = f"it is plain {parts.scheme}, which anyone on the way can change"
            raise InsecureTransport(url=redact(url), reason=reason)
        sent = dict(headers or {})
        if userinfo := self._credentials.get((parts.scheme, parts.netloc.lower())):
            user, _, password = userinfo.partition(":")
            sent.setdefault("Authorization", basic(unquote(user), unquote(password)))
        answer = self._transport(parts.scheme).fetch(url, headers=sent, max_bytes=max_bytes, sink=sink)
        if not (is_held_by_hash or is_secure_enough(answer.url)):
            raise InsecureTransport(url=redact(url), reason="it redirects to plain http, which anyone can change")
        if answer.status == 404 and not may_be_missing:
            raise NotFound(
                url=redact(url), reason="404 Not Found" if parts.scheme.startswith("http") else "no such file"
            )
        return answer

    def _transport(self, scheme: str) -> Transport:
        maker = self._makers.get(scheme) or (lambda: FilesystemTransport(self._limits, scheme))
        with self._lock:
            if scheme not in self._made:
                self._made[scheme] = maker()
            return self._made[scheme]


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
