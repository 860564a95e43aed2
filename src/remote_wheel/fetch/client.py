"""The one door out: picks the transport by scheme, keeps credentials to their hosts, and is shut when offline."""

import base64
import os
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from remote_wheel.errors import (
    AccessDenied,
    InsecureTransport,
    NotCached,
    NotFound,
    UsageError,
)
from remote_wheel.fetch import apart
from remote_wheel.fetch.apart import ApartTransport
from remote_wheel.fetch.port import Answer, HttpOptions, Sink, SshAccess, Transport
from remote_wheel.fetch.secure import check_host, is_host_among, is_secure_enough
from remote_wheel.settings import Limits
from remote_wheel.spec.audit import audit
from remote_wheel.spec.source import redact, take_hostkey

_SSH = ("sftp", "ssh")


class Client:
    """Fetch by any supported scheme. Credentials of a URL handed to `learn` go to its host and nowhere else."""

    def __init__(
        self,
        limits: Limits,
        *,
        is_offline: bool = False,
        insecure_hosts: Collection[str] = (),
        client_cert: str = "",
        allowed_hosts: Collection[str] = (),
        allowed_by: str = "",
    ) -> None:
        if client_cert and not os.path.isfile(client_cert):
            way = "Give a PEM file with the certificate and its key."
            raise UsageError(message=f"client_cert={client_cert!r} is no file", way_out=way)
        self._limits, self._is_offline, self._insecure_hosts = limits, is_offline, insecure_hosts
        self._allowed_hosts, self._allowed_by = allowed_hosts, allowed_by
        self._named: set[tuple[str, str]] = set()  # places of the user's own URLs
        self._http = HttpOptions(limits, insecure_hosts, client_cert, allowed_hosts, allowed_by, self._named)
        self._ssh = SshAccess()
        self._made: dict[str, Transport] = {}
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._credentials: dict[tuple[str, str], str] = {}
        # What is asked for already, by URL and headers: with what headers in fact, and what waits for the answer.
        self._expected: dict[
            tuple[str, tuple[tuple[str, str], ...]], tuple[dict[str, str], Callable[[None], Answer]]
        ] = {}
        self._threads: list[threading.Thread] = []

    def learn(self, url: str, hostkey: str = "") -> str:
        """Take what is secret out of *url*, keep it for its host, and return the clean URL.

        A password, and for http the user name too; for SSH *hostkey*, or the one that the URL states.
        """
        if urlsplit(url).scheme in _SSH:
            url, stated = take_hostkey(url)
            hostkey = hostkey or stated
        parts = urlsplit(url)
        userinfo, _, host = parts.netloc.rpartition("@")
        self._named.add((parts.scheme, host.lower()))
        if userinfo and parts.scheme in ("http", "https"):
            self._credentials[parts.scheme, host.lower()] = userinfo
            return urlunsplit(parts._replace(netloc=host))
        if parts.scheme in _SSH:
            user, _, password = userinfo.partition(":")
            netloc = f"{user}@{host}" if user else host
            if password:
                self._ssh.passwords[netloc] = unquote(password)
            if hostkey and self._ssh.hostkeys.setdefault(netloc, hostkey) != hostkey:
                raise UsageError(message=f"two different host keys are stated for {netloc}")
            return urlunsplit(parts._replace(netloc=netloc))
        return url

    def expect(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> None:
        """Begin to get the page at *url*; `fetch` with the same *headers* waits for it, and gives it once."""
        if (key := (url, tuple(headers.items()))) in self._expected:
            return
        sent = self._allowed(url, headers, is_held_by_hash=False)
        transport = self._transport(urlsplit(url).scheme)  # what it takes to import is imported here
        wait: Callable[[None], Answer]
        if isinstance(transport, ApartTransport):
            wait = transport.begin(url, headers=sent, max_bytes=max_bytes)
        else:
            wait = self._in_thread(lambda: transport.fetch(url, headers=sent, max_bytes=max_bytes))
        self._expected[key] = sent, wait

    def _in_thread(self, get: Callable[[], Answer]) -> Callable[[None], Answer]:
        expected: Future[Answer] = Future()

        def work() -> None:
            try:
                expected.set_result(get())
            except BaseException as error:  # noqa: BLE001  # raised where it is waited for
                expected.set_exception(error)

        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()
        return lambda _: expected.result()

    def settle(self) -> None:
        """Wait until no thread of ours is left."""
        for thread in self._threads:
            thread.join()

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
        expected = None if sink else self._expected.pop((url, tuple((headers or {}).items())), None)
        sent = expected[0] if expected else self._allowed(url, headers or {}, is_held_by_hash=is_held_by_hash)
        try:
            if expected:
                answer = expected[1](None)
            else:
                answer = self._transport(parts.scheme).fetch(url, headers=sent, max_bytes=max_bytes, sink=sink)
        except AccessDenied:
            place = (parts.scheme, parts.netloc.lower())
            is_known = "Authorization" in sent and ":" in self._credentials.get(place, ":")
            if is_known or not self._ask_keyring(url, place):
                raise
            return self.fetch(
                url,
                max_bytes=max_bytes,
                headers=headers,
                sink=sink,
                is_held_by_hash=is_held_by_hash,
                may_be_missing=may_be_missing,
            )
        if not is_held_by_hash and (answer.is_plain or not self._is_secure_enough(answer.url)):
            raise InsecureTransport(
                url=redact(url), reason="it came over plain http, which anyone on the way can change"
            )
        if answer.status == 404 and not may_be_missing:
            raise NotFound(
                url=redact(url), reason="404 Not Found" if parts.scheme.startswith("http") else "no such file"
            )
        return answer

    def _allowed(self, url: str, headers: Mapping[str, str], *, is_held_by_hash: bool) -> dict[str, str]:
        """Return the headers to ask with, credentials among them. Raises FetchError for what is not to be asked."""
        parts = urlsplit(url)
        if self._is_offline and parts.scheme != "file":
            raise NotCached(what=redact(url), way="run it once without offline=True (--offline).")
        self.check_host(url)
        audit("fetch", redact(url))
        if not (is_held_by_hash or self._is_secure_enough(url)):
            reason = f"it is plain {parts.scheme}, which anyone on the way can change"
            raise InsecureTransport(url=redact(url), reason=reason)
        sent = dict(headers)
        if userinfo := self._credentials.get((parts.scheme, parts.netloc.lower())):
            user, colon, password = userinfo.partition(":")
            password = unquote(password) if colon else self._password_of(url, unquote(user))
            sent.setdefault("Authorization", basic(unquote(user), password))
        return sent

    def _password_of(self, url: str, user: str) -> str:
        """Return what ~/.netrc has for a *user* whose URL has no password, empty where that is nothing."""
        import netrc

        try:
            login = netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(url).hostname or "")
        except (OSError, netrc.NetrcParseError, RuntimeError):  # there is none, or no home that it could be in
            return ""
        return login[2] or "" if login and login[0] == user else ""

    def has_credentials(self, url: str) -> bool:
        """Whether the user's URLs had credentials for this one's host."""
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc.lower()) in self._credentials

    def check_host(self, url: str) -> None:
        """Raise RefusedByPolicy for a host that the user did not allow; asked for redirects, too.

        Raises ServerError where it is not clear which host a URL means.
        """
        check_host(url, self._allowed_hosts, self._allowed_by)

    def _is_secure_enough(self, url: str) -> bool:
        return is_secure_enough(url) or is_host_among(url, self._insecure_hosts)

    def _ask_keyring(self, url: str, place: tuple[str, str]) -> bool:
        """Learn what the system's keyring has for the URL or its host, as pip asks it; False where it has nothing."""
        if place[0] not in ("http", "https"):
            return False
        try:
            import keyring
        except ImportError:  # an extra
            return False
        with self._asking:
            known = self._credentials.get(place, "")
            if ":" in known:  # another thread has learnt them meanwhile
                return True
            user = unquote(known) or None  # who is named in the URL, without a password
            try:
                found = keyring.get_credential(url, user) or keyring.get_credential(place[1], user)
            except Exception:  # noqa: BLE001  # each backend has errors of its own; the server's refusal says it better
                return False
            if found is None or (user and found.username != user):
                return False
            self.learn_credentials(url, found.username, found.password)
            return True

    def learn_credentials(self, url: str, user: str, password: str) -> None:
        """Keep credentials for the URL's host, in place of those known."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2].lower()
        self._credentials[parts.scheme, host] = f"{quote(user, safe='')}:{quote(password, safe='')}"

    def _transport(self, scheme: str) -> Transport:
        scheme = {"http": "https", "ssh": "sftp"}.get(scheme, scheme)
        with self._lock:
            if scheme not in self._made:
                self._made[scheme] = self._make(scheme)
            return self._made[scheme]

    def _make(self, scheme: str) -> Transport:
        """Return the transport of *scheme*; what it needs is imported now, as no other one is."""
        if scheme == "https":
            beside = apart.started()
            return ApartTransport(beside, self._http, self._make_http) if beside else self._make_http()
        if scheme == "file":
            from remote_wheel.fetch.local import LocalTransport

            return LocalTransport(self._limits)
        if scheme == "s3":
            from remote_wheel.fetch.s3 import S3Transport

            return S3Transport(self._limits)
        if scheme == "sftp":
            from remote_wheel.fetch.sftp import SftpTransport

            return SftpTransport(self._limits, self._ssh)
        from remote_wheel.fetch.filesystems import FilesystemTransport

        return FilesystemTransport(self._limits, scheme)

    def _make_http(self) -> Transport:
        from remote_wheel.fetch.http import HttpTransport

        return HttpTransport(self._http)


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
