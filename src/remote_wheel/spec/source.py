"""What mount() is given: a URL, a path or a repository, taken apart without touching any of them."""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from remote_wheel.errors import InvalidSource, UsageError
from remote_wheel.spec.digest import malformed_digest, parse_fragment_digests
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.repository import Repository, parse_repository

Kind = Literal["wheel", "zip", "tar", "module"]
_TAR: Final[Kind] = "tar"
_TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_KINDS: Final[Mapping[str, Kind]] = {
    ".whl": "wheel",
    ".zip": "zip",
    ".py": "module",
    **dict.fromkeys(_TARS, _TAR),
}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: C:\ is a drive
_HOSTKEY: Final = r"(?:^|[?&;#])hostkey=(SHA256:[A-Za-z0-9+/]{43})=?(?=$|[&;#])"


class Source(NamedTuple):
    """Where one archive or module comes from. `url` has no fragment; for a local file it is its path.

    `repository` is set where the source is one: its archive's URL follows from the commit. `hostkey` is the
    fingerprint that an SSH server must have, where the source states it.
    """

    url: str
    filename: str
    kind: Kind
    is_local: bool = False
    digests: Mapping[str, str] = EMPTY
    subdirectory: str = ""
    repository: Repository | None = None
    hostkey: str = ""

    @property
    def shown(self) -> str:
        """The URL or path, fit for people, logs and locks: secrets redacted."""
        return self.url if self.is_local else redact(self.url)


def parse_source(
    text: str, *, subdirectory: str = "", name: str = "", environ: Mapping[str, str] | None = None
) -> Source:
    """Take *text* apart. *name* is the module's where a ``.py`` file's own doesn't do.

    *environ* says which servers are GitHub's, GitLab's or Bitbucket's beside the public ones. Raises InvalidSource
    where the scheme or the file type is not one we mount, UsageError where *name* has nothing to name.
    """
    if not text.strip():
        raise InvalidSource(source=text, reason="it is empty")
    try:
        fragment = urlsplit(text).fragment
        repository = parse_repository(text, environ or {})
    except ValueError as error:
        raise InvalidSource(source="***", reason=f"it is no URL ({error})") from error
    scheme = match[1].lower() if (match := _SCHEME.match(text)) else ""
    if repository:
        source = _of_repository(repository, text)
    elif scheme and scheme != "file":
        source = _parse_url(text, scheme, name)
    else:
        source = _parse_path(text, scheme, name)
    if name and (source.kind != "module" or not name.isidentifier()):
        why = f"{name!r} is no module name" if source.kind == "module" else f"{source.shown!r} is no single module"
        raise UsageError(message=f"name= names a single .py module, and {why}")
    folder = subdirectory or (_fragment_value(fragment, "subdirectory") if scheme else "")
    return source._replace(subdirectory=folder)


def is_source(text: str) -> bool:
    """Whether *text*, where a requirement may stand too, is a URL, a path or a repository; ``name @ url`` is not."""
    if re.match(r"[\w.-]+\s*(?:\[[^\]]*\]\s*)?@", text.lstrip()):
        return False
    has_place = re.match(r"[^@;\[\]=<>!~\s]*[/\\]", text) or text.startswith((".", "/"))
    return bool(_SCHEME.match(text) or has_place or text.lower().endswith((".whl", ".zip", *_TARS)))


def _of_repository(repository: Repository, text: str) -> Source:
    ref = re.sub(r"[^\w.+-]+", "-", repository.ref or "HEAD")
    if text.startswith(("http:", "https:")):  # the file at this very address, should its hash be stated
        url = urlunsplit(urlsplit(text)._replace(fragment=""))
    else:
        user = urlsplit(text.removeprefix("git+")).netloc.rpartition("@")[0] if "://" in text else ""
        url = repository.shown.replace("://", f"://{user}@", 1) if user else repository.shown
    return Source(
        url=url,
        filename=f"{repository.name}-{ref}.zip",
        kind="zip",
        digests=_digests_of(text),
        repository=repository,
    )


def _parse_url(text: str, scheme: str, name: str) -> Source:
    parts = urlsplit(text)
    if not text[len(scheme) :].startswith("://"):
        raise InvalidSource(source=redact(text), reason=f"the scheme {scheme!r} is not supported")
    if not parts.netloc.rpartition("@")[2]:
        raise InvalidSource(source=redact(text), reason="the URL names no host")
    filename = unquote(parts.path.rstrip("/").rpartition("/")[2])
    kind, filename = _kind_of(filename, redact(text), name)
    hostkey = ""
    if scheme in ("sftp", "ssh"):
        clean, hostkey = take_hostkey(text)
        parts = urlsplit(clean)
    return Source(
        url=urlunsplit(parts._replace(scheme=scheme, fragment="")),
        filename=filename,
        kind=kind,
        digests=_digests_of(text),
        hostkey=hostkey,
    )


def take_hostkey(url: str) -> tuple[str, str]:
    """Return an SSH *url* without query and fragment, and the host key's fingerprint that one of them states.

    Raises InvalidSource for a fingerprint that is none.
    """
    parts = urlsplit(url)
    found = {*re.findall(_HOSTKEY, f"?{parts.query}"), *re.findall(_HOSTKEY, f"#{parts.fragment}")}
    if not found and "hostkey=" in url:
        raise InvalidSource(source=redact(url), reason="hostkey= is no SHA256:… fingerprint as ssh-keygen -l shows")
    if len(found) > 1:
        raise InvalidSource(source=redact(url), reason="it states two different host keys")
    return urlunsplit(parts._replace(query="", fragment="")), found.pop() if found else ""


def _parse_path(text: str, scheme: str, name: str) -> Source:
    path = _path_of_file_url(text) if scheme else text
    if not scheme and "#" in text and text.rpartition("#")[0].lower().endswith(tuple(_KINDS)):
        raise InvalidSource(source=text, reason="a path has no '#…' part; use sha256=, or a file: URL")
    filename = re.split(r"[\\/]", path.rstrip("/\\"))[-1]
    kind, filename = _kind_of(filename, text, name)
    return Source(
        url=path,
        filename=filename,
        kind=kind,
        is_local=True,
        digests=_digests_of(text) if scheme else {},
    )


def _fragment_value(fragment: str, key: str) -> str:
    pairs = (part.partition("=") for part in fragment.split("&"))
    return next((unquote(value) for name, _, value in pairs if name == key), "")


def _digests_of(text: str) -> dict[str, str]:
    """Return the digests of the URL's fragment; one that can't be right is an error, not no digest."""
    fragment = urlsplit(text).fragment
    if wrong := malformed_digest(fragment):
        raise InvalidSource(source=redact(text), reason=f"its fragment {wrong!r} states no digest")
    return parse_fragment_digests(fragment)


def _path_of_file_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):  # RFC 8089: a file on that host, not on this one
        raise InvalidSource(source=text, reason=f"it is a file of the host {parts.netloc!r}; only local ones are read")
    path = unquote(parts.path)
    return path[1:] if re.match(r"/[A-Za-z]:", path) else path  # file:///C:/x is C:/x


def _kind_of(filename: str, shown: str, name: str) -> tuple[Kind, str]:
    """Return the kind, and the file's name; a module called *name* has that for its name."""
    for suffix, kind in _KINDS.items():
        if filename.lower().endswith(suffix):
            return kind, f"{name}.py" if name and kind == "module" else filename
    if name:  # content that its address does not call a module, but the user does
        return "module", f"{name}.py"
    forms = "a wheel (.whl), an archive (.zip, .tar.gz and its like) nor a .py"
    reason = f"{filename or 'it'!r} is neither {forms}"
    if found := re.fullmatch(r"https?://(github|gitlab|bitbucket)\.(?:com|org)/([^/]+/[^/#?]+?)(?:\.git)?/?", shown):
        way = f"Write the repository as {found[1]}:{found[2]}@REF, with a tag, branch or commit."
        raise InvalidSource(source=shown, reason=reason, way_out=way)
    raise InvalidSource(source=shown, reason=reason)


def split_extras(text: str) -> tuple[str, frozenset[str]]:
    """Return a source without the extras behind it (``./x.whl[more]``, as pip writes it), and these."""
    found = re.fullmatch(r"(.+\.\w+)\[([\w\s.,-]+)\]", text)
    return (found[1], frozenset(each.strip() for each in found[2].split(","))) if found else (text, frozenset())


def join_url(base: str, url: str) -> str:
    """Return *url* as it is meant on a page at *base* (RFC 3986 section 5), for every scheme with a host."""
    if url.startswith(("https://", "http://")):  # as it is; large pages have tens of thousands
        return url
    scheme = urlsplit(base).scheme
    if scheme in ("http", "https", "file") or "://" not in base:
        return urljoin(base, url)
    joined = urljoin(f"http{base.removeprefix(scheme)}", url)  # urllib joins only the schemes it knows
    return f"{scheme}{joined.removeprefix('http')}" if not urlsplit(url).scheme else url


def redact(url: str) -> str:
    """Return *url* without user name, password, query values and fragment: all may be secrets.

    The user name of SSH and the version of an S3 object are none, and what they lead to can't be found without.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # it is no URL, so nobody knows which part of it is secret
        return "***"
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme in ("sftp", "ssh") and user:
        host = f"{user.partition(':')[0]}@{host}"
    pairs = (part.partition("=") for part in parts.query.split("&") if part)
    public = ("versionId",) if parts.scheme == "s3" else ()
    query = "&".join(f"{key}={value if key in public else '***'}" if equals else "***" for key, equals, value in pairs)
    return urlunsplit(parts._replace(netloc=host, query=query, fragment=""))


def without_secrets(url: str) -> str:
    """Return *url* without all that redact() hides: an address that may be written into a lock."""
    if not any(mark in url for mark in "@?#"):  # as nearly all are
        return url
    shown = urlsplit(redact(url))
    kept = [pair for pair in shown.query.split("&") if pair and not pair.endswith("***")]
    return urlunsplit(shown._replace(query="&".join(kept)))


_APART: Final = re.compile(r"([\s\"<>]+)")  # what no URL has in it
_USER: Final = re.compile(r"[\w.-]+@\Z")  # which is no secret, where redact says so
_IN_PATH: Final = re.compile(r"[\w.-]+(:\d+)?/[^:@]*@")
_OF_SCHEME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")


def redact_text(text: str) -> str:
    """Return *text* with every URL in it redacted."""
    if "://" not in text:
        return text
    return "".join(_redact_word(word) if "://" in word else word for word in _APART.split(text))


def _redact_word(word: str) -> str:
    """Return a word that has "://" in it, redacted; up to its last "@" all may be a password.

    Each letter is looked at a few times: what an index says may be long. The user of SSH stays, as in redact; so does
    an "@" that stands in a path behind a plain host.
    """
    done: list[str] = []
    last, begin = word.rstrip("@").rfind("@"), 0  # the last one that something follows; up to where it is done
    while (at := word.find("://", begin)) >= 0:
        start = at
        while start > begin and word[start - 1] in _OF_SCHEME:
            start -= 1
        while start < at and not word[start].isalpha():
            start += 1
        after = at + 3
        if at - start < 2:  # no scheme
            done.append(word[begin:after])
            begin = after
            continue
        done.append(word[begin:start])
        rest = after
        if after <= last and not (_USER.match(word, after, last + 1) or _IN_PATH.match(word, after, last + 1)):
            rest = last + 1
        end = word.find("'", rest)
        end = len(word) if end < 0 else end
        done.append(redact(word[start:after] + word[rest:end]) if rest < end else word[start:after])
        begin = end
    return "".join((*done, word[begin:]))
