"""Writing images: compile everything once, decide memory or disk, lay it out as mounts.image reads it."""

import _imp
import importlib.util
import marshal
import os
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import CodeType
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from remote_wheel.mounts.image import MODULE, PACKAGE, checksum, make_trailer
from remote_wheel.prepare.modules import ModuleTable, find_modules
from remote_wheel.prepare.scan import Scan, is_native, may_tell
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.wheel import Verified

if TYPE_CHECKING:
    from remote_wheel.mounts.image import MemberEntry, ModuleEntry, PackedEntry

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_UNCHECKED_HASH: Final = (1).to_bytes(4, "little")  # PEP 552: hash-based, and the source is not looked at again


NOTHING_KNOWN: Final[Mapping[str, CodeType]] = {}


class Compiled(NamedTuple):
    """A distribution's modules, compiled, and the reasons to unpack it (none: it stays in memory).

    `native` is the first file that must be one on disk.
    """

    verified: Verified
    table: ModuleTable
    codes: dict[str, CodeType]
    reasons: tuple[str, ...]
    native: str = ""


def compile_modules(
    verified: Verified, *, optimize: int, is_lean: bool = False, known: Mapping[str, CodeType] = NOTHING_KNOWN
) -> Compiled:
    """Compile every module for *optimize* (as `compile` takes it) and scan what the code needs.

    A file that does not compile (a template, Python 2) is left to raise its error when somebody imports it. If it
    *is_lean*, only what the scan has to see is compiled, and the rest when it is imported: that is most of the time.
    *known* is code, by file, that was compiled before.
    """
    table, scan = find_modules(verified.files), Scan()
    codes: dict[str, CodeType] = {}
    for path in verified.files:
        scan.add_path(path)
    entry_points = f"{verified.dist_info}/entry_points.txt"
    if entry_points in verified.files:
        scan.add_entry_points(verified.read(entry_points).decode("utf-8", "replace"))
    names = [name for kind, name in table.modules.values() if kind in (MODULE, PACKAGE)]
    if is_lean:  # one reason will do, and the least code that has one is found soonest
        names = [] if scan.is_decided else sorted(names, key=verified.size_of)
    for path in names:
        source = verified.read(path)
        if is_lean and not may_tell(source):
            continue
        code = known.get(path) or compile_source(source, path, optimize)
        if code:
            codes[path] = code
        scan.add_module(path, source, code)
        if is_lean and scan.is_decided:
            break
    return Compiled(verified=verified, table=table, codes=codes, reasons=scan.reasons, native=scan.native)


def write_image(compiled: Compiled, file: BinaryIO, root: str, *, is_packed: bool = False) -> None:
    """Write the image to the empty, seekable *file*. *root* is the path modules will be found under.

    If it *is_packed*, the image says where in the wheel the files are that are still to be unpacked to there.
    """
    verified = compiled.verified
    modules: dict[str, ModuleEntry] = {}
    members: dict[str, MemberEntry | PackedEntry] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        add = _adder(archive, file)
        if not compiled.reasons:
            for folder in sorted(compiled.table.folders):
                archive.writestr(zipfile.ZipInfo(f"{folder}/", _EPOCH), b"")
            for path in unpackable(verified):
                members[path] = add(path, verified.size_of(path), verified.chunks(path))
        if is_packed:
            for path in unpackable(verified):
                entry = _packed_entry(verified, path)
                if entry is None:  # made, not packed
                    entry = add(path, verified.size_of(path), verified.chunks(path))
                members[path] = entry
        for key, (kind, name) in compiled.table.modules.items():
            modules[key] = (kind, 0, 0, 0, name)
            if code := compiled.codes.get(name):
                # Give all code in it the name it has once mounted, for tracebacks; as importlib does for moved files.
                _imp._fix_co_filename(code, os.path.join(root, *name.split("/")))  # type: ignore[attr-defined]  # noqa: SLF001
                blob = marshal.dumps(code)
                header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + bytes(8)
                at, _, _ = add(f"{name}c", len(header) + len(blob), (header, blob))
                modules[key] = (kind, at + len(header), len(blob), checksum(blob), name)
        digests = {path: verified.sha256_of(path) for path in _executed(compiled)} if compiled.reasons else {}
        tables = []
        for name, table in (("modules", (modules, compiled.table.folders)), ("members", members), ("digests", digests)):
            data = marshal.dumps(table)
            at, size, _ = add(f".remote_wheel/{name}", len(data), (data,))
            tables.append((at, size, checksum(data)))
        archive.comment = make_trailer(*tables)


def _executed(compiled: Compiled) -> Iterator[str]:
    """Yield the files that are executed from the disk once they are unpacked: sources, and shared libraries."""
    names = {name for kind, name in compiled.table.modules.values() if kind in (MODULE, PACKAGE)}
    yield from (path for path in unpackable(compiled.verified) if path in names or is_native(path))


def unpackable(verified: Verified) -> dict[str, bool]:
    """Return the files of the import root, but for bytecode, which nobody can check, and whether each is executable.

    Stock zipimport, and FileFinder where there is no source, would run it in child processes.
    """
    files = (path for path in verified.files if not path.endswith(".pyc") and "__pycache__" not in path.split("/"))
    return {path: verified.is_executable(path) for path in files}


def without_modules(verified: Verified, names: Collection[str]) -> Verified:
    """Return *verified* without its top-level modules and packages of these *names*."""

    def is_left(path: str) -> bool:
        top, slash, _ = path.partition("/")
        return (top if slash else top.partition(".")[0]) not in names

    return verified._replace(files={path: member for path, member in verified.files.items() if is_left(path)})


def _packed_entry(verified: Verified, path: str) -> "MemberEntry | PackedEntry | None":
    name, archive = verified.files[path], verified.archive
    if isinstance(name, bytes) or not isinstance(archive, Archive):
        return None
    member = archive.members[name]
    place = (member.data_offset, member.packed_bytes, member.crc)
    return *place, member.size_bytes, member.method, member.is_executable


def _adder(
    archive: zipfile.ZipFile, file: BinaryIO
) -> "Callable[[str, int, Iterable[bytes | memoryview]], MemberEntry]":
    """Return a function that adds a stored member of a size, in chunks, and returns where and what its data is."""

    def add(name: str, size: int, chunks: Iterable[bytes | memoryview]) -> "MemberEntry":
        info = zipfile.ZipInfo(name, _EPOCH)
        info.file_size = size
        with archive.open(info, "w") as member:
            for chunk in chunks:
                member.write(chunk)
        return file.tell() - size, size, info.CRC  # stored, and a seekable file needs no descriptor behind the data

    return add


def compile_source(source: bytes, path: str, optimize: int) -> CodeType | None:
    """Return the code of a module's *source*, None where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's author's, not the user's
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=optimize)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None
    return code
