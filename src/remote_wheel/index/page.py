"""Pages of the simple repository API: PEP 503 HTML and PEP 691 JSON as one value."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidIndexPage
from remote_wheel.spec.digest import parse_fragment_digests, stated_digests
from remote_wheel.spec.listing import LISTING, parse_listing
from remote_wheel.spec.source import join_url, redact_text

_Kind = TypeVar("_Kind")
_NO_DIGESTS: Final[Mapping[str, str]] = {}  # a plain one, as marshal and json take it


class IndexFile(NamedTuple):
    """One file of a project as its index lists it. `url` is absolute and without fragment."""

    filename: str
    url: str
    digests: Mapping[str, str] = _NO_DIGESTS
    requires_python: str = ""
    yanked: str | None = None  # None: not yanked; else the reason, which may be empty (PEP 592)
    has_metadata: bool = False  # PEP 658/714: METADATA can be fetched at url + ".metadata"
    metadata_digests: Mapping[str, str] = _NO_DIGESTS
    size_bytes: int | None = None  # PEP 700
    upload_time: str = ""  # PEP 700, as the index writes it
    provenance: str = ""  # PEP 740: the URL of its attestations


class Page(NamedTuple):
    """A project's page: its files in the index's order, and what the index says of the project (PEP 792).

    `origin` is the index that it is of, as it may be shown. `status` is active, archived, deprecated, quarantined or a
    newer word. `unreadable` has (file, why) for entries that break the format.
    """

    project: NormalizedName
    url: str
    files: tuple[IndexFile, ...]
    origin: str = ""
    status: str = "active"
    status_reason: str = ""
    unreadable: tuple[tuple[str, str], ...] = ()


def parse_page(body: bytes, content_type: str, *, url: str, project: NormalizedName, index: str = "") -> Page:
    """Read a project's page fetched from *url* (after redirects); raise InvalidIndexPage where it is none.

    Of a listing, the files of every project count where *project* is empty. An entry that breaks the format is left out
    and noted: one bad link of an old release must not hide all others.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    base, status = url, ("active", "")
    entries: Iterable[Any]
    try:
        if media_type == LISTING:
            listed = _read_listing(body)
            entries = [entry for entry in listed if not project or _project_of(entry["filename"]) == project]
        elif media_type.endswith("json"):
            entries, status = _read_json(body, project)
        elif media_type.endswith("html"):
            from remote_wheel.index.html import HtmlPage  # only for indexes that speak no JSON

            page = HtmlPage(body.decode("utf-8", "replace"))
            entries, base = page.entries, join_url(url, page.base) if page.base else url
            status = page.metas.get("project-status", "active"), page.metas.get("project-status-reason", "")
        else:
            raise InvalidIndexPage(url=url, reason=f"its content type is {media_type or 'missing'}")
    except _BROKEN as error:
        raise InvalidIndexPage(url=url, reason=_said(error)) from error
    files: list[IndexFile] = []
    unreadable: list[tuple[str, str]] = []
    for entry in entries:
        try:
            files.append(_file_of(entry, base, url))
        except _BROKEN as error:
            name = entry.get("filename") if isinstance(entry, Mapping) else None
            unreadable.append((redact_text(str(name or entry))[:200], redact_text(_said(error))[:400]))
    if unreadable and not files:
        raise InvalidIndexPage(url=url, reason="; ".join(f"{name}: {why}" for name, why in unreadable[:3]))
    return Page(
        project=project,
        url=url,
        files=tuple(files),
        origin=index or url,
        status=status[0],
        status_reason=status[1],
        unreadable=tuple(unreadable),
    )


_BROKEN: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


def _said(error: BaseException) -> str:
    what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return what or type(error).__name__


def _read_json(body: bytes, project: NormalizedName) -> tuple[list[Any], tuple[str, str]]:
    page = json.loads(body)
    meta = page["meta"]
    version = str(meta["api-version"])
    if version.partition(".")[0] != "1":  # PEP 691: clients MUST fail on a greater major version
        raise ValueError(f"its api-version is {version}")
    if project and canonicalize_name(_checked(page.get("name", project), str)) != project:
        raise ValueError(f"it is the page of {page['name']!r}")
    # PEP 792's text and the indexes that followed it put the status into two places.
    status = page.get("project-status", meta.get("project-status", "active"))
    reason = meta.get("project-status-reason", "")
    if isinstance(status, dict):
        status, reason = status.get("status", "active"), status.get("reason", "")
    return _checked(page["files"], list), (str(status), str(reason or ""))


def _read_listing(body: bytes) -> list[dict[str, Any]]:
    """Return the files of a folder without a page; what they are is in their names alone."""
    return [{"filename": name, "url": quote(name), "size": size} for name, size in parse_listing(body)]


def pages_of_links(page: Page) -> dict[NormalizedName, Page]:
    """Sort a page of files of any project, as find_links names them, by project."""
    files: dict[str, list[IndexFile]] = {}
    for file in page.files:
        files.setdefault(_project_of(file.filename), []).append(file)
    files.pop("", None)
    return {
        NormalizedName(name): page._replace(project=NormalizedName(name), files=tuple(each))
        for name, each in files.items()
    }


def page_of_file(url: str) -> Page:
    """Return the page that has just the file at *url*."""
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    file = IndexFile(filename=filename, url=url, digests=parse_fragment_digests(urlsplit(url).fragment))
    return Page(project=NormalizedName(_project_of(filename)), url=url, files=(file,), origin=url)


def _project_of(filename: str) -> str:
    """Return the project that a wheel or sdist is of by its name, empty for another file."""
    filename = filename.partition("#")[0]
    if filename.endswith(".whl"):
        return canonicalize_name(filename.partition("-")[0])
    stem = filename.removesuffix(".tar.gz").removesuffix(".zip")
    return "" if stem == filename else canonicalize_name(stem.rpartition("-")[0])


def _file_of(entry: Any, base: str, page: str) -> IndexFile:
    """Return an entry of the page at *page* as a file; *base* is what its URLs are relative to, as the page says."""
    # PEP 714: the right spelling wins, the one PEP 658 gave by accident is read where it is alone.
    metadata = entry.get("core-metadata", entry.get("dist-info-metadata", False))
    yanked = entry.get("yanked", False)
    url = join_url(base, entry["url"]).partition("#")[0]
    if not _may_lead(page, url):
        raise ValueError(f"a page of {urlsplit(page).scheme}: may not lead to {urlsplit(url).scheme}:")
    filename = entry.get("filename") or unquote(urlsplit(url).path.rpartition("/")[2])
    size = entry.get("size")
    for text in (url, filename, entry.get("requires-python"), entry.get("upload-time"), yanked):
        if isinstance(text, str):
            text.encode()  # a lone surrogate could be written nowhere; its UnicodeEncodeError is a ValueError
    return IndexFile(
        filename=_checked(filename, str),
        url=url,
        digests=stated_digests(_checked(entry.get("hashes") or {}, dict)),
        requires_python=_checked(entry.get("requires-python") or "", str),
        yanked=None if yanked is False or yanked is None else yanked if isinstance(yanked, str) else "",
        has_metadata=bool(metadata),
        metadata_digests=stated_digests(metadata) if isinstance(metadata, dict) else {},
        size_bytes=size if isinstance(size, int) and size >= 0 else None,
        upload_time=_checked(entry.get("upload-time") or "", str),
        provenance=_provenance_of(entry, base, page),
    )


def _provenance_of(entry: Any, base: str, page: str) -> str:
    """Return the URL of a file's attestations, empty where there are none, or not at a place that a page may name."""
    stated = entry.get("provenance")
    url = join_url(base, stated) if isinstance(stated, str) else ""
    return url if _may_lead(page, url) else ""


def _may_lead(page: str, file: str) -> bool:
    """Whether a page may have its files there: at a place of its own kind, or on the web."""
    here, there = urlsplit(page).scheme, urlsplit(file).scheme
    return there == here or (there in ("http", "https") and here != "file") or (here == "file" and there == "https")


def _checked(value: Any, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} where a {kind.__name__} should be")
    return value
