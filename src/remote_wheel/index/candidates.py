"""What of a project's page can be used on a target: releases with their best wheel, and why the others can't."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import NoCompatibleWheel, NoMatchingVersion, OnlySdists, ResolutionError
from remote_wheel.index.page import IndexFile, Page
from remote_wheel.index.target import Target
from remote_wheel.spec.metadata import CoreMetadata

_WHEEL_NAME = re.compile(r"(?P<stem>[^-]+-(?P<version>[^-]+)(-[0-9][^-]*)?)-(?P<tags>[^-]+-[^-]+-[^-]+)\.whl")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Release:
    """One usable version of a project: from an index, a URL the user gave, or the installed environment.

    Compared by identity: a resolution has one object for each. `bit` is its place in the listing, 0 the oldest.
    """

    project: NormalizedName
    version: Version
    bit: int
    file: IndexFile | None = None
    yanked: str | None = None
    installed_at: str = ""
    metadata: CoreMetadata | None = None  # known beforehand: a direct URL's, an installed distribution's

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A project's usable releases, oldest first, and what was left out and why."""

    project: NormalizedName
    releases: tuple[Release, ...] = ()
    left_out: Mapping[Version, str] = field(default_factory=dict)
    unusable_files: tuple[str, ...] = ()  # names that no standard explains
    page: Page | None = None
    searched: tuple[str, ...] = ()  # the indexes asked, redacted

    @property
    def installed(self) -> Release | None:
        """The installed release, where there is one."""
        return next((release for release in self.releases if release.installed_at), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An installed distribution: its metadata and where its dist-info is."""

    metadata: CoreMetadata
    path: str


def make_listing(
    project: NormalizedName,
    page: Page | None,
    target: Target,
    *,
    installed: Installed | None = None,
    searched: tuple[str, ...] = (),
) -> Listing:
    """Sort the files of *page* by what *target* can use; an *installed* version replaces the index's same one."""
    wheels: dict[Version, list[tuple[int, int, IndexFile]]] = defaultdict(list)
    left_out: dict[Version, str] = {}
    unusable: list[str] = []
    for position, file in enumerate(page.files if page else ()):
        version, tags = _read_filename(file.filename, project)
        if version is None:
            unusable.append(file.filename)
        elif tags is None:
            left_out.setdefault(version, "only a source distribution")
        elif reason := _python_fault(file.requires_python, target):
            left_out[version] = reason
        elif (rank := target.rank(tags)) is None:
            left_out[version] = "no wheel fits this machine"
        else:
            # Later in the page breaks ties: build numbers and re-uploads come later.
            wheels[version].append((rank, -position, file))
    usable = {version: min(files, key=lambda f: f[:2])[2] for version, files in wheels.items()}
    if installed:
        usable.pop(installed.metadata.version, None)
    versions = sorted({*usable, *((installed.metadata.version,) if installed else ())})
    return Listing(
        project=project,
        releases=tuple(
            _release(project, version, bit, usable.get(version), installed) for bit, version in enumerate(versions)
        ),
        left_out={version: reason for version, reason in left_out.items() if version not in versions},
        unusable_files=tuple(unusable),
        page=page,
        searched=searched,
    )


def listing_of_one(metadata: CoreMetadata, file: IndexFile) -> Listing:
    """The listing of a project that the user gave by URL or path: exactly one release (PEP 508 direct reference)."""
    release = Release(project=metadata.name, version=metadata.version, bit=0, file=file, metadata=metadata)
    return Listing(project=metadata.name, releases=(release,))


def _release(
    project: NormalizedName, version: Version, bit: int, file: IndexFile | None, installed: Installed | None
) -> Release:
    if file is None and installed:
        return Release(
            project=project,
            version=version,
            bit=bit,
            installed_at=installed.path,
            metadata=installed.metadata,
        )
    return Release(project=project, version=version, bit=bit, file=file, yanked=file.yanked if file else None)


def _read_filename(filename: str, project: NormalizedName) -> tuple[Version | None, frozenset[Tag] | None]:
    """Return version and tags; no tags for a source distribution, no version where the name means nothing here."""
    try:
        if filename.endswith(".whl"):
            name, version, _build, tags = parse_wheel_filename(filename)
            return (version, tags) if name == project else (None, None)
        if filename.endswith((".tar.gz", ".zip")):
            name, version = parse_sdist_filename(filename)
            return (version, None) if name == project else (None, None)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        pass  # names from before the standards; listed as unusable
    return None, None


@lru_cache(maxsize=4096)
def _specifier(text: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None  # pip, too, takes a Requires-Python that it can't read as none


def _python_fault(requires_python: str, target: Target) -> str | None:
    specifier = _specifier(requires_python) if requires_python else None
    if specifier is None or target.admits_python(specifier):
        return None
    return f"requires Python {requires_python}"


def explain_no_match(listing: Listing, requirement: str, specifier: SpecifierSet, target: Target) -> ResolutionError:
    """Return the error that tells best why no release of *listing* satisfies a requirement."""
    matching = [version for version in listing.left_out if specifier.contains(version, prereleases=True)]
    reasons = {listing.left_out[version] for version in matching}
    if matching and not any(specifier.contains(r.version, prereleases=True) for r in listing.releases):
        files = _files_of(listing, matching)
        if reasons == {"only a source distribution"}:
            return OnlySdists(requirement=requirement, files=files)
        wheels = tuple(name for name in files if name.endswith(".whl"))
        return NoCompatibleWheel(
            requirement=requirement,
            wheels=wheels,
            wheel_tags=tuple(dict.fromkeys(m["tags"] for n in wheels if (m := _WHEEL_NAME.fullmatch(n)))),
            fitting_tags=target.best_tags,
            reasons=tuple(sorted(reasons - {"no wheel fits this machine"})),
        )
    return NoMatchingVersion(
        requirement=requirement,
        available=tuple(str(release.version) for release in reversed(listing.releases)),
        excluded=tuple(_exclusions(listing)),
    )


def _exclusions(listing: Listing) -> Iterable[str]:
    for release in reversed(listing.releases):
        if release.yanked is not None:
            yield f"{release.version} is yanked" + (f" ({release.yanked})" if release.yanked else "")
    for version, reason in sorted(listing.left_out.items(), reverse=True):
        yield f"{version}: {reason}"


def _files_of(listing: Listing, versions: Iterable[Version]) -> tuple[str, ...]:
    wanted = set(versions)
    files = listing.page.files if listing.page else ()
    return tuple(f.filename for f in files if _read_filename(f.filename, listing.project)[0] in wanted)
