"""Verified distributions become images and trees in the store, once for all processes."""

import hashlib
import marshal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import Error as ConfigParserError
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, BinaryIO

from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.api.catalog import Progress
from remote_wheel.errors import InvalidMetadata, MustBeUnpacked, NothingToUnpackTo
from remote_wheel.mounts.image import LEAN, MODULE, PACKAGE, DamagedImage, Image
from remote_wheel.mounts.published import make_entry, published_path
from remote_wheel.prepare.image import (
    Compiled,
    compile_modules,
    compile_source,
    unpackable,
    without_modules,
    write_image,
)
from remote_wheel.prepare.modules import choose_module, find_modules
from remote_wheel.prepare.scan import is_native
from remote_wheel.settings import Settings
from remote_wheel.spec.pieces import crc_of
from remote_wheel.store.cache import Store, tree_lock
from remote_wheel.store.files import LockIsHeld
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.wheel import Verified

_ALL = ":all:"
_FORMAT = 7  # of what is noted of an archive; another version's notes count as missing, and are made again
# What the user chose for a project, as it stands in the keys of images and trees.
_UNPACKED, _IN_MEMORY, _IN_MEMORY_IF_IT_CAN = "-unpacked", "-memory", "-memory-all"
_IN_MEMORY_IF_NOTHING_ELSE = "-memory-only"  # nothing is kept, and so nothing unpacked


class Preparation:
    """Makes what mounting needs, for one interpreter and optimisation level.

    If it *may_be_lean*, an image that is not there is made without its code: imports compile what they need. `finish`
    makes these whole, for the next time.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        progress: Progress,
        *,
        optimize: int,
        rebuild: bool = False,
        may_be_lean: bool = False,
    ) -> None:
        self._is_rebuilt, self._rebuilt = rebuild, set[str]()
        self._may_be_lean = may_be_lean
        # By key: choice, archive, what it is without.
        self._unfinished: dict[str, tuple[str, Callable[[], Verified], tuple[str, ...]]] = {}
        self._codes: dict[str, dict[str, CodeType]] = {}  # by key and file, what was compiled of lean images
        self._store, self._progress, self._optimize = store, progress, optimize
        self._interpreter = f"{sys.implementation.cache_tag}-{optimize}"
        self._unpack, self._in_memory = _names(settings.unpack), _names(settings.in_memory)

    def entry(
        self,
        name: NormalizedName,
        version: str,
        *,
        sha256: str | None,
        planned_metadata: str | None,
        variant: str,
        verified: Callable[[], Verified],
        without: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Return the boot record's entry of an archive, its image and tree made if they are not there.

        *sha256* is the archive's if it is known before it is fetched, *planned_metadata* that of the METADATA which
        planning saw; *variant* tells apart two readings of the same bytes. *verified* gets and verifies the archive; it
        is called if something must be made, or if what was made is not what was planned, for the error that says so.
        Top-level modules that the entry is to be *without* are in neither image nor tree.
        """
        choice = self._choice(name)
        if without:
            variant += f"-without-{hashlib.sha256(' '.join(without).encode()).hexdigest()[:16]}"
        if sha256:
            self._store.hold(sha256)
        facts = self._known(f"{sha256}{choice}{variant}") if sha256 else None
        if facts and (
            (facts["name"], facts["version"]) != (name, version)
            or planned_metadata not in (None, facts["metadata_sha256"])
        ):
            facts = None
        if facts is None:
            archive = verified()
            sha256 = archive.sha256
            self._store.hold(sha256)
            key = f"{sha256}{choice}{variant}"
            with self._store.lock(f"image {self._interpreter} {key}"):
                facts = self._known(key)
                facts = facts or self._make(archive, key, choice, is_lean=self._may_be_lean, without=without)
        key = f"{sha256}{choice}{variant}"
        if facts["is_lean"]:
            self._unfinished[key] = choice, verified, without
        image = str(self._image_path(key, is_lean=facts["is_lean"]))
        root = str(self._store.tree_path(key)) if facts["reasons"] else image
        entry = {**facts, "tops": tuple(facts["tops"]), "image": image, "root": root}
        if facts["is_packed"]:
            entry["archive"] = str(self._store.archive_path(facts["sha256"]))
            entry["lock"] = str(self._store.lock_path(tree_lock(key)))
        elif facts["reasons"]:
            entry["tokens"] = self._tokens(key)
        return entry

    def _tokens(self, key: str) -> dict[str, tuple[int, ...]]:
        """Return what tells the shared libraries of an unpacked archive from others in their place."""
        made = self._store.manifest(key) or {}
        return {path: token for path, (_, _, token) in made.items() if is_native(path)}

    def finish(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return an *entry* with its image made whole; as it is where what that takes is not there any more."""
        entry = dict(entry)
        if not entry["is_lean"] or not self._store.is_there():
            return entry
        lean = Path(entry["image"])
        key = lean.name.removesuffix(LEAN)
        with self._store.lock(f"image {self._interpreter} {key}"):
            facts = self._facts(key, is_lean=False)
            if facts is None and key in self._unfinished:
                choice, verified, without = self._unfinished[key]
                facts = self._make(verified(), key, choice, is_lean=False, without=without)
        if facts is None:
            return entry
        self._store.withdraw(Path(published_path(str(lean))))
        image = str(self._image_path(key, is_lean=False))
        root = image if entry["root"] == entry["image"] else entry["root"]
        kept = {name: value for name, value in entry.items() if name not in ("archive", "lock")}
        tokens = {"tokens": self._tokens(key)} if facts["reasons"] else {}
        return {**kept, **facts, **tokens, "tops": tuple(facts["tops"]), "image": image, "root": root}

    def published(self, archive: Verified, entry: Mapping[str, Any]) -> "Publisher | None":
        """Return what compiles the modules of an *entry* that is lean, for all to use; None where it is whole."""
        key = Path(entry["image"]).name.removesuffix(LEAN)
        if not entry["is_lean"]:
            return None
        path = Path(published_path(entry["image"]))
        codes = self._codes.setdefault(key, {})
        file = self._store.publish(path)

        def unpack(may_wait: bool) -> None:
            if entry["is_packed"]:
                self._store.unpack(key, unpackable(archive), archive.chunks, may_wait=may_wait)

        return Publisher(archive, codes, entry["choices"], optimize=self._optimize, file=file, unpack=unpack)

    def _image_path(self, key: str, *, is_lean: bool) -> Path:
        return self._store.image_path(f"{key}-lean" if is_lean else key, self._interpreter)

    def _known(self, key: str) -> dict[str, Any] | None:
        """Return what is noted of an archive: of its whole image or, if that may be, of its lean one."""
        facts = self._facts(key, is_lean=False)
        return self._facts(key, is_lean=True) if facts is None and self._may_be_lean else facts

    def _choice(self, name: str) -> str:
        """Return what the user chose for *name*, fit for a key; a name counts more than all."""
        for names, choice in ((self._in_memory, _IN_MEMORY), (self._unpack, _UNPACKED)):
            if name and name in names:
                return choice
        return _UNPACKED if _ALL in self._unpack else _IN_MEMORY_IF_IT_CAN if _ALL in self._in_memory else ""

    def _facts(self, key: str, *, is_lean: bool) -> dict[str, Any] | None:
        """Return what is noted of an archive whose image (and tree, where it needs one) is there and undamaged."""
        path = self._image_path(key, is_lean=is_lean)
        facts = self._store.read_facts(path)
        if self._is_rebuilt and path.name not in self._rebuilt:
            self._rebuilt.add(path.name)
            self._store.discard(path, key)
            return None
        if facts is None or facts.get("format") != _FORMAT:
            return None
        if facts["is_packed"]:
            is_broken = self._store.has_tree(key) and not self._store.is_tree_whole(key)
            is_broken = is_broken or not (self._store.keeps or self._store.has_tree(key))  # nobody could unpack it
            if is_broken or not self._store.has_archive(facts["sha256"]):
                return None
        elif facts["reasons"] and not self._store.is_tree_whole(key):
            return None
        try:
            data = self._store.map_image(path)
            return facts if data is not None and Image(str(path), data).is_whole() else None
        except DamagedImage:
            return None

    def _make(
        self, verified: Verified, key: str, choice: str, *, is_lean: bool, without: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        self._progress.preparing(verified.filename)
        verified = without_modules(verified, without) if without else verified
        known = self._codes.setdefault(key, {})
        compiled = compile_modules(verified, optimize=self._optimize, is_lean=is_lean, known=known)
        if is_lean:
            known.update(compiled.codes)
        compiled = _override(compiled, choice if self._store.keeps else _nowhere(choice))
        path = self._image_path(key, is_lean=is_lean)
        root = self._store.tree_path(key) if compiled.reasons else path
        is_packed = bool(compiled.reasons) and is_lean and isinstance(verified.archive, Archive)
        is_packed = is_packed and not self._store.has_tree(key)  # a broken one is replaced
        is_packed = is_packed and self._store.has_archive(verified.sha256)  # somebody may have removed it just now
        if compiled.reasons and not is_packed:
            self._store.unpack(key, unpackable(verified), verified.chunks)
        with self._store.new_image(path) as file:
            write_image(compiled, file, str(root), is_packed=is_packed)
        image = self._store.map_image(path)
        metadata, table = verified.metadata, compiled.table
        facts = {
            "format": _FORMAT,
            "is_lean": is_lean,
            "is_packed": is_packed,
            "image_crc": None if image is None else crc_of(image),  # of all of it, for who verifies the store
            "name": metadata.name if metadata else "",
            "version": str(metadata.version) if metadata else "",
            "filename": verified.filename,
            "sha256": verified.sha256,
            "dist_info": verified.dist_info,
            "metadata_sha256": verified.metadata_sha256,
            "tops": table.tops,
            "namespaces": table.namespaces,
            "choices": choose_module(metadata.name if metadata else "", table),
            "scripts": dict(_scripts(verified)),
            "reasons": compiled.reasons,
            "left_out": verified.left_out,
            "ignored": _ignored(verified),
            "protected": table.protected,
            "problems": verified.problems,
            "oddities": verified.oddities,
        }
        self._store.write_facts(path, facts)
        return facts


class Publisher:
    """Compiles modules of a lean image, one by one, into *codes*, and publishes them in *file* if it is given one.

    *unpack* makes its tree.
    """

    def __init__(
        self,
        archive: Verified,
        codes: dict[str, CodeType],
        choices: Sequence[str],
        *,
        optimize: int,
        file: BinaryIO | None,
        unpack: Callable[[bool], None],
    ) -> None:
        self._archive, self._codes, self._optimize, self._file = archive, codes, optimize, file
        self._unpack, self._is_unpacked = unpack, False
        self.modules: Mapping[str, tuple[int, str]] = find_modules(archive.files).modules
        self.choices = choices

    def compile(self, key: str) -> CodeType | None:
        """Return the code of the module *key* (``flask/app``), which is published; None where it has none."""
        kind, name = self.modules[key]
        if kind not in (MODULE, PACKAGE):
            return None
        code = self._codes.get(name) or compile_source(self._archive.read(name), name, self._optimize)
        if code and name not in self._codes:
            self._codes[name] = code
            if self._file:
                self._file.write(make_entry(name, marshal.dumps(code)))
        return code

    def unpack(self, *, may_wait: bool) -> None:
        """Make the tree, if it is one that is to be unpacked, once; if it may not wait, not while another does so."""
        if not self._is_unpacked:
            with suppress(LockIsHeld):
                self._unpack(may_wait)
                self._is_unpacked = True

    def compile_rest(self) -> None:
        """Compile all that is left."""
        for key in self.modules:
            self.compile(key)

    def is_package(self, key: str) -> bool:
        """Whether the module *key* is a package."""
        return self.modules[key][0] == PACKAGE

    def close(self) -> None:
        """Publish no more."""
        if self._file:
            self._file.close()


def _names(given: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name if name == _ALL else canonicalize_name(name) for name in given)


def _nowhere(choice: str) -> str:
    """Return the choice where nothing can be unpacked."""
    return choice if choice == _IN_MEMORY else _IN_MEMORY_IF_NOTHING_ELSE


def _override(compiled: Compiled, choice: str) -> Compiled:
    """Apply what the user chose; native code can't stay in memory, and is an error only where it was named."""
    if choice == _UNPACKED:
        return compiled if compiled.reasons else compiled._replace(reasons=("you asked for it (unpack=)",))
    if choice in (_IN_MEMORY, _IN_MEMORY_IF_IT_CAN, _IN_MEMORY_IF_NOTHING_ELSE) and not compiled.native:
        return compiled._replace(reasons=())
    if choice == _IN_MEMORY_IF_NOTHING_ELSE:
        raise NothingToUnpackTo(project=compiled.verified.filename, file=compiled.native)
    if choice == _IN_MEMORY:
        raise MustBeUnpacked(
            project=compiled.verified.filename, reason=f"native code is loaded from a file: {compiled.native}"
        )
    return compiled


def _ignored(verified: Verified) -> tuple[str, ...]:
    """Return the files that an installed environment would run at the start of each interpreter, and a mount never."""
    at_start = ("sitecustomize.py", "usercustomize.py")
    names = (name for name in verified.files if "/" not in name)
    return tuple(sorted(name for name in names if name.endswith((".pth", ".start")) or name in at_start))


def _scripts(verified: Verified) -> Iterator[tuple[str, str]]:
    """Yield the console and GUI scripts (entry points specification) of a distribution as (name, object)."""
    path = f"{verified.dist_info}/entry_points.txt"
    if path not in verified.files:
        return
    parser = RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    try:
        parser.read_string(verified.read(path).decode("utf-8", "replace"))
        for group in ("console_scripts", "gui_scripts"):
            if parser.has_section(group):
                yield from ((name, value.partition("[")[0].strip()) for name, value in parser.items(group))
    except ConfigParserError as error:
        reason = f"its entry_points.txt can't be read ({str(error).splitlines()[0]})"
        raise InvalidMetadata(subject=verified.filename, reason=reason) from error
