"""The binary distribution format (PEP 427 and its successors), checked in one pass."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import InvalidWheel, RecordMismatch, UnsafeArchive
from remote_wheel.settings import Limits
from remote_wheel.spec.audit import audit
from remote_wheel.spec.compressed import parse_tags
from remote_wheel.spec.digest import STRONG, check_digests
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.metadata import CoreMetadata, check_identity, parse_metadata
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.names import find_collisions, name_fault
from remote_wheel.verify.tar import TarArchive

_MUCH_BYTES: Final = 256 * 1024  # of a member: below that, threads wait for each other more than they save
_HASHERS: Final = 4
_KEPT_BYTES: Final = 24 * 1024 * 1024  # of sources that were read to be hashed and will be read to be looked through
_RECORD_BYTES: Final = 128 * 1024 * 1024  # Limits.members lines of 600 characters
# PEP 427: RECORD can't hold its own hash, and the signature files are made after it.
_UNRECORDED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")


class Verified(NamedTuple):
    """A distribution that passed. Made by verify_wheel, verify_tree and verify_module alone.

    `files` maps a path below the import root to the archive's member, or to bytes where a file was derived
    (a source tree's METADATA). `left_out` names members that are no part of the import root (scripts, headers).
    `content_sha256` is of a tree's names and contents, whatever they are packed with.
    """

    sha256: str
    filename: str
    archive: Archive | TarArchive | None
    files: Mapping[str, str | bytes]
    dist_info: str = ""
    metadata: CoreMetadata | None = None
    left_out: tuple[str, ...] = ()
    tags: frozenset[Tag] = frozenset()
    content_sha256: str = ""
    problems: tuple[tuple[str, str], ...] = ()  # of its RECORD, if the caller was lenient: (file, what)
    oddities: tuple[str, ...] = ()  # what is wrong with it and no reason to refuse it
    recorded: Mapping[str, str] = EMPTY  # member → what RECORD says its SHA-256 is, where that was compared

    def read(self, path: str) -> bytes:
        """Return the contents of the file at *path* below the import root."""
        return b"".join(self.chunks(path))

    def chunks(self, path: str) -> Iterator[bytes | memoryview]:
        """Yield the contents of the file at *path* piece by piece. Raises UnsafeArchive, after what it is about."""
        member = self.files[path]
        if isinstance(member, bytes):
            yield member
            return
        assert self.archive is not None  # a programming error: names of members without an archive
        yield from self.archive.chunks(member)

    def size_of(self, path: str) -> int:
        """Return the size of the file at *path*, in bytes."""
        member = self.files[path]
        if isinstance(member, bytes):
            return len(member)
        assert self.archive is not None  # as above
        return self.archive.members[member].size_bytes

    @property
    def metadata_sha256(self) -> str:
        """The SHA-256 of its METADATA file, empty where it has none."""
        path = f"{self.dist_info}/METADATA"
        return hashlib.sha256(self.read(path)).hexdigest() if path in self.files else ""

    def sha256_of(self, path: str) -> bytes:
        """Return the SHA-256 of the file at *path* below the import root, as RECORD has it, or computed."""
        member = self.files[path]
        stated = self.recorded.get(member) if isinstance(member, str) else None
        if stated is not None:
            return base64.urlsafe_b64decode(f"{stated}=")
        hasher = hashlib.sha256()
        for chunk in self.chunks(path):
            hasher.update(chunk)
        return hasher.digest()

    def is_executable(self, path: str) -> bool:
        """Whether the archive marks the file as executable."""
        member = self.files[path]
        return isinstance(member, str) and self.archive is not None and self.archive.members[member].is_executable


def verify_wheel(
    data: bytes | memoryview,
    *,
    filename: str,
    sha256: str,
    limits: Limits,
    metadata_digests: Mapping[str, str] | None = None,
    was_verified: bool = False,
    is_lenient: bool = False,
) -> Verified:
    """Check every rule on the wheel *data* and return it as Verified.

    *sha256* is the digest of *data*, computed (and compared with what was stated) by the caller as it received it.
    *metadata_digests* are what the index said of the METADATA file (PEP 658). If bytes of that digest *were verified*
    before, members are not hashed once more. If the caller *is lenient*, what RECORD is wrong about is told, and no
    reason to refuse the wheel. Raises VerificationError or InvalidMetadata.
    """
    name, version, tags = parse_filename(filename)
    archive = Archive(data, subject=filename, limits=limits)
    dist_info = _find_dist_info(archive, filename, name, version)
    raw_wheel = _read_required(archive, f"{dist_info}/WHEEL", filename, limits.metadata_bytes)
    stated_tags = _check_wheel_file(raw_wheel, filename)
    oddities = [*_tag_oddities(stated_tags, tags)]
    raw_metadata = _read_required(archive, f"{dist_info}/METADATA", filename, limits.metadata_bytes)
    if metadata_digests:
        check_digests(raw_metadata, metadata_digests, subject=f"METADATA of {filename}", stated_by="the index")
    metadata = parse_metadata(raw_metadata, subject=filename)
    check_identity(metadata, name, version, subject=filename)
    record, problems, is_hex = _check_record(archive, dist_info, filename, was_verified=was_verified)
    if is_hex:
        oddities.append("its RECORD has hashes in hexadecimal, where base64 should be")
    if problems and not is_lenient:
        raise RecordMismatch(subject=filename, problems=problems)
    files, left_out = _layout(archive, dist_info, filename)
    _check_places(files, filename)
    if left_out or any(path != member for path, member in files.items()):
        files[f"{dist_info}/RECORD"] = _record_of_root(record, files)
    audit("verify", filename, sha256)
    return Verified(
        sha256=sha256,
        filename=filename,
        archive=archive,
        files=files,
        dist_info=dist_info,
        metadata=metadata,
        left_out=left_out,
        tags=tags,
        problems=problems,
        oddities=tuple(oddities),
        recorded=_sha256_of_rows(record, problems),
    )


def _sha256_of_rows(rows: Mapping[str, tuple[str, str]], problems: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return by member the SHA-256 that RECORD states, of members that nothing is wrong with."""
    wrong = {name for name, _ in problems}
    return {
        name: digest.removeprefix("sha256=").rstrip("=")
        for name, (digest, _) in rows.items()
        if digest.startswith("sha256=") and name not in wrong
    }


def _tag_oddities(stated: Sequence[str], tags: frozenset[Tag]) -> Iterator[str]:
    """Yield what is odd about the tags of the WHEEL file. Those of the file's name are what installers go by.

    Tools that repair wheels or tag them anew (auditwheel, ``wheel tags``) have left many that differ.
    """
    found = set[Tag]()
    if not all(stated):
        yield "its WHEEL file has an empty tag"
    for text in filter(None, stated):
        try:
            found |= parse_tags(text)
        except ValueError:
            yield f"its WHEEL file has a tag that can't be read, {text[:80]!r}"
            return
    if found and found != tags:
        shown = ", ".join(sorted(map(str, found))[:4])
        yield f"its WHEEL file says that it is of {shown}, which is not what the file's name says"


def parse_filename(filename: str) -> tuple[NormalizedName, Version, frozenset[Tag]]:
    """Return project, version and tags of a wheel's file name; raise InvalidWheel where it has another form."""
    if "/" in filename or "\\" in filename:
        raise InvalidWheel(subject=filename, reason="its file name is a path")
    try:
        parse_tags("-".join(filename.removesuffix(".whl").split("-")[-3:]))  # their number, before all are made
        name, version, _build, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion, ValueError) as error:  # the latter for numbers of thousands of digits
        raise InvalidWheel(subject=filename[:200], reason=f"its file name: {str(error)[:200]}") from error
    return name, version, tags


def _find_dist_info(archive: Archive, filename: str, name: NormalizedName, version: Version) -> str:
    tops = {member.partition("/")[0] for member in archive.members}
    # importlib.metadata takes them in any case, and what eggs had, too.
    found = sorted(top for top in tops if top.lower().endswith((".dist-info", ".egg-info")))
    if len(found) != 1 or not found[0].endswith(".dist-info"):
        have = ", ".join(found) or "none"
        raise InvalidWheel(subject=filename, reason=f"it must have exactly one .dist-info folder and has {have}")
    stem = found[0].removesuffix(".dist-info")
    dist_name, _, dist_version = stem.rpartition("-")
    try:
        is_own = canonicalize_name(dist_name) == name and Version(dist_version) == version
    except InvalidVersion:
        is_own = False
    if not is_own:
        raise InvalidWheel(subject=filename, reason=f"its {found[0]} folder is of another project or version")
    for top in tops:
        if top.lower().endswith(".data") and not _is_own_data(top, name, version):
            # Installers take any such folder for data to be placed by its schemes.
            raise InvalidWheel(subject=filename, reason=f"its {top} folder is of another project or version")
    return found[0]


def _is_own_data(top: str, name: NormalizedName, version: Version) -> bool:
    stem, _, text = top[: -len(".data")].rpartition("-")
    try:
        return top.endswith(".data") and canonicalize_name(stem) == name and Version(text) == version
    except InvalidVersion:
        return False


def _read_required(archive: Archive, member: str, filename: str, most_bytes: int) -> bytes:
    if member not in archive.members:
        raise InvalidWheel(subject=filename, reason=f"it has no {member}")
    if archive.members[member].size_bytes > most_bytes:
        raise InvalidWheel(subject=filename, reason=f"its {member} is larger than {most_bytes} bytes")
    return archive.read(member)


def _check_wheel_file(raw: bytes, filename: str) -> list[str]:
    """Check the file that says how the wheel was made (PEP 427); return the tags it states."""
    from email.parser import BytesHeaderParser  # much to import, and a plan from kept metadata needs none

    said = BytesHeaderParser().parsebytes(raw)
    version = str(said.get("Wheel-Version", "")).strip()
    # PEP 427: "a wheel installer should … fail if the major version is greater".
    if version.partition(".")[0] != "1":
        raise InvalidWheel(subject=filename, reason=f"its Wheel-Version is {version or 'missing'}, not 1.x")
    return [str(tag).strip() for tag in said.get_all("Tag", [])]


def _check_record(
    archive: Archive, dist_info: str, filename: str, *, was_verified: bool
) -> tuple[dict[str, tuple[str, str]], tuple[tuple[str, str], ...], bool]:
    """Compare RECORD and members both ways; return its rows, every problem found, and whether it has hexadecimal."""
    problems: list[tuple[str, str]] = []
    rows: dict[str, tuple[str, str]] = {}
    is_hex = False
    raw = _read_required(archive, f"{dist_info}/RECORD", filename, _RECORD_BYTES)
    for path, digest, size in _record_rows(raw, filename):
        if path in rows:
            problems.append((path, "listed twice"))
        rows[path] = (_in_base64(digest), size)
        is_hex = is_hex or rows[path][0] != digest
    unrecorded = {f"{dist_info}/{name}" for name in _UNRECORDED}
    names = [name for name in _file_names(archive) if name not in unrecorded]
    problems += [(name, "not listed in RECORD") for name in names if name not in rows]
    if not was_verified:
        listed = [name for name in names if name in rows]
        sources = sum(archive.members[name].size_bytes for name in listed if name.endswith(".py"))
        most = _KEPT_BYTES if sources <= _KEPT_BYTES else 0
        faults = _map(archive, lambda name: _record_fault(archive, name, *rows[name], most), listed)
        problems += [(name, fault) for name, fault in zip(listed, faults, strict=True) if fault]
    problems += [(path, "listed but missing") for path in rows if path not in archive.members]
    return rows, tuple(sorted(problems)), is_hex


def _map(archive: Archive, check: Callable[[str], str | None], names: Sequence[str]) -> list[str | None]:
    """Return what *check* says of each member; of much, by threads: to inflate and to hash needs no interpreter."""
    much = [name for name in names if archive.members[name].size_bytes >= _MUCH_BYTES]
    if len(much) < 2:
        return [check(name) for name in names]
    with ThreadPoolExecutor(_HASHERS) as pool:
        checked = {name: pool.submit(check, name) for name in much}
        return [checked[name].result() if name in checked else check(name) for name in names]


def _record_of_root(rows: Mapping[str, tuple[str, str]], files: Mapping[str, str | bytes]) -> bytes:
    """Return RECORD with the names that files have below the import root; what is left out keeps the wheel's name."""
    names = {member: path for path, member in files.items()}
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows((names.get(path, path), *rest) for path, rest in rows.items())
    return text.getvalue().encode()


def _record_rows(raw: bytes, filename: str) -> Iterator[tuple[str, str, str]]:
    try:
        for row in csv.reader(io.StringIO(raw.decode("utf-8"), newline="")):
            if not row:
                continue
            path, digest, size = row
            yield path, digest, size
    except (ValueError, csv.Error) as error:
        raise InvalidWheel(subject=filename, reason=f"its RECORD can't be read: {error}") from error


def _in_base64(stated: str) -> str:
    """Return a SHA-256 that RECORD has in hexadecimal as it should have it: the same digest, in another spelling.

    uv_build wrote them so before 0.8.13. No base64 of a digest is that long.
    """
    algorithm, _, digits = stated.partition("=")
    if algorithm != "sha256" or not re.fullmatch("[0-9a-fA-F]{64}", digits):
        return stated
    return f"sha256={base64.urlsafe_b64encode(bytes.fromhex(digits)).rstrip(b'=').decode()}"


def _record_fault(archive: Archive, name: str, stated: str, size: str, kept_bytes: int) -> str | None:
    algorithm, _, expected = stated.partition("=")
    if algorithm not in STRONG:
        return "no SHA-256 or better in RECORD" if stated else "no hash in RECORD"
    if size and size != str(archive.members[name].size_bytes):
        return f"{archive.members[name].size_bytes} bytes where RECORD says {size}"
    hasher = hashlib.sha256() if algorithm == "sha256" else hashlib.new(algorithm)
    if name.endswith(".py") and archive.members[name].size_bytes <= kept_bytes:
        data = archive.read(name)
        hasher.update(data)
        archive.kept[name] = data
    else:
        for chunk in archive.chunks(name):
            hasher.update(chunk)
    actual = base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
    return None if actual == expected.rstrip("=") else f"{algorithm} is {actual} where RECORD says {expected}"


def _layout(archive: Archive, dist_info: str, filename: str) -> tuple[dict[str, str | bytes], tuple[str, ...]]:
    """Map import paths to members: purelib and platlib of the .data folder join the root (PEP 427)."""
    tops = {name.partition("/")[0] for name in archive.members}
    datas = [f"{top}/" for top in tops if top.endswith(".data")]  # its name and version may be spelled in another way
    if len(datas) > 1:
        raise InvalidWheel(subject=filename, reason=f"it has several .data folders: {', '.join(sorted(datas))}")
    data = datas[0] if datas else f"{dist_info.removesuffix('.dist-info')}.data/"
    files: dict[str, str | bytes] = {}
    left_out: list[str] = []
    for name in _file_names(archive):
        path = name
        if name.startswith(data):
            scheme, _, path = name.removeprefix(data).partition("/")
            if scheme not in ("purelib", "platlib"):
                left_out.append(name)
                continue
        if path in files:
            raise InvalidWheel(subject=filename, reason=f"{path} is there twice, at the root and in {data}")
        files[path] = name
    return files, tuple(left_out)


def _check_places(files: Mapping[str, str | bytes], filename: str) -> None:
    """Hold what the .data folder joins to the root to the rules that an archive's own names meet."""
    moved = [path for path, member in files.items() if path != member]
    for path in moved:
        if path.partition("/")[0].lower().endswith((".dist-info", ".egg-info", ".data")):
            raise InvalidWheel(subject=filename, reason=f"its .data folder adds to {path.partition('/')[0]}")
    faults = [(path, fault) for path in moved if (fault := name_fault(path))]
    for path, rule in (*faults, *(find_collisions(files) if moved else ())):
        raise UnsafeArchive(subject=filename, member=path, rule=f"where it is placed, {rule}")


def _file_names(archive: Archive) -> Iterable[str]:
    return (name for name, member in archive.members.items() if not member.is_folder)
