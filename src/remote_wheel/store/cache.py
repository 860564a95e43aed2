"""The store's rooms: archives, images, trees, pages, metadata and boot records. docs/reference/store.md draws them."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from remote_wheel.errors import StoreError
from remote_wheel.mounts import leases
from remote_wheel.spec.pieces import crc_of, pieces
from remote_wheel.store.files import Buffer, Disk, Manifest, Staged, load_manifest, token_of
from remote_wheel.store.strict import check_ours

_TAG: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder is a cache of remote_wheel and can be deleted at any time; see https://bford.info/cachedir/\n"
)
_HEAD_BYTES: Final = 64 * 1024  # URLs and headers of one answer
_ROOMS: Final = ("archives", "images", "trees", "pages", "listings", "metadata", "urls", "boot", "locks", "children")


class StoredAnswer(NamedTuple):
    """What a server said, kept for revalidation and for times without a network. Times in seconds since the epoch."""

    url: str
    content_type: str
    etag: str
    last_modified: str
    fetched_at_s: float
    max_age_s: float | None
    sha256: str
    is_found: bool = True


class Store:
    """One cache folder. Every method that writes is safe beside other threads and processes.

    *files* does it: by default on the disk; a store.memory.Memory keeps what is made in this process.
    """

    def __init__(self, folder: Path, version: str, files: Disk | None = None) -> None:
        folder = folder.absolute()
        self.files = files or Disk()
        self.folder = folder
        self._root = folder / version
        self._root_text = str(self._root)
        self.files.make_folder(folder, is_first=True)
        if self.files.keeps and not (folder / "CACHEDIR.TAG").exists():
            self.files.write(folder / "CACHEDIR.TAG", _TAG)
        for folder_of_ours in (self._root, *(self._root / room for room in _ROOMS)):
            self.files.make_folder(folder_of_ours)

    @property
    def keeps(self) -> bool:
        """Whether others find what is made, and have a folder for what must be unpacked."""
        return self.files.keeps

    def is_there(self) -> bool:
        """Whether the folder still is where it was made."""
        return self.files.is_folder(self._root)

    @property
    def root(self) -> Path:
        """The folder of this version of the layout."""
        return self._root

    def room(self, name: str) -> Path:
        """Return the folder of one kind of files."""
        return self._root / name

    def rooms(self) -> list[Path]:
        """Return all folders that files are written in."""
        folders = [self._root / room for room in _ROOMS]
        inner = (file.path for file in self.files.list(self._root / "images"))
        return [self.folder, self._root, *folders, *(path for path in inner if self.files.is_folder(path))]

    def last_pruned_s(self) -> float:
        """Return when somebody last looked for what may go, in seconds since the epoch; 0 where nobody did."""
        try:
            return (self._root / "pruned").stat().st_mtime
        except OSError:
            return 0.0

    def note_pruned(self) -> None:
        """Note that somebody looks now."""
        self.files.write(self._root / "pruned", b"", is_durable=False)

    def _check_is_there(self) -> None:
        if not self.is_there():  # nothing is to come back that somebody did away with
            raise StoreError(path=str(self._root), reason="somebody has deleted it")

    def _place(self, room: str, name: str) -> str:
        """Return where *name* is in *room*; as text, for a resolution asks hundreds of times."""
        return f"{self._root_text}{os.sep}{room}{os.sep}{_key(name)}"

    # --- archives: the bytes as they were fetched, named by their digest -------------------------------------

    def open_archive(self, sha256: str) -> memoryview | None:
        """Map the archive with that digest; it is hashed again, and a damaged one counts as not there."""
        view = self.files.map(self.archive_path(sha256))
        if view is None:
            return None
        hasher = hashlib.sha256()
        for piece in pieces(view):
            hasher.update(piece)
        return view if hasher.hexdigest() == sha256 else None

    def new_archive(self) -> AbstractContextManager[Staged]:
        """Return the context of a file to receive an archive into; it is kept under the digest given as `keep_as`."""
        return self.files.staged(self._root / "archives", "incoming")

    def archive_path(self, sha256: str) -> Path:
        """Return where the archive with that digest is, if it is there. Raises StoreError for what is no SHA-256."""
        if not re.fullmatch("[0-9a-f]{64}", sha256):  # whoever stated it, no path is made of anything else
            raise StoreError(path=str(self._root / "archives"), reason=f"{sha256[:80]!r} is no SHA-256")
        return self._root / "archives" / sha256

    def has_archive(self, sha256: str) -> bool:
        """Whether there is one of that digest, damaged or not."""
        return self.files.is_file(self.archive_path(sha256))

    def hold(self, sha256: str) -> None:
        """Have nobody remove an archive, and what is made of it, while this process lives. Raises StoreError."""
        if not self.keeps:
            return
        try:
            leases.hold_for_making(self._root_text, sha256)
        except OSError as error:
            reason = f"another process has held what is of {sha256[:12]}… for itself for too long; it may have stopped"
            raise StoreError(path=os.path.join(self._root_text, leases.NAME), reason=reason) from error

    # --- images and trees: what mounting needs ---------------------------------------------------------------

    def image_path(self, key: str, interpreter: str) -> Path:
        """Return where the image of archive *key* is for an interpreter's cache tag and optimisation."""
        room = self._root / "images" / interpreter
        self._check_is_there()
        self.files.make_folder(room)
        return room / f"{key}.zip"

    def map_image(self, path: Path) -> memoryview | None:
        """Map the image at *path*, None where there is none."""
        return self.files.map(path)

    def tree_path(self, key: str) -> Path:
        """Return where archive *key* is unpacked."""
        return self._root / "trees" / key

    def has_tree(self, key: str) -> bool:
        """Whether it is unpacked, wholly or not."""
        return self.files.is_folder(self.tree_path(key))

    @contextmanager
    def new_image(self, path: Path) -> Iterator[BinaryIO]:
        """Yield a file that becomes the image at *path*."""
        with self.files.staged(path.parent, path.name) as new:
            yield new.file
            new.keep_as = path.name

    def unpack(
        self, key: str, files: Mapping[str, bool], chunks: Callable[[str], Iterable[Buffer]], *, may_wait: bool = True
    ) -> Path:
        """Write *files* (path → whether executable), made of *chunks*, into a folder of their own and return it.

        A whole one that is there is kept, another replaced. Paths are a verified archive's, so below it. Raises
        LockIsHeld where somebody else does so just now, and the caller *may* not *wait*.
        """
        tree = self.tree_path(key)
        with self.lock(tree_lock(key), may_wait=may_wait):  # interpreters that make images of their own share the tree
            if self.is_tree_whole(key):
                self.files.sync_tree(tree)  # who mounted it first did not wait for that
            else:
                self.files.make_tree(tree, files, chunks, _manifest(tree))
        return tree

    def manifest(self, key: str) -> Manifest | None:
        """Return size, CRC-32 and token of each file of the unpacked *key*, None where they can't be read."""
        return load_manifest(self.files.read(_manifest(self.tree_path(key))) or b"")

    def is_tree_whole(self, key: str) -> bool:
        """Whether archive *key* is unpacked, each file what it was: by its token or, where that differs, read."""
        tree, made = self.tree_path(key), self.manifest(key)
        if made is None:
            return False
        renewed: Manifest = {}
        try:
            check_ours(tree, os.lstat(tree))
            for path, (size, crc, token) in made.items():
                found = token_of(os.lstat(tree / path))
                if found != token and not self._is_file_whole(tree / path, size, crc):
                    return False
                renewed[path] = size, crc, found
        except (OSError, StoreError):
            return False
        if renewed != made:
            self.files.renew_manifest(_manifest(tree), renewed)
        return True

    def _is_file_whole(self, path: Path, size: int, crc: int) -> bool:
        data = self.files.map(path) if size else b""
        return data is not None and not path.is_symlink() and (len(data), crc_of(data)) == (size, crc)

    def publish(self, path: Path) -> BinaryIO | None:
        """Return a new file at *path* for others to read while it is written; None where somebody else has begun it."""
        return self.files.append(path)

    def withdraw(self, path: Path) -> None:
        """Remove what was published at *path*; who reads it has it open."""
        self.files.remove(path)

    def discard(self, image: Path, key: str) -> None:
        """Forget an image and its tree, because something of them turned out to be damaged."""
        self.files.remove(image.with_suffix(".facts"))
        self.files.remove(_manifest(self.tree_path(key)))

    def read_facts(self, image: Path) -> dict[str, Any] | None:
        """Return what was noted of the archive when its image was made; None where either is not there or not whole."""
        data = self.files.read(image.with_suffix(".facts"))
        digest, _, body = (data or b"").partition(b"\n")
        if not self.files.is_file(image) or hashlib.sha256(body).hexdigest() != digest.decode("ascii", "replace"):
            return None
        facts: dict[str, Any] = json.loads(body)
        return facts

    def write_facts(self, image: Path, facts: Mapping[str, Any]) -> None:
        """Note *facts* (JSON values) of the archive; written after its image, so they say that it is done."""
        body = json.dumps(facts).encode()
        self.files.write(image.with_suffix(".facts"), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    # --- answers of servers ----------------------------------------------------------------------------------

    def read_answer(self, room: str, url: str) -> tuple[StoredAnswer, bytes] | None:
        """Return what was kept of *url* in *room*; a damaged entry counts as not there."""
        head, _, body = (self.files.read(self._place(room, url)) or b"").partition(b"\n")
        answer = _parse_head(head)
        return (answer, body) if answer and hashlib.sha256(body).hexdigest() == answer.sha256 else None

    def is_answer_whole(self, path: Path) -> bool:
        """Whether the file of an answer has the digest it was written with."""
        head, _, body = (self.files.read(path) or b"").partition(b"\n")
        answer = _parse_head(head)
        return answer is not None and hashlib.sha256(body).hexdigest() == answer.sha256

    def is_note_whole(self, path: Path) -> bool:
        """Whether the file of a note has the digest it was written with."""
        digest, _, body = (self.files.read(path) or b"").partition(b"\n")
        return hashlib.sha256(body).hexdigest().encode() == digest

    def read_head(self, room: str, url: str) -> StoredAnswer | None:
        """Return what is known of the answer, its body unread and unchecked."""
        line = self.files.read_line(self._place(room, url), _HEAD_BYTES)
        return None if line is None else _parse_head(line)

    def token_of(self, room: str, url: str) -> tuple[int, ...] | None:
        """Return what tells the file of an answer from one that took its place; None where there is none."""
        return self.files.token(self._place(room, url))

    def write_answer(
        self, room: str, key_url: str, body: bytes, headers: Mapping[str, str], url: str, *, is_found: bool = True
    ) -> StoredAnswer:
        """Keep what a server answered to *key_url*; *url* is where redirects led, already redacted."""
        directives = _cache_control(headers.get("cache-control", ""))
        answer = StoredAnswer(
            url=url,
            content_type=headers.get("content-type", ""),
            etag=headers.get("etag", ""),
            last_modified=headers.get("last-modified", ""),
            fetched_at_s=time.time(),
            max_age_s=_max_age(directives),
            sha256=hashlib.sha256(body).hexdigest(),
            is_found=is_found,
        )
        if "no-store" not in directives:  # RFC 9111 section 5.2.2.5
            self._write_answer(room, key_url, answer, body)
        return answer

    def renew_answer(self, room: str, key_url: str, headers: Mapping[str, str]) -> StoredAnswer | None:
        """Note that the server says (304) that what is kept still holds: its age is new (RFC 9111 section 4.3.4).

        None where what is kept turns out to be damaged or gone.
        """
        kept = self.read_answer(room, key_url)
        if kept is None:
            return None
        answer, body = kept
        given = headers.get("cache-control")
        renewed = answer._replace(
            etag=headers.get("etag", answer.etag),
            fetched_at_s=time.time(),
            max_age_s=answer.max_age_s if given is None else _max_age(_cache_control(given)),
        )
        self._write_answer(room, key_url, renewed, body)
        return renewed

    def _write_answer(self, room: str, key_url: str, answer: StoredAnswer, body: bytes) -> None:
        data = json.dumps(answer._asdict()).encode() + b"\n" + body
        # What a URL was when it was trusted first can't be had again.
        self.files.write(self._place(room, key_url), data, is_durable=room == "urls")

    # --- notes: what was made of answers, so that it need not be made again ------------------------------------

    def read_note(self, room: str, key: str) -> bytes | None:
        """Return what was noted under *key*, checked by the digest it was kept with; a damaged one is not there."""
        digest, _, body = (self.files.read(self._place(room, key)) or b"").partition(b"\n")
        return body if hashlib.sha256(body).hexdigest() == digest.decode("ascii", "replace") else None

    def write_note(self, room: str, key: str, body: bytes) -> None:
        """Note *body* under *key*."""
        digest = hashlib.sha256(body).hexdigest().encode()
        self.files.write(self._place(room, key), digest + b"\n" + body, is_durable=False)

    def write_record(self, key: str, data: bytes) -> None:
        """Write the boot record *key*."""
        self.files.write(self._root / "boot" / key, data)

    def lock_path(self, name: str) -> Path:
        """Return the file that the lock on making *name* is."""
        return self._root / "locks" / f"{_key(name)}.lock"

    def lock(self, name: str, *, may_wait: bool = True) -> AbstractContextManager[None]:
        """Return the context of the lock on making *name*, between processes and threads; waits for who has it.

        If it may not, it raises LockIsHeld.
        """
        self._check_is_there()
        return self.files.lock(self.lock_path(name), may_wait=may_wait)


def _parse_head(line: bytes) -> StoredAnswer | None:
    try:
        return StoredAnswer(**json.loads(line))
    except (ValueError, TypeError):
        return None


def tree_lock(key: str) -> str:
    """Return the name of the lock on unpacking archive *key*."""
    return f"tree {key}"


def _manifest(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}.files")


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _cache_control(header: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in header.lower().split(","))
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs if name.strip()}


def _max_age(directives: Mapping[str, str]) -> float | None:
    if "no-cache" in directives or "no-store" in directives:
        return 0.0
    try:
        return max(0.0, float(directives["max-age"]))
    except (KeyError, ValueError):
        return None
