"""Archives on their way in: fetched once for all processes, hashed as they come, verified before they are kept."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from remote_wheel.api.receiving import HashingSink, receive_checked
from remote_wheel.errors import (
    ContentChanged,
    DigestMismatch,
    InvalidSource,
    MovedTag,
    NotCached,
    NotFound,
    NotTrusted,
    RefusedByPolicy,
)
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.forges import Forges
from remote_wheel.fetch.local import chunks_of, open_regular
from remote_wheel.fetch.port import Answer
from remote_wheel.fetch.ranges import IDENTITY
from remote_wheel.settings import Settings
from remote_wheel.spec.digest import Hasher, check_digests, is_strong
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.repository import Repository, is_commit
from remote_wheel.spec.source import Kind, Source, without_secrets
from remote_wheel.store.cache import Store, StoredAnswer
from remote_wheel.store.files import Staged
from remote_wheel.verify.wheel import Verified, verify_wheel

_ARCHIVES: Final = (".zip", ".tar.gz")


class Acquired(NamedTuple):
    """What a source turned out to be. `commit` is that of a repository, `url` where the archive's bytes are."""

    source: Source
    verified: Verified
    size_bytes: int
    commit: str = ""

    @property
    def url(self) -> str:
        """The URL of the archive, redacted; of a repository, of the commit's archive; a local file's path."""
        repository = self.source.repository
        if repository:
            return repository.archive_url(self.commit)
        return self.source.url if self.source.is_local else without_secrets(self.source.url)


class Locked(NamedTuple):
    """What a lock holds a source archive to: the file's digests or, for a repository, its commit and content."""

    digests: Mapping[str, str] = EMPTY
    commit: str = ""
    content_sha256: str = ""


class Kept(NamedTuple):
    """What is noted of a URL: the digest it had, the commit it was, and how to ask whether it still is."""

    answer: StoredAnswer
    sha256: str
    commit: str
    size_bytes: int = 0

    @property
    def validators(self) -> dict[str, str]:
        """The headers to revalidate with (RFC 9110 section 8.8)."""
        return {"etag": self.answer.etag, "last-modified": self.answer.last_modified}


class Archives:
    """Get archives by URL or from the store, verified."""

    def __init__(self, settings: Settings, store: Store, client: Client, *, was_verified: bool = False) -> None:
        self._settings, self._store, self._client = settings, store, client
        self._was_verified = was_verified
        self._forges = Forges(client, settings.limits, os.environ)
        self.fresh_until_s = float("inf")
        self._fresh_lock = threading.Lock()

    def _is_fresh_until(self, moment_s: float) -> None:
        """Note that something used is fresh up to a moment (since the epoch) only; threads do so at once."""
        with self._fresh_lock:
            self.fresh_until_s = min(self.fresh_until_s, moment_s)

    def at_hand(self) -> "Archives":
        """Return one that gets archives from the store alone, which were verified when they were put there just now."""
        settings = self._settings._replace(offline=True, refresh=False)
        return Archives(settings, self._store, self._client, was_verified=True)

    def sink(
        self, staged: Staged, digests: Mapping[str, str], received: Callable[[int], None] = lambda _: None
    ) -> HashingSink:
        """Return the sink for an archive of which *digests* are stated."""
        return HashingSink(staged, digests, received)

    def wheel(
        self,
        filename: str,
        url: str,
        digests: Mapping[str, str],
        *,
        metadata_digests: Mapping[str, str] | None = None,
        received: Callable[[int], None] = lambda _: None,
        stated_by: str = "the index",
    ) -> Verified:
        """Return the index's wheel at *url*: from the store if its SHA-256 is there, else fetched, once.

        Raises FetchError, VerificationError, InvalidMetadata or NotCached.
        """
        self._client.check_host(url)
        known = digests.get("sha256") or self._fresh_sha256(url)
        with self._store.lock(f"archive {known or url}"):
            known = digests.get("sha256") or self._fresh_sha256(url)
            if known and (found := self._from_store(known, filename, digests, metadata_digests, stated_by)):
                return found
            self.check_trust(url, digests)
            if self._settings.offline and not url.startswith("file:"):
                stem = "==".join(filename.split("-")[:2])
                raise NotCached(what=filename, way=f"remote-wheel prefetch '{stem}'")
            with self._store.new_archive() as incoming:
                sink = self.sink(incoming, digests, received)

                def get(headers: Mapping[str, str]) -> Answer:
                    return self._client.fetch(
                        url,
                        headers={**IDENTITY, **headers},
                        max_bytes=self._settings.limits.download_bytes,
                        sink=sink,
                        is_held_by_hash=is_strong(digests),
                    )

                receive_checked(get, sink, digests, url=url, subject=filename, stated_by=stated_by)
                return self.finish_wheel(
                    incoming, sink, filename, url, digests, metadata_digests or {}, stated_by=stated_by
                )

    def finish_wheel(
        self,
        incoming: Staged,
        sink: HashingSink,
        filename: str,
        url: str,
        digests: Mapping[str, str],
        metadata_digests: Mapping[str, str],
        *,
        stated_by: str = "the index",
    ) -> Verified:
        """Verify a wheel that has come in whole from *url*, and have it kept."""
        sink.hasher.check(digests, subject=filename, stated_by=stated_by)
        sha256 = sink.hasher.sha256
        self._check_first(url, sha256, digests)
        verified = self._verify_wheel(incoming.contents(), filename, sha256, metadata_digests)
        incoming.keep_as = sha256
        if "sha256" not in digests:
            self._note_url(url, sha256, size_bytes=sink.size_bytes)
        return verified

    def source(self, source: Source, sha256: str | None, *, stated_by: str = "you") -> Acquired:
        """Return the archive or module of *source*, held to *sha256* and the digests of its URL where stated.

        A repository's archive that is named by its own URL, with a hash, is that very file. Raises FetchError,
        VerificationError, InvalidSource, InvalidMetadata, MustBeBuilt or NotCached.
        """
        stated = dict(source.digests)
        if sha256:
            if stated.get("sha256", sha256) != sha256:
                raise DigestMismatch(
                    subject=source.shown, stated_by="sha256=", expected=sha256, actual=stated["sha256"]
                )
            stated["sha256"] = sha256
        if source.is_local:
            return self._local(source, stated, stated_by)
        is_file = source.url.startswith(("http:", "https:")) and source.url.endswith(_ARCHIVES)
        if source.repository and not (is_file and stated):
            self._client.learn(source.url)
            return self._repository(source, source.repository, stated, is_file=is_file)
        return self._remote(source, stated, stated_by)

    def source_of_many(self, source: Source, stated: frozenset[str], *, stated_by: str) -> Acquired:
        """Return the archive or module of *source*, which has one of the digests that are *stated* ("sha256:hex").

        Raises as `source` does.
        """
        archives = Archives(self._settings._replace(require_hashes=False), self._store, self._client)  # it has hashes
        acquired = archives.source(source, None, stated_by=stated_by)
        self._is_fresh_until(archives.fresh_until_s)
        actual = f"sha256:{acquired.verified.sha256}"
        if actual not in stated:
            expected = " or ".join(sorted(stated))
            raise DigestMismatch(subject=source.shown, stated_by=stated_by, expected=expected, actual=actual)
        return acquired

    def locked(self, source: Source, lock: Locked) -> Acquired:
        """Return the archive or module that a lock names. Raises as `source` does, and MovedTag.

        Servers may pack a commit's archive anew, so its file's digest may differ where its content does not.
        """
        if not source.repository or not lock.commit:
            held = source._replace(digests={**source.digests, **lock.digests})
            return self.source(held, None, stated_by="the lock")
        if not lock.content_sha256:
            self._check_is_stated(source.shown, lock.digests)
        found = self._repository(source, source.repository, {}, lock.commit)
        actual, held_to = found.verified.sha256, lock.digests.get("sha256", "")
        if lock.content_sha256 and actual != held_to:
            actual, held_to = found.verified.content_sha256, lock.content_sha256
        if held_to and actual != held_to:
            raise DigestMismatch(subject=source.shown, stated_by="the lock", expected=held_to, actual=actual)
        return found

    # --- how -----------------------------------------------------------------------------------------------------

    def _remote(self, source: Source, stated: Mapping[str, str], stated_by: str) -> Acquired:
        """Return what is at the source's URL: as it is kept while that is fresh, else asked for again."""
        url = self._client.learn(source.url, source.hostkey)
        self._client.check_host(url)
        self._check_is_stated(url, stated)
        if source.repository:  # its archive is but a file here, of the kind that its name says
            filename = unquote(urlsplit(url).path.rpartition("/")[2])
            kind: Kind = "zip" if filename.endswith(".zip") else "tar"
            source = source._replace(repository=None, kind=kind, filename=filename)
        with self._store.lock(f"archive {stated.get('sha256') or url}"):
            kept = self._kept(url)
            known = stated.get("sha256") or (kept.sha256 if kept and self._is_fresh(kept) else None)
            view = self._store.open_archive(known) if known else None
            if known and view is not None:
                self._check(view, known, stated, source.shown, stated_by)
                if stated_by == "you" and kept and kept.sha256 != known:  # what you say of it counts from now on
                    self._note_url(url, known, size_bytes=len(view))
                return self._acquired(source, view, known)
            self.check_trust(url, stated)
            if self._settings.offline:
                raise NotCached(what=source.shown, way="mount it once while online.")
            old = self._store.open_archive(kept.sha256) if kept and "sha256" not in stated else None
            with self._store.new_archive() as incoming:
                sink = self.sink(incoming, stated)
                at_hand = kept if old is not None else None

                def get(headers: Mapping[str, str]) -> Answer:
                    return self._fetch_source(url, sink, at_hand, is_strong(stated), headers)

                answer = receive_checked(get, sink, stated, url=url, subject=source.shown, stated_by=stated_by)
                if answer.status == 304 and kept and old is not None:
                    headers = {**kept.validators, **answer.headers}
                    self._note_url(url, kept.sha256, size_bytes=kept.size_bytes, headers=headers)
                    return self._acquired(source, old, kept.sha256)
                self._check_first(url, sink.hasher.sha256, stated)
                acquired = self._acquired(source, incoming.contents(), sink.hasher.sha256)
                incoming.keep_as = sink.hasher.sha256
            if "sha256" not in stated or stated_by == "you":
                self._note_url(url, acquired.verified.sha256, size_bytes=sink.size_bytes, headers=answer.headers)
            return acquired

    def _fetch_source(
        self, url: str, sink: HashingSink, kept: Kept | None, is_held_by_hash: bool, more: Mapping[str, str]
    ) -> Answer:
        limit, headers = self._settings.limits.download_bytes, {**IDENTITY, **more}
        if kept and kept.answer.etag:
            headers["If-None-Match"] = kept.answer.etag
        elif kept and kept.answer.last_modified:
            headers["If-Modified-Since"] = kept.answer.last_modified
        try:
            return self._client.fetch(url, headers=headers, max_bytes=limit, sink=sink, is_held_by_hash=is_held_by_hash)
        except NotFound:
            asset = self._forges.private_asset(url) if url.startswith("http") else None
            if asset is None:
                raise
            address, own_headers = asset
            return self._client.fetch(address, headers={**IDENTITY, **own_headers}, max_bytes=limit, sink=sink)

    def _repository(
        self,
        source: Source,
        repository: Repository,
        stated: Mapping[str, str],
        locked: str = "",
        *,
        is_file: bool = False,
    ) -> Acquired:
        """Return a repository at its reference, which is made a commit first: what a commit holds can't change."""
        self._client.check_host(repository.url)
        if not locked:
            self._check_is_stated(source.shown, stated)
        commit = locked or self._commit(source, repository)
        if is_file and not commit:  # no git there: a file whose address only looks like a forge's
            return self._remote(source, stated, "you")
        place = repository._replace(ref=commit) if commit else repository
        with self._store.lock(f"archive {place.shown}"):
            kept = self._kept(place.shown) if commit else None
            view = self._store.open_archive(kept.sha256) if kept else None
            if kept and view is not None and not (locked and self._settings.refresh):
                self._check(view, kept.sha256, stated, source.shown, "you")
                return self._acquired(source, view, kept.sha256, commit)
            if not locked and not kept:
                self.check_trust(place.shown, stated)
            if self._settings.offline:
                raise NotCached(what=source.shown, way="mount it once while online.")
            if locked:
                self._check_tag(source, repository, locked)
            return self._fetch_repository(source, repository, stated, commit)

    def _commit(self, source: Source, repository: Repository) -> str:
        """Return the commit that the reference is: as it is noted while that is fresh, else asked for again."""
        if repository.commit:
            return repository.commit
        noted = self._kept(repository.shown)
        if noted and self._is_fresh(noted):
            return noted.commit
        if self._settings.offline:
            raise NotCached(what=source.shown, way="mount it once while online.")
        commit = self._forges.commit(repository)
        if commit:
            self._note_url(repository.shown, commit=commit)
        return commit

    def _check_tag(self, source: Source, repository: Repository, locked: str) -> None:
        """Refuse a tag that is another commit than the lock says: a branch is meant to move, a tag is not."""
        current = self._forges.tag(repository)
        if current and current != locked:
            raise MovedTag(subject=source.shown, tag=repository.ref, locked=locked, current=current)

    def _fetch_repository(
        self, source: Source, repository: Repository, stated: Mapping[str, str], commit: str
    ) -> Acquired:
        with self._store.new_archive() as incoming:
            sink = self.sink(incoming, stated)
            self._forges.fetch_archive(repository, commit, sink=sink)
            sink.hasher.check(stated, subject=source.shown, stated_by="you")
            acquired = self._acquired(source, incoming.contents(), sink.hasher.sha256, commit)
            comment = acquired.verified.archive.comment if acquired.verified.archive else ""
            said = comment if is_commit(comment) else ""  # git archive notes it there
            if commit and said and said != commit:
                raise DigestMismatch(subject=source.shown, stated_by=repository.url, expected=commit, actual=said)
            incoming.keep_as = sink.hasher.sha256
        if said and not commit:
            commit, acquired = said, acquired._replace(commit=said)
            self._note_url(repository.shown, commit=commit)
        if commit:
            self._note_url(repository._replace(ref=commit).shown, sink.hasher.sha256)
        return acquired

    def _from_store(
        self,
        sha256: str,
        filename: str,
        digests: Mapping[str, str],
        metadata_digests: Mapping[str, str] | None,
        stated_by: str,
    ) -> Verified | None:
        view = self._store.open_archive(sha256)
        if view is None:
            return None
        self._check(view, sha256, digests, filename, stated_by)
        return self._verify_wheel(view, filename, sha256, metadata_digests, was_verified=self._was_verified)

    def _verify_wheel(
        self,
        data: memoryview,
        filename: str,
        sha256: str,
        metadata_digests: Mapping[str, str] | None = None,
        *,
        was_verified: bool = False,
    ) -> Verified:
        """Verify a wheel as the settings have it."""
        return verify_wheel(
            data,
            filename=filename,
            sha256=sha256,
            limits=self._settings.limits,
            metadata_digests=metadata_digests,
            was_verified=was_verified,
            is_lenient=self._settings.verify == "names",
        )

    def _check(self, view: memoryview, sha256: str, digests: Mapping[str, str], subject: str, stated_by: str) -> None:
        """Hold an archive of the store, which was just hashed, to what else is stated of it."""
        others = {name: digest for name, digest in digests.items() if (name, digest.lower()) != ("sha256", sha256)}
        if others:
            check_digests(view, others, subject=subject, stated_by=stated_by)

    def _local(self, source: Source, stated: Mapping[str, str], stated_by: str) -> Acquired:
        """Return a local file: as it is in the store, or copied there, for what is verified must not change after."""
        hasher = Hasher(stated)
        for chunk in _chunks_of(source, self._settings.limits.download_bytes):
            hasher.update(chunk)
        hasher.check(stated, subject=source.url, stated_by=stated_by)
        self._check_is_stated(source.url, stated)
        view = self._store.open_archive(hasher.sha256)
        if view is not None:
            return self._acquired(source, view, hasher.sha256)
        with self._store.new_archive() as incoming:
            sink = self.sink(incoming, stated)
            for chunk in _chunks_of(source, self._settings.limits.download_bytes):
                sink.write(chunk)
            sink.hasher.check(stated, subject=source.url, stated_by=stated_by)
            acquired = self._acquired(source, incoming.contents(), sink.hasher.sha256)
            incoming.keep_as = sink.hasher.sha256
        return acquired

    def _acquired(self, source: Source, data: memoryview, sha256: str, commit: str = "") -> Acquired:
        verified = self._verify(source, data, sha256)
        return Acquired(source=source, verified=verified, size_bytes=len(data), commit=commit)

    def _verify(self, source: Source, data: memoryview, sha256: str) -> Verified:
        limits = self._settings.limits
        if source.repository:  # whatever its URL says, it is fetched as a zip
            source = source._replace(kind="zip")
        if source.kind == "wheel":
            return self._verify_wheel(data, source.filename, sha256)
        from remote_wheel.verify.tree import verify_module, verify_tree  # its libraries are for source trees alone

        if source.kind == "module":
            return verify_module(bytes(data), filename=source.filename, sha256=sha256)
        return verify_tree(
            data,
            filename=source.filename,
            sha256=sha256,
            limits=limits,
            is_tar=source.kind == "tar",
            subdirectory=source.subdirectory,
            version_hint=source.repository.version if source.repository else "",
        )

    def _kept(self, url: str) -> Kept | None:
        """Return what is noted of *url*; a local file is read each time."""
        kept = self._store.read_answer("urls", url)
        if kept is None or url.startswith("file:"):
            return None
        note = json.loads(kept[1])
        sha256, commit = str(note["sha256"]), str(note.get("commit", ""))
        return Kept(answer=kept[0], sha256=sha256, commit=commit, size_bytes=int(note.get("size_bytes", 0)))

    def _check_first(self, url: str, sha256: str, stated: Mapping[str, str]) -> None:
        """Hold what came from *url* to what came first, unless somebody states what it should be."""
        kept = None if is_strong(stated) else self._kept(url)
        if kept and kept.sha256 and kept.sha256 != sha256:
            when = time.strftime("%Y-%m-%d", time.gmtime(kept.answer.fetched_at_s))
            raise ContentChanged(url=without_secrets(url), recorded=kept.sha256, recorded_at=when, actual=sha256)

    def check_trust(self, url: str, stated: Mapping[str, str]) -> None:
        """Refuse what nothing says the content of: when frozen; where hashes are required, unless one is stated."""
        self._check_is_stated(url, stated)
        if self._settings.frozen and not is_strong(stated) and not url.startswith("file:"):
            kept = self._kept(url)
            if not (kept and kept.sha256):
                raise NotTrusted(url=without_secrets(url), where=self._settings.origins.get("frozen", ""))

    def _check_is_stated(self, url: str, stated: Mapping[str, str]) -> None:
        if self._settings.require_hashes and not is_strong(stated):
            where = self._settings.origins.get("require_hashes", "")
            raise RefusedByPolicy(what=f"{without_secrets(url)} without a hash", rule="require_hashes", where=where)

    def _is_fresh(self, kept: Kept) -> bool:
        expiry = kept.answer.fetched_at_s + self._settings.freshness_s
        if not self._settings.offline and (self._settings.refresh or time.time() > expiry):
            return False
        self._is_fresh_until(expiry)
        return True

    def _fresh_sha256(self, url: str) -> str | None:
        kept = self._kept(url)
        return kept.sha256 if kept and self._is_fresh(kept) else None

    def _note_url(
        self,
        url: str,
        sha256: str = "",
        *,
        commit: str = "",
        size_bytes: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        body = json.dumps({"sha256": sha256, "commit": commit, "size_bytes": size_bytes}).encode()
        # How long the note counts is ours to say (freshness_s), so of the headers only the validators are kept.
        validators = {name: value for name, value in (headers or {}).items() if name in ("etag", "last-modified")}
        self._store.write_answer("urls", url, body, validators, without_secrets(url))
        if not url.startswith("file:") and not is_commit(url.rpartition("@")[2]):
            self._is_fresh_until(time.time() + self._settings.freshness_s)


def _chunks_of(source: Source, most_bytes: int) -> Iterator[bytes]:
    """Yield the local file's contents. Raises InvalidSource where it can't be read."""
    try:
        with open_regular(Path(source.url)) as file:
            if os.fstat(file.fileno()).st_size > most_bytes:
                raise InvalidSource(source=source.url[:200], reason=f"it is larger than {most_bytes} bytes")
            yield from chunks_of(file)
    except (OSError, ValueError) as error:  # the latter for a NUL in it
        reason = getattr(error, "strerror", None) or "it is no path"
        raise InvalidSource(source=source.url[:200], reason=reason) from error
