"""Pages of the simple repository API: PEP 503 HTML and PEP 691 JSON as one value."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

import mousebender.simple
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidIndexPage
from remote_wheel.spec.digest import known_digests
from remote_wheel.spec.listing import LISTING, parse_listing
from remote_wheel.spec.source import join_url

ACCEPT: Final = mousebender.simple.ACCEPT_SUPPORTED
_Kind = TypeVar("_Kind")
_BASE: Final = re.compile(r"<base\s[^>]*href\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One file of a project as its index lists it. `url` is absolute and without fragment."""

    filename: str
    url: str
    digests: Mapping[str, str] = field(default_factory=dict)
    requires_python: str = ""
    yanked: str | None = None  # None: not yanked; else the reason, which may be empty (PEP 592)
    has_metadata: bool = False  # PEP 658/714: METADATA can be fetched at url + ".metadata"
    metadata_digests: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int | None = None  # PEP 700
    upload_time: str = ""  # PEP 700, as the index writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A project's page: its files in the index's order."""

    project: NormalizedName
    url: str
    files: tuple[IndexFile, ...]


def parse_page(body: bytes, content_type: str, *, url: str, project: NormalizedName) -> Page:
    """Read a project's page fetched from *url* (after redirects); raise InvalidIndexPage where it is none."""
    media_type = content_type.partition(";")[0].strip().lower()
    files: Iterable[Mapping[str, Any]]
    try:
        if media_type == LISTING:
            files, base = [entry for entry in _read_listing(body) if _project_of(entry["filename"]) == project], url
        elif media_type.endswith("json"):
            files, base = _read_json(body), url
        elif media_type.endswith("html"):
            text = body.decode("utf-8", "replace")
            match = _BASE.search(text, 0, 65536)  # <base> stands in the head
            base = join_url(url, match[1]) if match else url
            files = mousebender.simple.from_project_details_html(text, project)["files"]
        else:
            raise InvalidIndexPage(url=url, reason=f"its content type is {media_type or 'missing'}")
        return Page(project=project, url=url, files=tuple(_file_of(entry, base) for entry in files))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        mousebender.simple.UnsupportedAPIVersion,
    ) as error:
        raise InvalidIndexPage(url=url, reason=f"{type(error).__name__}: {error}") from error


def _read_json(body: bytes) -> Any:
    page = json.loads(body)
    version = str(page["meta"]["api-version"])
    if version.partition(".")[0] != "1":  # PEP 691: clients MUST fail on a greater major version
        raise ValueError(f"its api-version is {version}")
    return page["files"]


def _read_listing(body: bytes) -> list[dict[str, Any]]:
    """Return the files of a folder without a page; what they are is in their names alone."""
    return [{"filename": name, "url": quote(name), "size": size} for name, size in parse_listing(body)]


def _project_of(filename: str) -> str:
    """Return the project that a wheel or sdist is of by its name, empty for another file."""
    if filename.endswith(".whl"):
        return canonicalize_name(filename.partition("-")[0])
    stem = filename.removesuffix(".tar.gz").removesuffix(".zip")
    return "" if stem == filename else canonicalize_name(stem.rpartition("-")[0])


def _file_of(entry: Mapping[str, Any], base: str) -> IndexFile:
    # PEP 714: the right spelling wins, the one PEP 658 gave by accident is read where it is alone.
    metadata = entry.get("core-metadata", entry.get("dist-info-metadata", False))
    yanked = entry.get("yanked", False)
    url = join_url(base, entry["url"]).partition("#")[0]
    filename = entry.get("filename") or unquote(urlsplit(url).path.rpartition("/")[2])
    size = entry.get("size")
    return IndexFile(
        filename=_checked(filename, str),
        url=url,
        digests=known_digests(_checked(entry.get("hashes") or {}, dict)),
        requires_python=_checked(entry.get("requires-python") or "", str),
        yanked=None if yanked is False or yanked is None else yanked if isinstance(yanked, str) else "",
        has_metadata=bool(metadata),
        metadata_digests=known_digests(metadata) if isinstance(metadata, dict) else {},
        size_bytes=size if isinstance(size, int) and size >= 0 else None,
        upload_time=_checked(entry.get("upload-time") or "", str),
    )


def _checked(value: Any, kind: type[_Kind]) -> _Kind:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} where a {kind.__name__} should be")
    return value
