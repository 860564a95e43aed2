"""http and https, by requests: pooled, retried, bounded in size and in total time."""

import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

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
from remote_wheel.fetch.port import Answer, Sink, receive
from remote_wheel.fetch.secure import is_host_among
from remote_wheel.settings import Limits
from remote_wheel.spec.source import redact, redact_text

_CHUNK_BYTES = 256 * 1024
_RETRIED_STATUSES = (429, 500, 502, 503, 504)


class HttpTransport:
    """One pool of connections for the life of the process that fetches."""

    def __init__(self, limits: Limits, *, insecure_hosts: Collection[str] = (), client_cert: str = "") -> None:
        self._limits = limits
        self._session = requests.Session()
        self._session.cert = client_cert or None
        if bundle := os.environ.get("SSL_CERT_FILE"):  # requests itself reads REQUESTS_CA_BUNDLE, which comes first
            self._session.verify = bundle
        self._session.max_redirects = limits.redirects
        self._session.headers["User-Agent"] = f"remote_wheel/{version('remote_wheel')}"
        retry = Retry(
            total=limits.retries,
            connect=min(1, limits.retries),  # a dead host stays dead; one more try covers a lost packet
            backoff_factor=0.2,
            status_forcelist=_RETRIED_STATUSES,
            raise_on_status=False,
            respect_retry_after_header=False,  # it may say an hour
        )
        adapter = _Adapter(
            insecure_hosts,
            pool_connections=limits.parallel_requests,
            pool_maxsize=limits.parallel_requests,
            max_retries=retry,
        )
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Get *url*; see Transport.fetch. A body that breaks off is asked for again, from its start."""
        tries_left = self._limits.retries
        while True:
            try:
                return self._fetch_once(url, headers, max_bytes, sink)
            except (
                requests.exceptions.ChunkedEncodingError,
                requests.exceptions.ContentDecodingError,
            ) as error:
                if not tries_left:
                    raise NetworkError(url=redact(url), reason=f"the answer broke off ({_innermost(error)})") from error
                tries_left -= 1
            except requests.exceptions.RequestException as error:
                raise self._translate(url, error) from error

    def _fetch_once(self, url: str, headers: Mapping[str, str], max_bytes: int, sink: Sink | None) -> Answer:
        started_s = time.monotonic()
        timeouts = (self._limits.connect_timeout_s, self._limits.read_timeout_s)
        # Without an auth of ours, requests would let ~/.netrc replace the header that the caller gave.
        auth = _keep_header if "Authorization" in headers else None
        with self._session.get(url, headers=dict(headers), stream=True, timeout=timeouts, auth=auth) as response:
            hops = [hop.url.lower() for hop in (*response.history, response)]
            if url.lower().startswith("https:") and any(hop.startswith("http:") for hop in hops):
                raise InsecureTransport(url=redact(url), reason="it redirects from https to plain http")
            status = response.status_code
            if status not in (200, 206, 304, 404, 410):
                raise _error_of_status(url, status, response.reason)
            body = b""
            if status in (200, 206):
                chunks = response.iter_content(_CHUNK_BYTES)
                body = receive(
                    chunks, url=url, limits=self._limits, max_bytes=max_bytes, started_s=started_s, sink=sink
                )
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return Answer(url=response.url, status=404 if status == 410 else status, headers=lowered, body=body)

    def _translate(self, url: str, error: requests.exceptions.RequestException) -> NetworkError | ServerError:
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
        return NetworkError(url=shown, reason=_without_address(root))


class _Adapter(HTTPAdapter):
    """One that does without a trusted certificate for the hosts that the user named; asked anew at each redirect."""

    def __init__(self, insecure_hosts: Collection[str], **options: Any) -> None:
        self._insecure_hosts = insecure_hosts
        if insecure_hosts:  # who named them knows
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        super().__init__(**options)

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


def _innermost(error: BaseException) -> BaseException:
    *_, last = _causes(error)
    return last


def _without_address(error: BaseException) -> str:
    # urllib3 puts the connection's repr in front.
    return redact_text(re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", str(error))) or type(error).__name__


def _keep_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
