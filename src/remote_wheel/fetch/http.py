"""http and https, by requests: pooled, retried, resumed, bounded in size and in total time."""

import http.client
import io
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError
from urllib3.util.retry import Retry

from remote_wheel.errors import (
    AccessDenied,
    FetchTimeout,
    InsecureTransport,
    NetworkError,
    ServerError,
)
from remote_wheel.fetch.port import Answer, HttpOptions, Pace, Sink, receive
from remote_wheel.fetch.secure import check_host, hide_secrets, is_host_among, is_place_among, is_secure_enough
from remote_wheel.settings import VERSION
from remote_wheel.spec.audit import audit
from remote_wheel.spec.source import redact, redact_text

_CHUNK_BYTES: Final = 256 * 1024
_RETRIED_STATUSES: Final = (429, 500, 502, 503, 504)
_CONNECT_RETRIES: Final = 2  # a dead host stays dead; these cover a restart behind a balancer, or a lost packet
_BACKOFF_S: Final = 0.2  # before the second try after a failure; doubled with each that follows
_RANGE: Final = r"bytes (\d+)-(\d+)/(\d+)"  # RFC 9110 section 14.4
_CONDITIONS: Final = frozenset(("If-None-Match", "If-Modified-Since"))
_CLOCK: Final = threading.local()  # `pace`: of what this thread fetches


class HttpTransport:
    """One pool of connections for the life of the process that fetches."""

    def __init__(self, options: HttpOptions) -> None:
        hide_secrets()
        limits = options.limits
        self._limits, self._insecure_hosts, self._named = limits, options.insecure_hosts, options.named
        self._session = _Session()
        self._session.may_use_netrc = self._may_use_netrc
        self._session.check_host = lambda url: check_host(url, options.allowed_hosts, options.allowed_by)
        self._session.cert = options.client_cert or None
        if bundle := os.environ.get("SSL_CERT_FILE"):  # requests itself reads REQUESTS_CA_BUNDLE, which comes first
            self._session.verify = bundle
        self._session.max_redirects = limits.redirects
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # theirs reach other ports, too
        self._session.headers["User-Agent"] = f"remote_wheel/{VERSION}"
        retry = Retry(
            total=limits.retries,
            connect=min(_CONNECT_RETRIES, limits.retries),
            backoff_factor=_BACKOFF_S,
            status_forcelist=_RETRIED_STATUSES,
            raise_on_status=False,
            respect_retry_after_header=False,  # it may say an hour
        )
        adapter = _Adapter(
            options.insecure_hosts,
            pool_connections=limits.parallel_requests,
            pool_maxsize=limits.parallel_requests,
            max_retries=retry,
        )
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Get *url*; see Transport.fetch.

        A body that breaks off is asked for again: the rest of it where it goes to a sink and the server says that the
        file is the same (a strong ETag; RFC 9110 section 13.1.5), else all of it.
        """
        limits, pace = self._limits, Pace(self._limits, url)
        _CLOCK.pace = pace
        parts, tries = _Parts(sink) if sink else None, 0
        while True:
            try:
                return self._fetch_once(url, headers, max_bytes, parts, pace)
            except _BrokenOff as broken:
                tries += 1
                error = broken.error
                if tries > limits.retries or pace.is_over:
                    late = pace.error() if pace.is_over else None
                    raise late or self._translate(url, error, is_cut=True) from None  # its text may have a query
                time.sleep(_BACKOFF_S * 2 ** (tries - 1))
            except requests.exceptions.RequestException as error:
                raise (pace.error() if pace.is_over else self._translate(url, error)) from None  # as above

    def _fetch_once(
        self, url: str, headers: Mapping[str, str], max_bytes: int, parts: "_Parts | None", pace: Pace
    ) -> Answer:
        timeouts = (self._limits.connect_timeout_s, self._limits.read_timeout_s)
        # Without an auth of ours, requests would let ~/.netrc replace the header that the caller gave.
        may_use_netrc = "Authorization" not in headers and self._may_use_netrc(url)
        auth = None if may_use_netrc else _keep_header
        sent = parts.continuing(headers) if parts else dict(headers)
        with self._session.get(url, headers=sent, stream=True, timeout=timeouts, auth=auth) as response:
            status = response.status_code
            if status == 416 and parts and parts.forget():  # there is no rest: it is another file now
                raise _BrokenOff(requests.exceptions.ChunkedEncodingError("416"))
            is_unasked = (status == 206 and "Range" not in sent) or (status == 304 and not _CONDITIONS & sent.keys())
            if status not in (200, 206, 304, 404, 410) or is_unasked:
                raise _error_of_status(url, status, response.reason)
            lowered = {name.lower(): value for name, value in response.headers.items()}
            answer = Answer(url=response.url, status=404 if status == 410 else status, headers=lowered)
            if status not in (200, 206):
                return answer
            has_bytes = 0
            if parts and (has_bytes := parts.begin(answer, "Range" in headers)):
                answer = answer._replace(status=200)  # the caller sees one answer
            try:
                chunks = response.iter_content(_CHUNK_BYTES)
                body = receive(chunks, pace=pace, url=url, max_bytes=max_bytes, sink=parts, has_bytes=has_bytes)
            except requests.exceptions.RequestException as error:
                raise _BrokenOff(error) from error
            if has_bytes and parts and not parts.is_whole:
                raise _BrokenOff(requests.exceptions.ChunkedEncodingError("it ended early"))
            return answer._replace(body=body)

    def _may_use_netrc(self, url: str) -> bool:
        """Whether ~/.netrc, which knows hosts alone, may be asked: not for a port nobody named, nor in the clear."""
        parts = urlsplit(url)
        is_usual = parts.scheme == "https" and (parts.port in (None, 443) or is_place_among(url, self._named))
        return (
            is_usual or (parts.scheme == "http" and is_secure_enough(url)) or is_host_among(url, self._insecure_hosts)
        )

    def _translate(
        self, url: str, error: requests.exceptions.RequestException, *, is_cut: bool = False
    ) -> NetworkError | ServerError:
        shown, causes = redact(url), tuple(_causes(error))
        root = causes[-1]

        def has(*kinds: type[BaseException]) -> bool:
            return any(isinstance(cause, kinds) for cause in causes)

        if has(NameResolutionError):
            return NetworkError(url=shown, reason=f"the host name {urlsplit(url).hostname} can't be resolved")
        # A refused connection is, in urllib3, a kind of timeout.
        if has(requests.exceptions.Timeout, ConnectTimeoutError, ReadTimeoutError) and not has(NewConnectionError):
            return FetchTimeout(url=shown, reason="the host did not answer in time")
        if has(requests.exceptions.SSLError):
            return NetworkError(url=shown, reason=f"its certificate is not accepted ({root})")
        if has(requests.exceptions.TooManyRedirects):
            return ServerError(url=shown, reason=f"more than {self._limits.redirects} redirects")
        if is_cut:
            return NetworkError(url=shown, reason=f"the answer broke off ({root})")
        return NetworkError(url=shown, reason=_without_address(root))


class _BrokenOff(Exception):
    """Raised where a body does not come to its end; *error* is what requests says of it."""

    def __init__(self, error: requests.exceptions.RequestException) -> None:
        super().__init__(error)
        self.error = error


class _Parts:
    """A fetch.port.Sink that knows what it has passed on, and how to ask for the rest."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._has_bytes, self._size_bytes, self._etag = 0, 0, ""

    def restart(self) -> None:
        self._has_bytes = 0
        self._sink.restart()

    def write(self, chunk: bytes) -> None:
        self._sink.write(chunk)
        self._has_bytes += len(chunk)

    def continuing(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return *headers*, for the rest alone where it can be had."""
        if not (self._has_bytes and self._etag):
            return dict(headers)
        sent = {name: value for name, value in headers.items() if name not in ("If-None-Match", "If-Modified-Since")}
        return {**sent, "Range": f"bytes={self._has_bytes}-", "If-Range": self._etag}

    def begin(self, answer: Answer, was_ranged: bool) -> int:
        """Return how much of the body that *answer* is of is here already, 0 where it starts over.

        Raises _BrokenOff for a range that was not asked for.
        """
        if answer.status == 206 and not was_ranged:
            found = re.fullmatch(_RANGE, answer.headers.get("content-range", "").strip())
            is_same = (
                self._etag and answer.headers.get("etag") == self._etag and "content-encoding" not in answer.headers
            )
            if not (is_same and found and self._is_rest(*map(int, found.groups()))):
                self.forget()
                raise _BrokenOff(requests.exceptions.ChunkedEncodingError("another part than the one asked for"))
            return self._has_bytes
        etag, coding = answer.headers.get("etag", ""), answer.headers.get("content-encoding", "identity")
        size = answer.headers.get("content-length", "")
        may_resume = not was_ranged and etag.startswith('"') and coding == "identity" and size.isdecimal()
        self._etag, self._size_bytes = (etag, int(size)) if may_resume else ("", 0)
        return 0

    @property
    def is_whole(self) -> bool:
        """Whether all is here that the first answer announced."""
        return self._has_bytes == self._size_bytes

    def forget(self) -> bool:
        """Have all of it asked for next; False where that was so."""
        was_known, self._etag = bool(self._etag), ""
        return was_known

    def _is_rest(self, first: int, last: int, size: int) -> bool:
        return first == self._has_bytes and last + 1 == size == self._size_bytes


class _Session(requests.Session):
    """One that follows a redirect only to where it is as safe, and takes and gives no credentials on the way."""

    check_host: Callable[[str], None]  # raises for one that is not to be asked
    may_use_netrc: Callable[[str], bool]

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Send no credentials along to another place; there, those that ~/.netrc has for it, where it may be asked."""
        url = prepared_request.url or ""
        prepared_request.headers.pop("Cookie", None)  # requests takes those of the answer along, whatever the jar says
        if self.should_strip_auth(response.request.url or "", url):
            prepared_request.headers.pop("Authorization", None)
            found = requests.utils.get_netrc_auth(url) if self.may_use_netrc(url) else None
            if found:
                prepared_request.prepare_auth(found)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        try:
            target = super().get_redirect_target(resp)
            if target is None:
                return None
            joined = urljoin(resp.url, target)
            parts, _ = urlsplit(joined), _place_of(joined)
        except ValueError:  # bytes that are no UTF-8, or a URL that its text would have
            raise ServerError(url=redact(resp.url), reason="it redirects to what is no URL") from None
        if parts.scheme not in ("http", "https"):
            raise ServerError(url=redact(resp.url), reason=f"it redirects to {parts.scheme}:, which is not followed")
        if resp.url.lower().startswith("https:") and parts.scheme == "http":
            raise InsecureTransport(url=redact(resp.url), reason="it redirects from https to plain http")
        self.check_host(joined)
        audit("fetch", redact(joined))
        # requests would read all of its body, however much that is, and has no other way to be told.
        if resp.raw is not None:
            resp.raw.close()
        resp._content, resp._content_consumed = b"", True  # type: ignore[attr-defined]  # noqa: SLF001
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def should_strip_auth(self, old_url: str, new_url: str) -> bool:
        """Whether the other URL is of another scheme, host or port: requests itself lets some of them pass."""
        return _place_of(old_url) != _place_of(new_url)


def _place_of(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class _Deadlined(io.RawIOBase):
    """What comes through a socket until the thread's time is over.

    A timeout between two packets never ends a server that sends one byte a second, in headers or in a body.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if _CLOCK.pace.is_over:
            raise TimeoutError("the total time is over")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Deadlined(self.fp.detach()))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _SecureConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """One that does without a trusted certificate for the hosts that the user named; asked anew at each redirect."""

    def __init__(self, insecure_hosts: Collection[str], **options: Any) -> None:
        self._insecure_hosts = insecure_hosts
        if insecure_hosts:  # who named them knows
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if is_host_among(request.url or "", self._insecure_hosts):
            options["verify"] = False
        return super().send(request, *args, **options)


def _error_of_status(url: str, status: int, reason: str) -> AccessDenied | ServerError:
    text = f"{status} {reason}".strip()
    return (AccessDenied if status in (401, 403, 407) else ServerError)(url=redact(url), reason=text)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what it wraps: urllib3 and requests put the reason into up to four layers."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        inner = (getattr(cause, "reason", None), *cause.args)
        cause = next((each for each in inner if isinstance(each, BaseException) and each is not cause), None)


def _without_address(error: BaseException) -> str:
    # urllib3 puts the connection's repr in front.
    return redact_text(re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(error))) or type(error).__name__


def _keep_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
