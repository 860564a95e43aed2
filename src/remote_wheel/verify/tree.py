"""Source trees in a zip or tar, and single modules: without a RECORD, the archive's rules and a digest hold them."""

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from packaging.utils import canonicalize_name

from remote_wheel.errors import InvalidSource, UnsafeArchive
from remote_wheel.settings import Limits
from remote_wheel.spec.audit import audit
from remote_wheel.spec.backends import SourceTree
from remote_wheel.spec.metadata import parse_metadata
from remote_wheel.spec.project import describe
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.names import find_collisions, name_fault
from remote_wheel.verify.tar import TarArchive
from remote_wheel.verify.wheel import Verified

# What stands beside a package in a flat layout and is not meant to be imported from outside the project.
_NOT_IMPORTED: Final = frozenset(
    "benchmark benchmarks bin build ci conftest debian doc docs dist example examples exercises fabfile htmlcov"
    " manage news newsfragments noxfile scripts setup tasks test testing tests tools toxfile unit_tests versioneer"
    .split()
)  # fmt: skip


_File = str | bytes  # a member's name, or the contents of a file that a build would make
_EGG_INFO: Final = r"(?:[^/]+/)?[^/]+\.egg-info/"  # what setuptools leaves behind in an sdist


def verify_tree(
    data: bytes | memoryview,
    *,
    filename: str,
    sha256: str,
    limits: Limits,
    is_tar: bool = False,
    subdirectory: str = "",
    version_hint: str = "",
) -> Verified:
    """Check the archive of a source tree and find what it makes importable.

    One folder around everything is stripped (as archives of repositories have), then *subdirectory*. What the wheel of
    the project would hold is importable; *version_hint* is its version where it takes that from the tag it is at.
    Raises VerificationError, InvalidMetadata, MustBeBuilt, or InvalidSource where nothing can be imported.
    """
    archive = (
        TarArchive(data, subject=filename, limits=limits)
        if is_tar
        else Archive(data, subject=filename, limits=limits, may_link=True)
    )
    paths = {name: name for name, member in archive.members.items() if not member.is_folder}
    paths = _below(paths, _single_top(paths))
    _check_links(archive, paths, filename)
    content_sha256 = _content_sha256(archive, paths)
    if subdirectory:
        paths = _below(paths, subdirectory.strip("/") + "/")
        if not paths:
            raise InvalidSource(source=filename, reason=f"it has no folder {subdirectory!r}")

    def read(path: str) -> bytes:
        return archive.read(paths[path])

    description = describe(SourceTree(subject=filename, paths=paths.keys(), read=read, version_hint=version_hint))
    generated = description.generated if description else {}
    importable = _importable({**paths, **generated}, description.roots if description else ())
    _check_places(importable, filename)
    if linked := sorted(p for p, m in importable.items() if isinstance(m, str) and archive.members[m].is_link):
        raise UnsafeArchive(
            subject=filename, member=linked[0], rule="it is a link where a module or its data should be"
        )
    dist_info, derived, metadata = "", {}, None
    if description:
        metadata = parse_metadata(description.files["METADATA"], subject=filename)
        dist_info = f"{canonicalize_name(metadata.name).replace('-', '_')}-{metadata.version}.dist-info"
        derived = {f"{dist_info}/{name}": text for name, text in description.files.items()}
    if not any(path.endswith(".py") for path in importable):
        raise InvalidSource(source=filename, reason="it holds no Python package or module")
    audit("verify", filename, sha256)
    return Verified(
        sha256=sha256,
        filename=filename,
        archive=archive,
        files={**importable, **derived},
        dist_info=dist_info,
        metadata=metadata,
        content_sha256=content_sha256,
    )


def verify_module(data: bytes, *, filename: str, sha256: str) -> Verified:
    """Take a single ``.py`` file as a distribution of one module; raise InvalidSource for an impossible name."""
    if not filename.removesuffix(".py").isidentifier():
        raise InvalidSource(source=filename, reason="its name without .py is no Python identifier")
    audit("verify", filename, sha256)
    return Verified(sha256=sha256, filename=filename, archive=None, files={filename: data})


def _single_top(paths: Mapping[str, str]) -> str:
    """Return the one folder (with its slash) that all *paths* are in, unless it is a package itself."""
    tops = {path.partition("/")[0] for path in paths}
    if len(tops) != 1 or not all("/" in path for path in paths):
        return ""
    (top,) = tops
    return "" if f"{top}/__init__.py" in paths else f"{top}/"


_Any = TypeVar("_Any")


def _below(paths: Mapping[str, _Any], prefix: str) -> dict[str, _Any]:
    return {path.removeprefix(prefix): name for path, name in paths.items() if path.startswith(prefix)}


def _check_links(archive: Archive | TarArchive, paths: Mapping[str, str], filename: str) -> None:
    """Refuse a symbolic link that leads out of the tree; one inside does no harm, as long as nobody imports it."""
    for path, name in paths.items():
        if archive.members[name].is_link:
            target = archive.read(name).decode("utf-8", "replace")
            inner = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if inner.startswith(("/", "../")) or inner == "..":
                raise UnsafeArchive(
                    subject=filename, member=name, rule=f"it is a link out of the archive, to {target!r}"
                )


def _check_places(importable: Mapping[str, str | bytes], filename: str) -> None:
    """Refuse places below the import root that no archive could name: a project's tables may say anything."""
    for path in importable:
        if fault := name_fault(path):
            raise UnsafeArchive(subject=filename, member=path, rule=f"as its tables place it, {fault}")
    for path, rule in find_collisions(importable):
        raise UnsafeArchive(subject=filename, member=path, rule=f"as its tables place it, {rule}")


def _content_sha256(archive: Archive | TarArchive, paths: Mapping[str, str]) -> str:
    """Return one digest of all names and contents below the top folder, whatever they are packed with.

    SHA-256 of the sorted lines "digest, two spaces, path", as ``sha256sum`` prints them (and Go's h1: hashes). The note
    that git leaves of the references at a commit is not part of it: that changes when a branch moves.
    """
    lines = sorted(
        (path, f"{hashlib.sha256(archive.read(name)).hexdigest()}  {path}\n")
        for path, name in paths.items()
        if path != ".git_archival.txt"
    )
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()


def _importable(paths: Mapping[str, _File], roots: Sequence[tuple[str, str]]) -> dict[str, _File]:
    """Return import path → member: what the project's tables name, else what backends find by themselves."""
    if roots:
        found: dict[str, _File] = {}
        for place, target in roots:
            if place in paths:
                found[target] = paths[place]
                continue
            inner = _below(paths, f"{place}/" if place else "")
            found |= {f"{target}/{path}" if target else path: name for path, name in inner.items()}
        return found
    paths = {path: name for path, name in paths.items() if not re.match(_EGG_INFO, path)}
    source = _below(paths, "src/")
    if source and "__init__.py" not in source and any(path.endswith(".py") for path in source):
        return source
    tops = {path.partition("/")[0] for path in paths if path.endswith("/__init__.py") and path.count("/") == 1}
    if not tops:  # namespace packages and loose modules count only where there is no regular package
        tops = {path.partition("/")[0] for path in paths if path.endswith(".py")}
    wanted = {top for top in tops if top.removesuffix(".py") not in _NOT_IMPORTED}
    loose = {path for path in paths if path.endswith(".py") and "/" not in path}
    wanted |= {path for path in loose if path.removesuffix(".py") not in _NOT_IMPORTED}
    return {path: name for path, name in paths.items() if path.partition("/")[0] in wanted}
