"""From a project to its listing: the pages of the indexes that count, fresh enough, sorted once and kept."""

import hashlib
import marshal
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from packaging.utils import NormalizedName

from remote_wheel.api.indexes import Index, Indexes
from remote_wheel.errors import InvalidIndexPage, NotCached, NotFound
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.local import local_path
from remote_wheel.fetch.port import ACCEPT_PAGE, ANEW, PAGES
from remote_wheel.index.candidates import NOTHING_LEFT_OUT, Filter, make_listing
from remote_wheel.index.listing import Installed, Listing, Omissions
from remote_wheel.index.packing import FORMAT, pack_listing, unpack_listing
from remote_wheel.index.page import Page, page_of_file, pages_of_links, parse_page
from remote_wheel.index.target import Target
from remote_wheel.settings import Settings
from remote_wheel.spec.listing import LISTING
from remote_wheel.spec.source import redact, without_secrets
from remote_wheel.store.cache import Store, StoredAnswer

_FILES = (".whl", ".tar.gz", ".zip")


class _Kept(NamedTuple):
    """An answer of an index that still holds; `body` is None where it is in the store and was not needed yet."""

    url: str
    answer: StoredAnswer
    body: bytes | None = None


class _Packed(NamedTuple):
    """A listing as it was noted, the answer that it was made of, and which file that was."""

    token: tuple[int, ...]
    answer: StoredAnswer
    listing: bytes

    def is_of(self, answer: StoredAnswer) -> bool:
        """Whether *answer* says the same, whenever it was given."""
        mine = self.answer
        return (mine.sha256, mine.url, mine.content_type) == (answer.sha256, answer.url, answer.content_type)


class Pages:
    """Makes the listings of one request. `listing` may be called by many threads.

    `fresh_until_s` is when the first of the pages used gets old; `watched` are the local files and (with a separator at
    the end) folders that pages came from.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        client: Client,
        target: Target,
        *,
        indexes: Indexes,
        filters: Callable[[NormalizedName], Filter],
        direct: Callable[[NormalizedName], Listing | None],
        search_path: Sequence[str],
        installed_only: bool = False,
    ) -> None:
        self._settings, self._store, self._client, self._target = settings, store, client, target
        self._direct, self._search_path, self._installed_only = direct, list(search_path), installed_only
        self._indexes, self._filters = indexes, filters
        self._links = tuple(map(redact, indexes.links))
        self._linked: dict[NormalizedName, list[Page]] | None = None
        self._lock, self._link_lock = threading.Lock(), threading.Lock()
        self._target_key = hashlib.sha256(f"{FORMAT} {target.key}".encode()).hexdigest()  # it is hashed for each page
        self.fresh_until_s = float("inf")
        self.missing: NotCached | None = None  # the first page that was not there, where an installed version stood in
        self.watched: list[str] = []

    def listing(self, project: NormalizedName) -> Listing:
        """Return the project's listing, of which an installed version is part. Raises FetchError, InvalidIndexPage."""
        if (found := self._direct_listing(project)) is not None:
            return found
        installed, left_out_by = self._find_installed(project), self._filters(project)
        if self._installed_only:
            listing = Listing.empty(project)
        else:
            try:
                listing = self._indexed_listing(project, left_out_by)
            except NotCached as error:
                if not installed:
                    raise
                listing = Listing.empty(project)
                with self._lock:
                    self.missing = self.missing or error
                    self.fresh_until_s = 0.0  # with a network, there may be more
        if installed and left_out_by.admits(installed.metadata.version):
            listing = listing.with_installed(installed)
        return listing

    def listing_at_hand(self, project: NormalizedName) -> Listing | None:
        """Return the listing where it takes no network and no page to be read; None where it may take either."""
        if (found := self._direct_listing(project)) is not None:
            return found
        index = next(iter(self._indexes.of(project)), None)
        may_be_packed = index and index.url.startswith("http") and not index.is_flat and not self._indexes.links
        if self._installed_only or index is None or not may_be_packed or not self._is_plain(self._filters(project)):
            return None
        url = _page_url(index, project)
        packed = self._packed(project, url, index.shown)
        if packed is None or not self._holds(packed.answer) or not self._noted(_Kept(url, packed.answer)):
            return None
        listing = unpack_listing(packed.listing, project, index.shown, (index.shown,))
        installed = self._find_installed(project)
        return listing.with_installed(installed) if installed else listing

    def _direct_listing(self, project: NormalizedName) -> Listing | None:
        """Return the listing of a project that the user names by URL or path, None of another; constraints count."""
        listing = self._direct(project)
        if listing is None:
            return None
        left_out_by = self._filters(project)
        if all(left_out_by.admits(release.version) for release in listing.releases):
            return listing
        reason = f"your constraint is {left_out_by.constraint}"
        left_out = [(str(r.version), reason, (r.file.filename if r.file else "",)) for r in listing.releases]
        return Listing.empty(project)._replace(left_out=Omissions(lambda: left_out))

    def _is_plain(self, left_out_by: Filter) -> bool:
        """Whether a listing is what its page and the target make of it, and nothing that the user said."""
        return self._settings.index_strategy == "first-index" and left_out_by is NOTHING_LEFT_OUT

    def _find_installed(self, project: NormalizedName) -> Installed | None:
        if not self._settings.prefer_installed:
            return None
        from remote_wheel.api.installed import find_installed  # much to import, for nothing in a closed world

        return find_installed(project, self._search_path)

    def _indexed_listing(self, project: NormalizedName, left_out_by: Filter) -> Listing:
        """Make the listing, or take it as it was packed when the page that it is all of was read."""
        pages = self._linked_pages(project)
        searched: list[str] = []
        page: Page | None
        may_be_packed, is_whole, url = self._is_plain(left_out_by), False, ""
        for index in self._indexes.of(project):
            searched.append(index.shown)
            if index.is_flat:
                page = self._read_link(_flat_url(index)).get(project)
            elif not index.url.startswith("http"):
                page = self._folder_page(project, index)
            elif (kept := self._keep(project, url := _page_url(index, project))) is not None:
                if may_be_packed and not pages:
                    packed = self._packed(project, url, index.shown)
                    if packed and packed.is_of(kept.answer):
                        return unpack_listing(packed.listing, project, index.shown, self._shown(searched))
                page, answer = self._read_kept(project, kept, index.shown)
                is_whole = page is not None and may_be_packed
            else:
                page = None
            if page:
                pages.append(page)
                if self._settings.index_strategy == "first-index":
                    break
        listing = make_listing(project, pages, self._target, searched=self._shown(searched), left_out_by=left_out_by)
        urls = [release.file.url for release in listing.releases if release.file]
        if is_whole and len(pages) == 1 and all(each == without_secrets(each) for each in urls):
            self._pack(project, url, pages[0].origin, answer, pack_listing(listing))
        return listing

    def _packed(self, project: NormalizedName, url: str, index: str) -> _Packed | None:
        """Return the listing that was noted of the page at *url* as it is in the store now, None where none was.

        The page itself is not opened unless its file is another one than then: renewed, for the most part.
        """
        noted = self._store.read_note("listings", self._listing_key(project, url, index))
        if noted is None:
            return None
        token, answer, listing = marshal.loads(noted)  # noqa: S302  # as it was written, or it would not be there
        packed = _Packed(token, StoredAnswer(*answer), listing)
        if token == self._store.token_of("pages", url):
            return packed
        known = self._store.read_head("pages", url)
        return self._pack(project, url, index, known, listing) if known and packed.is_of(known) else None

    def _pack(self, project: NormalizedName, url: str, index: str, answer: StoredAnswer, listing: bytes) -> _Packed:
        """Note the listing of *answer*, if that is in the store: an index may forbid that."""
        token = self._store.token_of("pages", url)
        known = self._store.read_head("pages", url)
        packed = _Packed(token or (), known or answer, listing)
        if token and known and packed.is_of(answer):
            noted = marshal.dumps((token, tuple(known), listing), 4)
            self._store.write_note("listings", self._listing_key(project, url, index), noted)
        return packed

    def _shown(self, searched: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*searched, *self._links)))

    def _listing_key(self, project: NormalizedName, url: str, index: str) -> str:
        return "\n".join((project, index, url, self._target_key))

    # --- find_links --------------------------------------------------------------------------------------------

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
        links = self._flat_page(NormalizedName(""), url, redact(url))
        if links is None:
            raise NotFound(url=redact(url), reason="find_links names it, and it is not there")
        return pages_of_links(links)

    # --- pages -------------------------------------------------------------------------------------------------

    def _folder_page(self, project: NormalizedName, index: Index) -> Page | None:
        """Return the project's page in an index that is a folder (a path, a bucket, SFTP), None where it has none.

        It may also be flat: the wheels themselves lie in it.
        """
        url = _page_url(index, project)
        if url.startswith("file:"):
            page = self._local_page(project, url, index.shown)
        else:
            kept = self._keep(project, url)
            page = self._read_kept(project, kept, index.shown)[0] if kept else None
        return page if page and page.files else self._flat_page(project, index.url, index.shown) or page

    def _flat_page(self, project: NormalizedName, url: str, index: str) -> Page | None:
        """Return what a folder of files, or a page of links to them, has of *project* or, without one, of all."""
        is_flat = url.endswith("/")
        if url.startswith("file:"):
            return self._local_page(project, url, index, is_flat=is_flat)
        kept = self._keep(project, url)
        return self._read_kept(project, kept, index, is_flat=is_flat)[0] if kept else None

    def _keep(self, project: NormalizedName, url: str, *, is_damaged: bool = False) -> _Kept | None:
        """Return the answer of *url* that holds now, from the store or the network; None where there is nothing."""
        self._client.check_host(url)
        known = None if is_damaged else self._store.read_head("pages", url)
        if known and self._holds(known):
            return self._noted(_Kept(url, known))
        if self._settings.offline:
            what = f"the index page of {project}" if project else redact(url)
            raise NotCached(what=what, way=f"remote-wheel prefetch {project or 'PROJECT'}")
        headers = {"Accept": ACCEPT_PAGE, **(ANEW if is_damaged else {})}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        elif known and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        limit = self._settings.limits.page_bytes
        answer = self._client.fetch(url, headers=headers, max_bytes=limit, may_be_missing=True)
        if answer.status == 304:
            renewed = self._store.renew_answer("pages", url, answer.headers)
            return self._noted(_Kept(url, renewed)) if renewed else self._keep(project, url, is_damaged=True)
        stored = self._store.write_answer(
            "pages", url, answer.body, answer.headers, redact(answer.url), is_found=answer.status != 404
        )
        return self._noted(_Kept(url, stored, answer.body))

    def _holds(self, answer: StoredAnswer) -> bool:
        """Whether an answer of the store holds without asking again; offline, whatever there is does."""
        is_fresh = answer.is_found and not self._settings.refresh and time.time() < self._expiry(answer)
        return is_fresh or self._settings.offline

    def _noted(self, kept: _Kept) -> _Kept | None:
        with self._lock:
            self.fresh_until_s = min(self.fresh_until_s, self._expiry(kept.answer))
        return kept if kept.answer.is_found else None

    def _read_kept(
        self, project: NormalizedName, kept: _Kept, index: str, *, is_flat: bool = False
    ) -> tuple[Page | None, StoredAnswer]:
        """Return the page of an answer, and the answer: where its body in the store is damaged, another's."""
        answer, body = kept.answer, kept.body
        if body is None:
            if stored := self._store.read_answer("pages", kept.url):
                answer, body = stored
            elif again := self._keep(project, kept.url, is_damaged=True):
                answer, body = again.answer, again.body
        if body is None:  # it was there, and is gone now
            return None, answer
        try:
            return _read_page(body, answer.content_type, answer.url, project, index, is_flat=is_flat), answer
        except InvalidIndexPage:  # damaged on its way, maybe: it has no hash to tell
            if self._settings.offline or not (again := self._keep(project, kept.url, is_damaged=True)):
                raise
        answer, body = again.answer, again.body or b""
        return _read_page(body, answer.content_type, answer.url, project, index, is_flat=is_flat), answer

    def _local_page(self, project: NormalizedName, url: str, index: str, *, is_flat: bool = False) -> Page | None:
        """Read a page of a local index: its own cache, read each time, and watched by the boot record."""
        limit = self._settings.limits.page_bytes
        answer = self._client.fetch(url, headers={}, max_bytes=limit, may_be_missing=True)
        path = local_path(url)
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

    def _expiry(self, answer: StoredAnswer) -> float:
        age = answer.max_age_s if answer.max_age_s is not None else self._settings.freshness_s
        return answer.fetched_at_s + age


def _flat_url(index: Index) -> str:
    """Return where the files of a flat index are listed: a folder's URL ends in a slash, that of a page does not."""
    is_folder = not index.url.startswith("file:") or os.path.isdir(local_path(index.url))
    return index.url if is_folder else index.url.rstrip("/")


def _page_url(index: Index, project: NormalizedName) -> str:
    return f"{index.url}{project}/"


def _read_page(
    body: bytes, content_type: str, url: str, project: NormalizedName, index: str, *, is_flat: bool
) -> Page | None:
    """Read a project's page; of a flat folder, what it holds of the project. Its own page, if any, lists projects."""
    if is_flat and project and content_type != LISTING:
        return None
    page = parse_page(body, content_type, url=url, project=project, index=index)
    return page if page.files or not (is_flat and project) else None
