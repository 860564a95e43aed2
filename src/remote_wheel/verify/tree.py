"""Source trees in a zip, and single modules: no RECORD to check, so the archive's rules and a digest hold them."""

from collections.abc import Mapping
from typing import Final

from packaging.utils import canonicalize_name

from remote_wheel.errors import InvalidSource
from remote_wheel.settings import Limits
from remote_wheel.spec.metadata import parse_metadata
from remote_wheel.spec.project import metadata_of_project
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.wheel import Verified

# What stands beside a package in a flat layout and is not meant to be imported from outside the project.
_NOT_IMPORTED: Final = frozenset(
    "benchmark benchmarks bin build ci conftest debian doc docs dist example examples exercises fabfile htmlcov"
    " manage news newsfragments noxfile scripts setup tasks test testing tests tools toxfile unit_tests versioneer"
    .split()
)  # fmt: skip


def verify_tree(
    data: bytes | memoryview, *, filename: str, sha256: str, limits: Limits, subdirectory: str = ""
) -> Verified:
    """Check the archive of a source tree and find what it makes importable.

    One folder around everything is stripped (as archives of repositories have), then *subdirectory*, then a
    ``src`` layout. Raises VerificationError, InvalidMetadata, or InvalidSource where nothing can be imported.
    """
    archive = Archive(data, subject=filename, limits=limits)
    paths = {name: name for name, member in archive.members.items() if not member.is_folder}
    paths = _below(paths, _single_top(paths))
    if subdirectory:
        paths = _below(paths, subdirectory.strip("/") + "/")
        if not paths:
            raise InvalidSource(source=filename, reason=f"it has no folder {subdirectory!r}")
    project = paths.get("pyproject.toml")
    dist_info, derived, metadata = "", {}, None
    if project and (texts := metadata_of_project(archive.read(project), subject=filename)):
        metadata = parse_metadata(texts["METADATA"], subject=filename)
        dist_info = f"{canonicalize_name(metadata.name).replace('-', '_')}-{metadata.version}.dist-info"
        derived = {f"{dist_info}/{name}": text for name, text in texts.items()}
    importable = _importable(paths)
    if not importable:
        raise InvalidSource(source=filename, reason="it holds no Python package or module")
    return Verified(
        sha256=sha256,
        filename=filename,
        archive=archive,
        files={**importable, **derived},
        dist_info=dist_info,
        metadata=metadata,
    )


def verify_module(data: bytes, *, filename: str, sha256: str) -> Verified:
    """Take a single ``.py`` file as a distribution of one module; raise InvalidSource for an impossible name."""
    if not filename.removesuffix(".py").isidentifier():
        raise InvalidSource(source=filename, reason="its name without .py is no Python identifier")
    return Verified(sha256=sha256, filename=filename, archive=None, files={filename: data})


def _single_top(paths: Mapping[str, str]) -> str:
    """Return the one folder (with its slash) that all *paths* are in, unless it is a package itself."""
    tops = {path.partition("/")[0] for path in paths}
    if len(tops) != 1 or not all("/" in path for path in paths):
        return ""
    (top,) = tops
    return "" if f"{top}/__init__.py" in paths else f"{top}/"


def _below(paths: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {path.removeprefix(prefix): name for path, name in paths.items() if path.startswith(prefix)}


def _importable(paths: Mapping[str, str]) -> dict[str, str]:
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
