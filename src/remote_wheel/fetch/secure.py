"""Which places can be believed by themselves, which may be asked, and what must not be told of them."""

import logging
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from remote_wheel.errors import RefusedByPolicy, ServerError
from remote_wheel.spec.source import redact, redact_text

_PLAIN: Final = ("http", "ftp", "webhdfs", "hdfs", "tftp", "ws")  # schemes that anyone on the way can change

_OF_HOSTS: Final = ("http", "https", "sftp", "ssh", "ftp", "ftps")
_AMBIGUOUS: Final = re.compile(r"[\\\s\x00-\x20\x7f]")
_QUERY: Final = re.compile(r"\?[^\s\"']+")  # of a path, as a request's line has it


class _Redacting(logging.Filter):
    """Takes out of a log record what may be secret: user names, passwords and the values of queries."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?…", redact_text(record.getMessage())), ()
        return True


_REDACTING: Final = _Redacting()
_TALKATIVE: Final = ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.poolmanager", "urllib3.connection")


def hide_secrets() -> None:
    """Have the libraries that carry requests tell no secrets to logs, whatever their level.

    botocore tells keys' signatures and tokens below INFO, in so many places that nothing of that is let through.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_REDACTING)
    logging.getLogger("botocore").setLevel(logging.INFO)


def check_host(url: str, allowed_hosts: Collection[str], allowed_by: str) -> None:
    """Raise RefusedByPolicy for a host that the user, who is *allowed_by*, did not allow; asked for redirects, too.

    Raises ServerError where it is not clear which host a URL means.
    """
    parts = urlsplit(url)
    try:
        _ = parts.port if parts.scheme in _OF_HOSTS else 0
    except ValueError:  # its text would be the URL
        raise ServerError(url=redact(url), reason="it is no URL: its host or port is none") from None
    if not is_host_clear(url):
        raise ServerError(url=redact(url), reason="which host it means depends on who reads it")
    if allowed_hosts and not url.startswith("file:") and not is_host_allowed(url, allowed_hosts):
        raise RefusedByPolicy(what=redact(url), rule="allowed_hosts", where=allowed_by)


def is_place_among(url: str, places: Collection[tuple[str, str]]) -> bool:
    """Whether the URL is at one of *places*: scheme, and host with its port."""
    parts = urlsplit(url)
    return (parts.scheme, parts.netloc.rpartition("@")[2].lower()) in places


def is_host_clear(url: str) -> bool:
    """Whether no two readers can see two hosts in the URL: there is no backslash, space or control character."""
    return not _AMBIGUOUS.search(urlsplit(url).netloc)


def is_host_among(url: str, hosts: Collection[str]) -> bool:
    """Whether the URL's host is one of *hosts*, each a name or ``name:port``."""
    parts = urlsplit(url)
    names = {parts.hostname or "", parts.netloc.rpartition("@")[2].lower()}
    return bool(hosts) and not names.isdisjoint(host.lower() for host in hosts)


def is_host_allowed(url: str, patterns: Collection[str]) -> bool:
    """Whether the URL's host is one of *patterns*: ``HOST``, ``HOST:PORT``, or ``*.DOMAIN`` for all below it.

    What stands in a host's place where there are no hosts, as a bucket's name, is named with its scheme: ``s3://bucket``.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme not in _OF_HOSTS:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" in patterns
    below = tuple(pattern[1:].lower() for pattern in patterns if pattern.startswith("*."))
    return is_host_among(url, patterns) or host.endswith(below)


def is_secure_enough(url: str) -> bool:
    """Whether content from *url* can be believed without a hash: by its scheme, or from this very machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in _PLAIN or host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress  # seldom needed

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
