"""The indexes of a request: in which order they are asked, which project is bound to which, and who may log in."""

import glob
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import RefusedByPolicy, UsageError
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.local import local_path
from remote_wheel.settings import Settings
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.source import redact, redact_text

_KINDS = ("", "shared", "explicit", "shared-flat", "explicit-flat")  # of named indexes
_VARIABLE = "REMOTE_WHEEL_INDEX_{}_{}"


@lru_cache(maxsize=64)
def _shown(url: str) -> str:
    return redact(url)


class Index(NamedTuple):
    """A simple index. `url` ends in a slash and has no credentials."""

    url: str
    name: str = ""
    is_flat: bool = False  # a page of files of any project, or a folder of them

    @property
    def shown(self) -> str:
        """The URL, fit for messages and locks."""
        return _shown(self.url)


class Indexes(NamedTuple):
    """`ordered` are asked one after the other, a project of `bound` only at its own; `links` are flat places."""

    ordered: tuple[Index, ...]
    bound: Mapping[NormalizedName, Index] = EMPTY
    links: tuple[str, ...] = ()

    def of(self, project: NormalizedName) -> tuple[Index, ...]:
        """Return the indexes that *project* may come from, in order."""
        return (self.bound[project],) if project in self.bound else self.ordered


def find_indexes(settings: Settings, client: Client, environ: Mapping[str, str]) -> Indexes:
    """Return the indexes that *settings* name; their credentials go to *client*. Raises UsageError.

    Named indexes come first, then the extra ones, then the default; one that projects are bound to serves only these.
    A script's are written NAME:KIND=URL: an explicit one serves only projects that are bound to it, a shared one all.
    Credentials stand in the URL, or in REMOTE_WHEEL_INDEX_<NAME>_USERNAME and _PASSWORD.
    """
    named: dict[str, Index] = {}
    kinds: dict[str, str] = {}
    for text in settings.index:
        said, equals, url = text.partition("=")
        name, _, kind = said.partition(":")
        if not equals or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or kind not in _KINDS:
            raise UsageError(message=f"index={redact_text(text)!r} is not NAME=URL", way_out="As in corp=https://….")
        if name in named:
            raise UsageError(message=f"index={name}=… is given twice")
        index = _index(url, client, name, environ)
        named[name] = index._replace(is_flat=kind.endswith("flat"))
        kinds[name] = kind.removesuffix("-flat")
    bound = {}
    for text in settings.project_index:
        project, _, name = text.partition("=")
        if name not in named:
            have = f"The named ones are {', '.join(named)}." if named else "Name it with index=NAME=URL (--index)."
            raise UsageError(message=f"project_index={text!r} is not PROJECT=NAME of a named index", way_out=have)
        bound[canonicalize_name(project)] = named[name]
    ordered = [
        index
        for name, index in named.items()
        if kinds[name] == "shared" or (not kinds[name] and index not in bound.values())
    ]
    if not settings.no_index:
        ordered += [_index(url, client) for url in (*settings.extra_index_urls, settings.index_url)]
    links = tuple(url for place in settings.find_links for url in _as_links(place, client))
    if settings.no_index:
        ordered, bound = [], {}
    indexes = Indexes(ordered=tuple(dict.fromkeys(ordered)), bound=bound, links=links)
    _check_allowed(indexes, settings)
    return indexes


def _check_allowed(indexes: Indexes, settings: Settings) -> None:
    """Refuse an index that is none of those that the user allowed; a place of find_links is one, too."""
    for url in (*(index.url for index in (*indexes.ordered, *indexes.bound.values())), *indexes.links):
        check_index(url, settings)


def check_index(url: str, settings: Settings) -> None:
    """Raise RefusedByPolicy for an index, also one that a lock names, that is none of those that are allowed."""
    if not settings.allowed_indexes:
        return
    allowed = [f"{_as_url(place).rstrip('/')}/" for place in settings.allowed_indexes]
    is_plain = not {".", "..", "%2e", "%2e%2e", ".%2e", "%2e."} & {part.lower() for part in url.split("/")}
    if not is_plain or not any(f"{url.rstrip('/')}/".startswith(each) for each in allowed):
        where = settings.origins.get("allowed_indexes", "")
        raise RefusedByPolicy(what=f"the index {redact(url)}", rule="allowed_indexes", where=where)


def _index(url: str, client: Client, name: str = "", environ: Mapping[str, str] | None = None) -> Index:
    clean = client.learn(_as_url(url))
    if name and environ is not None:
        stem = re.sub(r"\W", "_", name).upper()
        user, password = (environ.get(_VARIABLE.format(stem, part), "") for part in ("USERNAME", "PASSWORD"))
        if user or password:
            client.learn_credentials(clean, user, password)
    return Index(url=clean if clean.endswith("/") else f"{clean}/", name=name)


def _as_url(index: str) -> str:
    """Return the URL of an index that may be a folder. Raises UsageError."""
    if not index:
        raise UsageError(message="the index is empty", way_out="Leave it out for the default, or use no_index.")
    if "://" not in index and not index.startswith("file:"):
        if not os.path.isdir(index):
            raise UsageError(
                message=f"the index {index!r} is neither a URL nor a folder",
                way_out="Give a URL (https:, file:, s3:, sftp:) or an existing folder.",
            )
        return Path(index).resolve().as_uri()
    try:
        is_known = bool(urlsplit(index).netloc.rpartition("@")[2])
    except ValueError:
        is_known = False
    if not is_known and not index.startswith("file:"):
        raise UsageError(
            message=f"the index {redact_text(index)!r} is no URL that can be used",
            way_out="Give a URL (https:, file:, s3:, sftp:) or a folder.",
        )
    return index


def _as_links(place: str, client: Client) -> Iterator[str]:
    """Yield a find_links place as URLs: a folder's ends in a slash, those of files and pages do not."""
    if "://" in place or place.startswith("file:"):
        url = client.learn(place)
        is_folder = url.startswith("file:") and Path(local_path(url)).is_dir()
        yield f"{url.rstrip('/')}/" if is_folder else url
    elif any(mark in place for mark in "*?["):
        yield from (Path(path).absolute().as_uri() for path in sorted(glob.glob(place, recursive=True)))
    else:
        path = Path(place).absolute()
        if not path.exists():
            way = "Give a folder, a page, a wheel, a glob or a URL."
            raise UsageError(message=f"find_links={place!r} does not exist", way_out=way)
        yield f"{path.as_uri()}/" if path.is_dir() else path.as_uri()
