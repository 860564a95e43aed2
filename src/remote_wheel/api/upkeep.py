"""What is in the store, what of it is damaged, and what may go: the least recently used, never what a process uses."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from remote_wheel.errors import StoreError
from remote_wheel.mounts import boot, leases
from remote_wheel.mounts.image import DamagedImage, Image, is_of_another_form
from remote_wheel.settings import Settings
from remote_wheel.spec.amounts import parse_age, parse_budget, parse_size, shown_age, shown_size
from remote_wheel.spec.pieces import crc_of
from remote_wheel.store.cache import Store
from remote_wheel.store.files import StoredFile, failure

__all__ = ["Removed", "Survey", "Upkeep", "open_store", "parse_age", "parse_size", "shown_age", "shown_size"]

_DIGEST: Final = 64  # hex digits that names of what belongs to an archive begin with
_BEING_MADE_S: Final = 3600.0  # as old is what nobody will finish
_BETWEEN_CHECKS_S: Final = 86_400.0


@dataclass(slots=True, kw_only=True)
class Held:
    """An archive and all that was made of it. `records` are the boot records that mount it."""

    sha256: str
    name: str = ""
    version: str = ""
    size_bytes: int = 0
    last_used_s: float = 0.0
    paths: list[Path] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is: archives, and answers of servers and the like, which can be had again."""

    held: Sequence[Held]
    answers: Sequence[StoredFile]  # boot records among them

    @property
    def size_bytes(self) -> int:
        """The size of all."""
        return sum(each.size_bytes for each in self.held) + sum(each.size_bytes for each in self.answers)


@dataclass(slots=True, kw_only=True)
class Removed:
    """What was removed, and what was not because a process uses it."""

    size_bytes: int = 0
    archives: list[Held] = field(default_factory=list)
    in_use: list[Held] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what it was, and what to remove of the store so that it is made, or fetched, again."""

    path: Path
    reason: str
    remedy: tuple[Path, ...]


def open_store(cache: str) -> Store:
    """Return the store of a cache folder. Raises StoreError where it can't be used."""
    return Store(Path(cache), boot.STORE_VERSION)


class Upkeep:
    """Looks after one store."""

    def __init__(self, store: Store) -> None:
        self._store, self._files = store, store.files

    def survey(self) -> Survey:
        """Return what is there, the least recently used first."""
        held: dict[str, Held] = {}

        def of(sha256: str) -> Held:
            return held.setdefault(sha256, Held(sha256=sha256))

        answers = [file for room in ("pages", "listings", "metadata", "children") for file in self._list(room)]
        for file in self._list("boot"):
            answers.append(file)  # each goes by its own age: an edit of a settings file leaves one that nobody finds
            record = boot.load_record(self._files.read(file.path) or b"")
            for entry in record.get("mounts", ()) if record else ():
                one = of(entry["sha256"])
                one.name, one.version = entry["name"] or entry["filename"], entry["version"]
                one.records.append(file.path)
                one.last_used_s = max(one.last_used_s, file.modified_s)
        for file in (*self._list("archives"), *self._list("trees"), *self._images()):
            if _is_digest(file.path.name):
                one = of(file.path.name[:_DIGEST])
                one.paths.append(file.path)
                one.size_bytes += file.size_bytes
                if not one.records:  # made for a request that is under way, or left over
                    one.last_used_s = max(one.last_used_s, file.modified_s)
                if file.path.suffix == ".facts" and not one.name and (facts := self._facts(file.path)):
                    one.name, one.version = facts["name"] or facts["filename"], facts["version"]
        return Survey(
            held=sorted(held.values(), key=lambda one: one.last_used_s),
            answers=sorted(answers, key=lambda file: file.modified_s),
        )

    def prune(self, *, older_than_s: float | None, max_bytes: int | None, now_s: float) -> Removed:
        """Remove what was not used for *older_than_s* seconds, then the least recently used until all fits."""
        removed = Removed()
        with self._leases() as take:
            survey = self.survey()
            answers = list(survey.answers)
            if older_than_s is not None:
                for one in survey.held:  # a start notes the use of a record once a day
                    if now_s - one.last_used_s > older_than_s + (_BETWEEN_CHECKS_S if one.records else 0):
                        self._remove(one, take, removed)
                for file in _unused(survey.answers, removed):
                    used_s = _BETWEEN_CHECKS_S if file.path.parent.name == "boot" else 0  # noted once a day
                    if now_s - file.modified_s > older_than_s + used_s:
                        self._remove_file(file, removed)
                        answers.remove(file)
            if max_bytes is not None:
                left = survey.size_bytes - removed.size_bytes
                seen = {one.sha256 for one in (*removed.archives, *removed.in_use)}
                for one in survey.held:
                    if left > max_bytes and one.sha256 not in seen:
                        left -= self._remove(one, take, removed)
                for file in _unused(answers, removed):
                    if left > max_bytes:
                        left -= self._remove_file(file, removed)
        self.sweep(now_s)
        return removed

    def clean(self, projects: Iterable[str] | None, *, now_s: float) -> Removed:
        """Remove all that is of *projects*; without any, all there is but what a process uses."""
        wanted = None if projects is None else {canonicalize_name(name) for name in projects}
        removed = Removed()
        with self._leases() as take:
            survey = self.survey()
            for one in survey.held:
                if wanted is None or canonicalize_name(one.name) in wanted:
                    self._remove(one, take, removed)
            if wanted is None:
                for file in (*_unused(survey.answers, removed), *self._list("urls")):
                    self._remove_file(file, removed)
        self.sweep(now_s)
        return removed

    def sweep(self, now_s: float) -> None:
        """Remove what processes that are dead have left half written, and locks that nobody holds."""
        for room in self._store.rooms():
            for file in self._files.list(room):
                if _is_staging(file.path.name) and _is_left_over(file, now_s):
                    self._files.remove_all(file.path)
        for file in self._list("locks"):
            if now_s - file.modified_s > _BETWEEN_CHECKS_S:
                self._files.remove_lock(file.path)

    def damages(self) -> Iterator[Damage]:
        """Yield what is not as it was written: every file is read."""
        for file in self._list("archives"):
            if _is_digest(file.path.name) and self._store.open_archive(file.path.name) is None:
                yield Damage(file.path, "its digest is another one", (file.path,))
        for file in self._images():
            yield from self._damages_of_image(file.path)
        for file in self._list("trees"):
            if file.path.suffix == ".files":
                yield from self._damages_of_tree(file.path)
            elif not self._files.is_file(file.path.with_name(f"{file.path.name}.files")):
                yield Damage(file.path, "nothing says what it should be", (file.path,))
        for rooms, is_whole in (
            (("pages", "urls"), self._store.is_answer_whole),
            (("listings", "metadata"), self._store.is_note_whole),
            (("boot",), self._is_record_whole),
        ):
            for file in (each for room in rooms for each in self._list(room)):
                if not is_whole(file.path):
                    yield Damage(file.path, "it is not what its digest is of", (file.path,))

    def repair(self, damage: Damage) -> bool:
        """Remove what is damaged, and what was made of it: it counts as missing, and is made again.

        False where a process uses it: what that has open is what it is.
        """
        with self._leases() as take:
            name = damage.remedy[0].name
            if _is_digest(name) and not take(name[:_DIGEST]):
                return False
            for path in damage.remedy:
                self._files.remove_all(path)
        return True

    def keep_to_budget(self, settings: Settings) -> None:
        """Prune down to the budget, at most once a day."""
        budget, now_s = parse_budget(settings.max_cache_size), time.time()
        if budget is None or self._store.last_pruned_s() + _BETWEEN_CHECKS_S > now_s:
            return
        self._store.note_pruned()
        if self.survey().size_bytes > budget:
            self.prune(older_than_s=None, max_bytes=budget, now_s=now_s)
        else:
            self.sweep(now_s)

    # --- how -----------------------------------------------------------------------------------------------------

    def _list(self, room: str) -> list[StoredFile]:
        return self._below(self._store.room(room))

    def _images(self) -> list[StoredFile]:
        return [file for folder in self._list("images") for file in self._below(folder.path)]

    def _below(self, folder: Path) -> list[StoredFile]:
        """Return what is in *folder*, but for what is being written."""
        return [file for file in self._files.list(folder) if not file.path.name.startswith(".")]

    def _facts(self, path: Path) -> Mapping[str, Any] | None:
        return self._store.read_facts(path.with_suffix(".zip"))

    def _leases(self) -> "_Leases":
        return _Leases(str(self._store.root))

    def _remove(self, one: Held, take: Callable[[str], bool], removed: Removed) -> int:
        """Remove an archive and all of it, if nobody uses it; return how many bytes went."""
        if not take(one.sha256):
            removed.in_use.append(one)
            return 0
        try:
            # What says that it is there goes first, so that a crash leaves nothing that counts as whole.
            for path in (*one.records, *sorted(one.paths, key=_order)):
                self._files.remove_all(path)
        except StoreError:
            if os.name != "nt":
                raise
            removed.in_use.append(one)  # which Windows says by that
            return 0
        removed.archives.append(one)
        removed.size_bytes += one.size_bytes
        return one.size_bytes

    def _remove_file(self, file: StoredFile, removed: Removed) -> int:
        self._files.remove(file.path)
        removed.size_bytes += file.size_bytes
        return file.size_bytes

    def _is_record_whole(self, path: Path) -> bool:
        data = self._files.read(path) or b""
        return boot.is_of_another_form(data) or boot.load_record(data) is not None

    def _damages_of_image(self, path: Path) -> Iterator[Damage]:
        if path.suffix == ".facts" and self._facts(path) is None:
            yield Damage(path, "it is not what its digest is of, or its image is gone", (path,))
        if path.suffix == ".zip" and not self._is_image_whole(path):
            yield Damage(path, "a checksum in it is wrong", (path.with_suffix(".facts"), path))

    def _is_image_whole(self, path: Path) -> bool:
        data, facts = self._store.map_image(path), self._facts(path)
        try:
            if data is None or not (facts is None or facts.get("image_crc") in (None, crc_of(data))):
                return False
            return is_of_another_form(data) or Image(str(path), data).is_whole()
        except DamagedImage:
            return False

    def _damages_of_tree(self, manifest: Path) -> Iterator[Damage]:
        tree = manifest.with_suffix("")
        sizes = self._store.manifest(tree.name)
        if sizes is None:
            yield Damage(manifest, "it can't be read", (manifest, tree))
            return
        if not self._files.is_folder(tree):  # to come, and who was to make it has died: it counts as missing
            return
        for name, (size, crc, _token) in sizes.items():
            data = self._files.map(tree / name) or b""
            is_there = self._files.is_file(tree / name)
            if not is_there or (len(data), crc_of(data)) != (size, crc):
                yield Damage(tree / name, "it is not what was unpacked", (manifest, tree))
                return


class _Leases:
    """The file of leases, open for taking archives for oneself; what was taken is given back at the end."""

    def __init__(self, store: str) -> None:
        self._place, self._taken = store, ""

    def _take(self, sha256: str) -> bool:
        """Take one, and let go of the one before: what is removed at a time is one."""
        if self._taken:
            leases.give_back(self._descriptor, self._taken)
        self._taken = sha256 if leases.is_free(self._descriptor, sha256) else ""
        return bool(self._taken)

    def __enter__(self) -> Callable[[str], bool]:
        try:
            self._descriptor = leases.open_leases(self._place)
        except OSError as error:
            raise failure(self._place, error) from error
        return self._take

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _unused(files: Iterable[StoredFile], removed: Removed) -> list[StoredFile]:
    """Return *files* without the records of what turned out to be in use, which start it once more."""
    used = {path for one in removed.in_use for path in one.records}
    return [file for file in files if file.path not in used]


def _is_digest(name: str) -> bool:
    return len(name) >= _DIGEST and not name.startswith(".") and all(c in "0123456789abcdef" for c in name[:_DIGEST])


def _order(path: Path) -> int:
    """Sort what says that something is whole before that: facts, manifests, the rest; what may be mapped before all."""
    if os.name == "nt" and path.suffix == ".zip":
        return -1
    return {".facts": 0, ".files": 1}.get(path.suffix, 2)


def _is_staging(name: str) -> bool:
    return name.startswith(".") and name.endswith((".tmp", ".tmp.files"))


def _is_left_over(file: StoredFile, now_s: float) -> bool:
    """Whether a file or folder with a staging name (``.name.PID.random.tmp``) will not be finished by anybody."""
    age_s = now_s - file.modified_s
    _, _, rest = file.path.name.removesuffix(".files").rpartition(".")[0].rpartition(".")[0].rpartition(".")
    is_dead = rest.isdecimal() and not _is_alive(int(rest))
    return age_s > (_BEING_MADE_S if is_dead else _BETWEEN_CHECKS_S)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
