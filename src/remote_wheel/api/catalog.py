"""The resolver's catalogue over real indexes: listings and metadata, cached, fetched in parallel, asked for early."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol

from packaging.utils import NormalizedName

from remote_wheel.api.archives import Archives
from remote_wheel.api.pages import Pages
from remote_wheel.errors import DigestMismatch, InvalidMetadata, NotCached, ServerError
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.port import ANEW
from remote_wheel.fetch.ranges import IDENTITY, TAIL_BYTES, read_remote_metadata, size_of_tail
from remote_wheel.index.listing import Listing, Release
from remote_wheel.index.page import IndexFile
from remote_wheel.settings import Settings
from remote_wheel.spec.digest import check_digests, is_strong
from remote_wheel.spec.metadata import (
    METADATA_FORMAT,
    CoreMetadata,
    check_identity,
    dump_metadata,
    load_metadata,
    parse_metadata,
)
from remote_wheel.store.cache import Store

_READ: Final = b"+"  # what is noted of a METADATA file is what it says, not the file
_SMALL_WHEEL_BYTES = 128 * 1024  # below this, the wheel is as cheap as two requests for parts of it


class Progress(Protocol):
    """Who is told how far a request is. Called from several threads."""

    def resolving(self, projects: int) -> None:
        """So many projects have been looked at."""

    def downloading(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        """So much of one file is here."""

    def preparing(self, name: str) -> None:
        """The file *name* is verified and compiled next."""

    def close(self) -> None:
        """It is done, or has failed: leave nothing behind."""


class IndexCatalog:
    """Listings and metadata for one resolution. *likely* is told which releases are candidates, the best ones first."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        client: Client,
        archives: Archives,
        pool: ThreadPoolExecutor,
        progress: Progress,
        pages: Pages,
        likely: Callable[[Release], None],
    ) -> None:
        self._settings, self._store, self._client = settings, store, client
        self._archives, self._pool, self._progress = archives, pool, progress
        self.pages, self._likely = pages, likely
        self._metadata: dict[Release, Future[CoreMetadata] | CoreMetadata] = {}
        self._looked_at = 0
        self.planned_metadata: dict[str, str] = {}  # wheel URL → SHA-256 of the METADATA that planning used

    # --- resolution.provider.Catalog ----------------------------------------------------------------------------

    def listings(self, projects: Sequence[NormalizedName]) -> list[Listing]:
        """Return the projects' listings, their pages fetched at once."""
        at_hand = [self.pages.listing_at_hand(project) for project in projects]
        missing = [project for project, listing in zip(projects, at_hand, strict=True) if listing is None]
        fetched = iter(self._pool.map(self.pages.listing, missing) if missing else ())
        found = [listing or next(fetched) for listing in at_hand]
        self._looked_at += len(found)
        self._progress.resolving(self._looked_at)
        return found

    def metadata(self, release: Release) -> CoreMetadata:
        """Return the release's core metadata; waits for a request under way."""
        asked = self._ask(release)
        return asked if isinstance(asked, CoreMetadata) else asked.result()

    def is_at_hand(self, release: Release) -> bool:
        """Whether the metadata has been asked for and has come."""
        asked = self._metadata.get(release)
        return isinstance(asked, CoreMetadata) or (asked is not None and asked.done())

    def expect(self, release: Release) -> None:
        """Start the request for the release's metadata."""
        self._ask(release)

    def _ask(self, release: Release) -> "Future[CoreMetadata] | CoreMetadata":
        """Return the metadata if it is noted, else the request that is under way for it."""
        asked = self._metadata.get(release)
        if asked is None:
            try:
                asked = self._noted_metadata(release) or self._pool.submit(self._fetched_metadata, release)
            except InvalidMetadata as error:
                asked = Future()
                asked.set_exception(error)
            self._metadata[release] = asked
            if isinstance(asked, CoreMetadata) or _file_of(release).has_metadata:
                self._likely(release)
        return asked

    # --- metadata ----------------------------------------------------------------------------------------------

    def _noted_metadata(self, release: Release) -> CoreMetadata | None:
        """Return what the store has of the release's metadata, None where it has nothing that may be used."""
        file = _file_of(release)
        is_unsure = not file.metadata_digests.get("sha256") and (self._settings.refresh or not file.digests)
        if is_unsure and not self._settings.offline:
            return None
        noted = self._store.read_note("metadata", _key_of(file))
        stated = file.metadata_digests.get("sha256")
        if noted and stated and noted.partition(b"\n")[0].decode() != stated:
            return None
        return self._read_noted(release, file, noted) if noted else None

    def _fetched_metadata(self, release: Release) -> CoreMetadata:
        file = _file_of(release)
        if self._settings.offline and not file.url.startswith("file:"):
            way = f"remote-wheel prefetch '{release.project}=={release.version}'"
            raise NotCached(what=f"the metadata of {release}", way=way)
        try:
            raw = self._checked_metadata(file, {})
        except DigestMismatch:
            if not file.url.startswith("http"):
                raise
            raw = self._checked_metadata(file, ANEW)
        noted = _noted(raw, file.filename)
        self._store.write_note("metadata", _key_of(file), noted)
        metadata = self._read_noted(release, file, noted)
        if not file.has_metadata:  # what was asked may have sent the wheel, which is not to be fetched twice
            self._likely(release)
        return metadata

    def _read_noted(self, release: Release, file: IndexFile, noted: bytes) -> CoreMetadata:
        digest, _, data = noted.partition(b"\n")
        self.planned_metadata[file.url] = digest.decode()
        is_read, data = data[:1] == _READ, data[1:]
        metadata = load_metadata(data) if is_read else parse_metadata(data, subject=file.filename)
        check_identity(metadata, release.project, release.version, subject=file.filename)
        return metadata

    def _checked_metadata(self, file: IndexFile, headers: Mapping[str, str]) -> bytes:
        """Fetch METADATA: however it was had, what is noted under a digest is what has that digest."""
        raw = self._fetch_metadata(file, headers)
        check_digests(raw, file.metadata_digests, subject=f"{file.filename}.metadata", stated_by="the index")
        return raw

    def _fetch_metadata(self, file: IndexFile, headers: Mapping[str, str]) -> bytes:
        """Fetch METADATA the cheapest way the index offers: PEP 658 file, ranges of the wheel, the wheel."""
        limit = self._settings.limits.metadata_bytes
        if file.has_metadata:
            answer = self._client.fetch(
                f"{file.url}.metadata", max_bytes=limit, headers=headers, is_held_by_hash=True, may_be_missing=True
            )
            if answer.status == 200:
                return answer.body
        if file.url.startswith("file:") or (file.size_bytes or _SMALL_WHEEL_BYTES + 1) <= _SMALL_WHEEL_BYTES:
            return self._metadata_of_wheel(file)
        return self._metadata_by_ranges(file)

    def _metadata_of_wheel(self, file: IndexFile) -> bytes:
        verified = self._archives.wheel(file.filename, file.url, file.digests, received=self._received(file))
        return verified.read(f"{verified.dist_info}/METADATA")

    def _metadata_by_ranges(self, file: IndexFile) -> bytes:
        """Ask for the wheel's tail; a server that does not know ranges sends the wheel, which is kept."""
        self._archives.check_trust(file.url, file.digests)
        with self._store.new_archive() as incoming:
            sink = self._archives.sink(incoming, file.digests)
            try:
                answer = self._client.fetch(
                    file.url,
                    headers={"Range": f"bytes=-{TAIL_BYTES}", **IDENTITY},
                    max_bytes=self._settings.limits.download_bytes,
                    sink=sink,
                    is_held_by_hash=is_strong(file.digests),
                )
            except ServerError:  # some refuse a range from the end (416, 501); a real failure shows again
                return self._metadata_of_wheel(file)
            if answer.status == 200:
                verified = self._archives.finish_wheel(incoming, sink, file.filename, file.url, file.digests, {})
                return verified.read(f"{verified.dist_info}/METADATA")
            tail = bytes(incoming.contents())
        size = size_of_tail(answer.headers.get("content-range", ""), len(tail))
        if size is None:  # another part than the one asked for
            return self._metadata_of_wheel(file)
        limit = self._settings.limits.metadata_bytes
        try:
            return read_remote_metadata(self._client, file.url, size=size, tail=tail, max_bytes=limit)
        except (ServerError, InvalidMetadata):  # parts that do not fit together, or no longer come
            return self._metadata_of_wheel(file)

    def _received(self, file: IndexFile) -> Callable[[int], None]:
        return lambda received: self._progress.downloading(file.filename, received, file.size_bytes)


def _file_of(release: Release) -> IndexFile:
    if release.file is None or release.metadata:
        raise InvalidMetadata(subject=str(release), reason="its metadata is known already (a bug)")
    return release.file


def _key_of(file: IndexFile) -> str:
    """Return the metadata's key: its own digest, else where it was.

    What one index says of a wheel must not reach another's.
    """
    stated = file.metadata_digests.get("sha256")
    place = f"sha256 {stated}" if stated else f"{file.url} {file.digests.get('sha256', '')}"
    return f"{METADATA_FORMAT} {place}"


def _noted(raw: bytes, subject: str) -> bytes:
    """Return what is noted of a METADATA file: its digest and what it says, or all of it where that can't be read."""
    try:
        data = _READ + dump_metadata(parse_metadata(raw, subject=subject))
    except InvalidMetadata:
        data = b"-" + raw
    return hashlib.sha256(raw).hexdigest().encode() + b"\n" + data
