"""What mount() is given: a URL or a path, taken apart without touching either."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from remote_wheel.errors import InvalidSource
from remote_wheel.spec.digest import malformed_digest, parse_fragment_digests

Kind = Literal["wheel", "zip", "module"]
_KINDS: dict[str, Kind] = {".whl": "wheel", ".zip": "zip", ".py": "module"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: C:\ is a drive


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one archive or module comes from. `url` has no fragment; for a local file it is its path."""

    url: str
    filename: str
    kind: Kind
    is_local: bool
    digests: dict[str, str] = field(default_factory=dict)
    subdirectory: str = ""

    @property
    def shown(self) -> str:
        """The URL or path, fit for people, logs and locks: secrets redacted."""
        return self.url if self.is_local else redact(self.url)


def parse_source(text: str, *, subdirectory: str = "") -> Source:
    """Take *text* apart; raise InvalidSource where its scheme or its file type is not one we mount."""
    if not text.strip():
        raise InvalidSource(source=text, reason="it is empty")
    try:
        urlsplit(text)
    except ValueError as error:
        raise InvalidSource(source="***", reason=f"it is no URL ({error})") from error
    scheme = match[1].lower() if (match := _SCHEME.match(text)) else ""
    if scheme in ("http", "https"):
        return _parse_url(text, subdirectory)
    if scheme and scheme != "file":
        raise InvalidSource(source=redact(text), reason=f"the scheme {scheme!r} is not supported")
    path = _path_of_file_url(text) if scheme == "file" else text
    if not scheme and "#" in text and text.rpartition("#")[0].lower().endswith(tuple(_KINDS)):
        raise InvalidSource(source=text, reason="a path has no '#…' part; use sha256=, or a file: URL")
    filename = re.split(r"[\\/]", path.rstrip("/\\"))[-1]
    return Source(
        url=path,
        filename=filename,
        kind=_kind_of(filename, text),
        is_local=True,
        digests=_digests_of(text) if scheme else {},
        subdirectory=subdirectory,
    )


def _parse_url(text: str, subdirectory: str) -> Source:
    parts = urlsplit(text)
    if not parts.hostname:
        raise InvalidSource(source=redact(text), reason="the URL names no host")
    filename = unquote(parts.path.rstrip("/").rpartition("/")[2])
    named = dict(parse_qsl(parts.fragment)).get("subdirectory", "")
    return Source(
        url=urlunsplit(parts._replace(fragment="")),
        filename=filename,
        kind=_kind_of(filename, redact(text)),
        is_local=False,
        digests=_digests_of(text),
        subdirectory=subdirectory or named,
    )


def _digests_of(text: str) -> dict[str, str]:
    """Return the digests of the URL's fragment; one that can't be right is an error, not no digest."""
    fragment = urlsplit(text).fragment
    if wrong := malformed_digest(fragment):
        raise InvalidSource(source=redact(text), reason=f"its fragment {wrong!r} states no digest")
    return parse_fragment_digests(fragment)


def _path_of_file_url(text: str) -> str:
    path = unquote(urlsplit(text).path)
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path  # file:///C:/x is C:/x


def _kind_of(filename: str, shown: str) -> Kind:
    for suffix, kind in _KINDS.items():
        if filename.lower().endswith(suffix):
            return kind
    raise InvalidSource(source=shown, reason=f"{filename or 'it'!r} is neither a .whl, a .zip nor a .py")


def redact(url: str) -> str:
    """Return *url* without user name, password, query values and fragment: all may be secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it is no URL, so nobody knows which part of it is secret
        return "***"
    host = parts.netloc.rpartition("@")[2]
    pairs = (part.partition("=") for part in parts.query.split("&") if part)
    query = "&".join(f"{key}=***" if equals else "***" for key, equals, _ in pairs)
    return urlunsplit(parts._replace(netloc=host, query=query, fragment=""))


def redact_text(text: str) -> str:
    """Return *text* with every URL in it redacted."""
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+", lambda match: redact(match[0]), text)
