"""Archives on their way in: fetched once for all processes, hashed as they come, verified before they are kept."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from remote_wheel.errors import DigestMismatch, InvalidSource, NotCached
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.ranges import IDENTITY
from remote_wheel.settings import Settings
from remote_wheel.spec.digest import Hasher, check_digests, is_strong
from remote_wheel.spec.source import Source
from remote_wheel.store.cache import Store
from remote_wheel.store.files import Staged
from remote_wheel.verify.tree import verify_module, verify_tree
from remote_wheel.verify.wheel import Verified, verify_wheel


class HashingSink:
    """A fetch.port.Sink that hashes what it passes on."""

    def __init__(
        self, staged: Staged, digests: Mapping[str, str], received: Callable[[int], None] = lambda _: None
    ) -> None:
        self._staged, self._digests, self._received = staged, digests, received
        self.restart()

    def restart(self) -> None:
        """Start over."""
        self._staged.restart()
        self.hasher = Hasher(self._digests)
        self._count = 0

    def write(self, chunk: bytes) -> None:
        """Hash and pass on."""
        self.hasher.update(chunk)
        self._staged.file.write(chunk)
        self._count += len(chunk)
        self._received(self._count)


class Archives:
    """Get archives by URL or from the store, verified."""

    def __init__(self, settings: Settings, store: Store, client: Client) -> None:
        self._settings, self._store, self._client = settings, store, client
        self.fresh_until_s = float("inf")

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
    ) -> Verified:
        """Return the index's wheel at *url*: from the store if its SHA-256 is there, else fetched, once.

        Raises FetchError, VerificationError, InvalidMetadata or NotCached.
        """
        known = digests.get("sha256") or self._fresh_sha256(url)
        with self._store.lock(f"archive {known or url}"):
            known = digests.get("sha256") or self._fresh_sha256(url)
            if known and (found := self._from_store(known, filename, digests, metadata_digests)):
                return found
            if self._settings.offline and not url.startswith("file:"):
                stem = "==".join(filename.split("-")[:2])
                raise NotCached(what=filename, way=f"remote-wheel prefetch '{stem}'")
            with self._store.new_archive() as incoming:
                sink = self.sink(incoming, digests, received)
                self._client.fetch(
                    url,
                    headers=IDENTITY,
                    max_bytes=self._settings.limits.download_bytes,
                    sink=sink,
                    is_held_by_hash=is_strong(digests),
                )
                return self.finish_wheel(incoming, sink, filename, url, digests, metadata_digests or {})

    def finish_wheel(
        self,
        incoming: Staged,
        sink: HashingSink,
        filename: str,
        url: str,
        digests: Mapping[str, str],
        metadata_digests: Mapping[str, str],
    ) -> Verified:
        """Verify a wheel that has come in whole from *url*, and have it kept."""
        sink.hasher.check(digests, subject=filename, stated_by="the index")
        sha256 = sink.hasher.sha256
        verified = verify_wheel(
            incoming.contents(),
            filename=filename,
            sha256=sha256,
            limits=self._settings.limits,
            metadata_digests=metadata_digests,
        )
        incoming.keep_as = sha256
        if "sha256" not in digests:
            self._note_url(url, sha256)
        return verified

    def source(self, source: Source, sha256: str | None) -> Verified:
        """Return the archive or module of *source*, held to *sha256* and the digests of its URL where stated."""
        stated = dict(source.digests)
        if sha256:
            if stated.get("sha256", sha256) != sha256:
                raise DigestMismatch(
                    subject=source.shown, stated_by="sha256=", expected=sha256, actual=stated["sha256"]
                )
            stated["sha256"] = sha256
        if source.is_local:
            return self._local(source, stated)
        known = stated.get("sha256") or self._fresh_sha256(source.url)
        with self._store.lock(f"archive {known or source.url}"):
            view = self._store.open_archive(known) if known else None
            if known and view is not None:
                check_digests(view, stated, subject=source.shown, stated_by="you")
                return self._verify(source, view, known)
            if self._settings.offline:
                raise NotCached(what=source.shown, way="mount it once while online.")
            with self._store.new_archive() as incoming:
                sink = self.sink(incoming, stated)
                self._client.fetch(
                    source.url,
                    headers=IDENTITY,
                    max_bytes=self._settings.limits.download_bytes,
                    sink=sink,
                    is_held_by_hash=is_strong(stated),
                )
                sink.hasher.check(stated, subject=source.shown, stated_by="you")
                verified = self._verify(source, incoming.contents(), sink.hasher.sha256)
                incoming.keep_as = verified.sha256
            if "sha256" not in stated:
                self._note_url(source.url, verified.sha256)
            return verified

    # --- how -----------------------------------------------------------------------------------------------------

    def _from_store(
        self,
        sha256: str,
        filename: str,
        digests: Mapping[str, str],
        metadata_digests: Mapping[str, str] | None,
    ) -> Verified | None:
        view = self._store.open_archive(sha256)
        if view is None:
            return None
        check_digests(view, digests, subject=filename, stated_by="the index")
        return verify_wheel(
            view,
            filename=filename,
            sha256=sha256,
            limits=self._settings.limits,
            metadata_digests=metadata_digests,
        )

    def _local(self, source: Source, stated: Mapping[str, str]) -> Verified:
        try:
            data = Path(source.url).read_bytes()
        except OSError as error:
            raise InvalidSource(source=source.url, reason=error.strerror or str(error)) from error
        hasher = Hasher(stated)
        hasher.update(data)
        hasher.check(stated, subject=source.url, stated_by="you")
        verified = self._verify(source, memoryview(data), hasher.sha256)
        if self._store.open_archive(hasher.sha256) is None:
            with self._store.new_archive() as incoming:
                incoming.file.write(data)
                incoming.keep_as = hasher.sha256
        return verified

    def _verify(self, source: Source, data: memoryview, sha256: str) -> Verified:
        limits = self._settings.limits
        if source.kind == "wheel":
            return verify_wheel(data, filename=source.filename, sha256=sha256, limits=limits)
        if source.kind == "module":
            return verify_module(bytes(data), filename=source.filename, sha256=sha256)
        return verify_tree(
            data, filename=source.filename, sha256=sha256, limits=limits, subdirectory=source.subdirectory
        )

    def _fresh_sha256(self, url: str) -> str | None:
        """Return the digest that *url* had, while that is fresh; a local file is read each time."""
        kept = self._store.read_answer("urls", url)
        if kept is None or url.startswith("file:"):
            return None
        expiry = kept[0].fetched_at_s + self._settings.freshness_s
        if not self._settings.offline and (self._settings.refresh or time.time() > expiry):
            return None
        self.fresh_until_s = min(self.fresh_until_s, expiry)
        return str(json.loads(kept[1])["sha256"])

    def _note_url(self, url: str, sha256: str) -> None:
        body = json.dumps({"sha256": sha256}).encode()
        self._store.write_answer("urls", url, body, {}, "")
        if not url.startswith("file:"):
            self.fresh_until_s = min(self.fresh_until_s, time.time() + self._settings.freshness_s)
