"""The resolver's catalogue over real indexes: pages and metadata, cached, fetched in parallel, asked for early."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import Distribution
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.utils import NormalizedName

from remote_wheel.api.archives import Archives
from remote_wheel.api.indexes import Index, Indexes
from remote_wheel.errors import InvalidMetadata, NotCached, NotFound, ServerError
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.port import PAGES
from remote_wheel.fetch.ranges import IDENTITY, TAIL_BYTES, read_remote_metadata, total_of
from remote_wheel.index.candidates import Filter, Installed, Listing, Release, make_listing
from remote_wheel.index.page import ACCEPT, IndexFile, Page, page_of_file, pages_of_links, parse_page
from remote_wheel.index.target import Target
from remote_wheel.settings import Settings
from remote_wheel.spec.digest import check_digests
from remote_wheel.spec.listing import LISTING
from remote_wheel.spec.metadata import CoreMetadata, check_identity, parse_metadata
from remote_wheel.spec.source import redact
from remote_wheel.store.cache import Store, StoredAnswer

_FILES = (".whl", ".tar.gz", ".zip")
_SMALL_WHEEL_BYTES = 128 * 1024  # below this, the wheel is as cheap as two requests for parts of it


class Progress(Protocol):
    """Who is told how far a request is. Called from several threads."""

    def resolving(self, projects: int) -> None:
        """So many projects have been looked at."""

    def downloading(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        """So much of one file is here."""

    def preparing(self, name: str) -> None:
        """The file *name* is verified and compiled next."""


class IndexCatalog:
    """Listings and metadata for one resolution. With *installed_only* it never asks an index."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        client: Client,
        target: Target,
        archives: Archives,
        pool: ThreadPoolExecutor,
        progress: Progress,
        *,
        indexes: Indexes,
        filters: Callable[[NormalizedName], Filter],
        direct: Mapping[NormalizedName, Listing],
        search_path: Sequence[str],
        installed_only: bool = False,
    ) -> None:
        self._settings, self._store, self._client, self._target = settings, store, client, target
        self._archives, self._pool, self._progress = archives, pool, progress
        self._direct, self._search_path, self._installed_only = direct, list(search_path), installed_only
        self._indexes, self._filters = indexes, filters
        self._linked: dict[NormalizedName, list[Page]] | None = None
        self._link_lock = threading.Lock()
        self._metadata: dict[Release, Future[CoreMetadata]] = {}
        self._lock = threading.Lock()
        self._looked_at = 0
        self.fresh_until_s = float("inf")
        self.watched: list[str] = []  # local files and (with a separator at the end) folders that pages came from
        self.planned_metadata: dict[str, str] = {}  # wheel URL → SHA-256 of the METADATA that planning used

    # --- resolution.provider.Catalog ----------------------------------------------------------------------------

    def listings(self, projects: Sequence[NormalizedName]) -> list[Listing]:
        """Return the projects' listings, their pages fetched at once."""
        found = list(self._pool.map(self._listing, projects))
        self._looked_at += len(found)
        self._progress.resolving(self._looked_at)
        return found

    def metadata(self, release: Release) -> CoreMetadata:
        """Return the release's core metadata; waits for a request under way."""
        return self._future(release).result()

    def is_at_hand(self, release: Release) -> bool:
        """Whether the metadata has been asked for and has come."""
        future = self._metadata.get(release)
        return future is not None and future.done()

    def expect(self, release: Release) -> None:
        """Start the request for the release's metadata."""
        self._future(release)

    def _future(self, release: Release) -> "Future[CoreMetadata]":
        with self._lock:
            if release not in self._metadata:
                self._metadata[release] = self._pool.submit(self._load_metadata, release)
            return self._metadata[release]

    # --- listings ----------------------------------------------------------------------------------------------

    def _listing(self, project: NormalizedName) -> Listing:
        if project in self._direct:
            return self._direct[project]
        installed = find_installed(project, self._search_path) if self._settings.prefer_installed else None
        pages: list[Page] = []
        searched: list[str] = []
        if not self._installed_only:
            try:
                pages = self._linked_pages(project)
                self._search(project, pages, searched)
            except NotCached:
                if not installed:
                    raise
        return make_listing(
            project,
            pages,
            self._target,
            installed=installed,
            searched=tuple(dict.fromkeys((*searched, *map(redact, self._indexes.links)))),
            left_out_by=self._filters(project),
        )

    def _search(self, project: NormalizedName, pages: list[Page], searched: list[str]) -> None:
        """Add the pages of the indexes that count: of the first that has the project, which owns it, or of all."""
        for index in self._indexes.of(project):
            searched.append(index.shown)
            if page := self._index_page(project, index):
                pages.append(page)
                if self._settings.index_strategy == "first-index":
                    return

    def _linked_pages(self, project: NormalizedName) -> list[Page]:
        """Return what the find_links places have of the project; they are read once."""
        with self._link_lock:
            if self._linked is None:
                found: dict[NormalizedName, list[Page]] = {}
                for url in self._indexes.links:
                    for name, page in self._read_link(url).items():
                        found.setdefault(name, []).append(page)
                self._linked = found
            return list(self._linked.get(project, ()))

    def _read_link(self, url: str) -> dict[NormalizedName, Page]:
        if url.partition("#")[0].endswith(_FILES):
            page = page_of_file(url)
            return {page.project: page}
        page_or_none = self._page(NormalizedName(""), url, redact(url), is_flat=url.endswith("/"))
        if page_or_none is None:
            raise NotFound(url=redact(url), reason="find_links names it, and it is not there")
        return pages_of_links(page_or_none)

    def _index_page(self, project: NormalizedName, index: Index) -> Page | None:
        """Return the project's page, None where the index does not have the project.

        Where an index is a folder (a path, a bucket, SFTP), it may also be flat: the wheels themselves lie in it.
        """
        page = self._page(project, f"{index.url}{project}/", index.shown)
        if (page is None or not page.files) and not index.url.startswith("http"):
            page = self._page(project, index.url, index.shown, is_flat=True) or page
        return page

    def _page(self, project: NormalizedName, url: str, index: str, *, is_flat: bool = False) -> Page | None:
        """Return the page at *url*; where it is flat, a listing of files. None where there is none."""
        if url.startswith("file:"):
            return self._local_page(project, url, index, is_flat=is_flat)
        kept = self._store.read_answer("pages", url)
        if self._settings.offline:
            if kept is None:
                what = f"the index page of {project}" if project else redact(url)
                raise NotCached(what=what, way=f"remote-wheel prefetch {project or 'PROJECT'}")
            return self._parse(project, *kept, index, is_flat=is_flat)
        if kept and kept[0].is_found and not self._settings.refresh and time.time() < self._expiry(kept[0]):
            return self._parse(project, *kept, index, is_flat=is_flat)
        headers = {"Accept": ACCEPT}
        if kept and kept[0].etag:
            headers["If-None-Match"] = kept[0].etag
        elif kept and kept[0].last_modified:
            headers["If-Modified-Since"] = kept[0].last_modified
        limit = self._settings.limits.page_bytes
        answer = self._client.fetch(url, headers=headers, max_bytes=limit, may_be_missing=True)
        if answer.status == 304 and kept:
            stored = self._store.revalidate_answer("pages", url, kept, answer.headers)
            return self._parse(project, stored, kept[1], index, is_flat=is_flat)
        is_found = answer.status != 404
        final = redact(answer.url)
        stored = self._store.write_answer("pages", url, answer.body, answer.headers, final, is_found=is_found)
        return self._parse(project, stored, answer.body, index, is_flat=is_flat)

    def _local_page(self, project: NormalizedName, url: str, index: str, *, is_flat: bool) -> Page | None:
        """Read a page of a local index: its own cache, read each time, and watched by the boot record."""
        limit = self._settings.limits.page_bytes
        answer = self._client.fetch(url, headers={}, max_bytes=limit, may_be_missing=True)
        path = url2pathname(urlsplit(url).path)
        if not url.endswith("/"):
            self.watched.append(path)
        elif answer.status == 404:  # what appears there changes the folder above
            self.watched.append(os.path.join(os.path.dirname(os.path.normpath(path)), ""))
        else:
            self.watched += [os.path.join(path, ""), *(os.path.join(path, name) for name in PAGES)]
        if answer.status == 404:
            return None
        content_type = "text/html" if path.endswith((".html", ".htm")) else answer.headers["content-type"]
        return _read_page(answer.body, content_type, url, project, index, is_flat=is_flat)

    def _parse(
        self, project: NormalizedName, answer: StoredAnswer, body: bytes, index: str, *, is_flat: bool
    ) -> Page | None:
        self._note_expiry(self._expiry(answer))
        if not answer.is_found:
            return None
        return _read_page(body, answer.content_type, answer.url, project, index, is_flat=is_flat)

    def _expiry(self, answer: StoredAnswer) -> float:
        age = answer.max_age_s if answer.max_age_s is not None else self._settings.freshness_s
        return answer.fetched_at_s + age

    def _note_expiry(self, expiry_s: float) -> None:
        with self._lock:
            self.fresh_until_s = min(self.fresh_until_s, expiry_s)

    # --- metadata ----------------------------------------------------------------------------------------------

    def _load_metadata(self, release: Release) -> CoreMetadata:
        file = release.file
        if file is None or release.metadata:
            raise InvalidMetadata(subject=str(release), reason="its metadata is known already (a bug)")
        # By its own digest, else by where it was: what one index says of a wheel must not reach another's.
        stated = file.metadata_digests.get("sha256")
        key = f"sha256 {stated}" if stated else f"{file.url} {file.digests.get('sha256', '')}"
        may_be_old = not stated and (self._settings.refresh or not file.digests)
        raw = None if may_be_old and not self._settings.offline else self._store.read_metadata(key)
        if raw is None:
            if self._settings.offline and not file.url.startswith("file:"):
                way = f"remote-wheel prefetch '{release.project}=={release.version}'"
                raise NotCached(what=f"the metadata of {release}", way=way)
            raw = self._fetch_metadata(file)
            self._store.write_metadata(key, raw)
        self.planned_metadata[file.url] = hashlib.sha256(raw).hexdigest()
        metadata = parse_metadata(raw, subject=file.filename)
        check_identity(metadata, release.project, release.version, subject=file.filename)
        return metadata

    def _fetch_metadata(self, file: IndexFile) -> bytes:
        """Fetch METADATA the cheapest way the index offers: PEP 658 file, ranges of the wheel, the wheel."""
        limit = self._settings.limits.metadata_bytes
        if file.has_metadata:
            answer = self._client.fetch(
                f"{file.url}.metadata", max_bytes=limit, is_held_by_hash=True, may_be_missing=True
            )
            if answer.status == 200:
                subject = f"{file.filename}.metadata"
                check_digests(answer.body, file.metadata_digests, subject=subject, stated_by="the index")
                return answer.body
        if file.url.startswith("file:") or (file.size_bytes or _SMALL_WHEEL_BYTES + 1) <= _SMALL_WHEEL_BYTES:
            return self._metadata_of_wheel(file)
        return self._metadata_by_ranges(file)

    def _metadata_of_wheel(self, file: IndexFile) -> bytes:
        verified = self._archives.wheel(file.filename, file.url, file.digests, received=self._received(file))
        return verified.read(f"{verified.dist_info}/METADATA")

    def _metadata_by_ranges(self, file: IndexFile) -> bytes:
        """Ask for the wheel's tail; a server that does not know ranges sends the wheel, which is kept."""
        with self._store.new_archive() as incoming:
            sink = self._archives.sink(incoming, file.digests)
            try:
                answer = self._client.fetch(
                    file.url,
                    headers={"Range": f"bytes=-{TAIL_BYTES}", **IDENTITY},
                    max_bytes=self._settings.limits.download_bytes,
                    sink=sink,
                    is_held_by_hash=True,
                )
            except ServerError:  # some refuse a range from the end (416, 501); a real failure shows again
                return self._metadata_of_wheel(file)
            if answer.status == 200:
                verified = self._archives.finish_wheel(incoming, sink, file.filename, file.url, file.digests, {})
                return verified.read(f"{verified.dist_info}/METADATA")
            tail = bytes(incoming.contents())
        size = total_of(answer.headers.get("content-range", ""), file.url)
        limit = self._settings.limits.metadata_bytes
        return read_remote_metadata(self._client, file.url, size=size, tail=tail, max_bytes=limit)

    def _received(self, file: IndexFile) -> Callable[[int], None]:
        return lambda received: self._progress.downloading(file.filename, received, file.size_bytes)


def find_installed(project: NormalizedName, search_path: Sequence[str]) -> Installed | None:
    """Return the installed distribution of *project* on *search_path*, None where there is none that can be read."""
    for distribution in Distribution.discover(name=project, path=list(search_path)):
        raw = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        place = getattr(distribution, "_path", None)  # no public way leads to the dist-info folder itself
        if raw and place:
            try:
                return Installed(metadata=parse_metadata(raw.encode(), subject=str(place)), path=str(place))
            except InvalidMetadata:
                continue  # as good as not installed: what it needs can't be known
    return None


def _read_page(
    body: bytes, content_type: str, url: str, project: NormalizedName, index: str, *, is_flat: bool
) -> Page | None:
    """Read a project's page; of a flat folder, what it holds of the project. Its own page, if any, lists projects."""
    if is_flat and project and content_type != LISTING:
        return None
    page = parse_page(body, content_type, url=url, project=project, index=index)
    return page if page.files or not (is_flat and project) else None
