"""What of a project's page can be used on a target: releases with their best wheel, and why the others can't."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import InvalidSdistFilename, NormalizedName, canonicalize_name, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import NoCompatibleWheel, NoMatchingVersion, OnlySdists, ResolutionError
from remote_wheel.index.page import IndexFile, Page
from remote_wheel.index.target import Target, admits_python
from remote_wheel.spec.cutoff import parse_moment
from remote_wheel.spec.metadata import CoreMetadata

_ONLY_SDIST: Final = "only a source distribution"
_NO_TAG: Final = "no wheel fits this machine"
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
    index: str = ""  # the one it is from, as it may be shown
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
    pages: tuple[Page, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the user leaves out of a project's listing."""

    constraint: SpecifierSet | None = None
    cutoff: datetime | None = None
    digests: frozenset[str] = frozenset()  # "algorithm:hex", of which a file must have one; empty: no bound

    def admits(self, version: Version) -> bool:
        """Whether the constraint holds for *version*."""
        return self.constraint is None or self.constraint.contains(version, prereleases=True)

    def fault(self, file: IndexFile, version: Version) -> str:
        """Return why *file* is left out, empty where it is not."""
        if not self.admits(version):
            return f"your constraint is {self.constraint}"
        if self.cutoff is not None:
            moment = parse_moment(file.upload_time)
            if moment is None:
                return "its index does not say when it was uploaded (exclude_newer)"
            if moment >= self.cutoff:
                return f"uploaded {moment:%Y-%m-%d}, and exclude_newer is {self.cutoff:%Y-%m-%d %H:%M}"
        if self.digests and self.digests.isdisjoint(f"{name}:{digest}" for name, digest in file.digests.items()):
            return "its hash is none of those you state"
        return ""


_NOTHING_LEFT_OUT: Final = Filter()


def make_listing(
    project: NormalizedName,
    pages: Sequence[Page],
    target: Target,
    *,
    installed: Installed | None = None,
    searched: tuple[str, ...] = (),
    left_out_by: Filter = _NOTHING_LEFT_OUT,
) -> Listing:
    """Sort the files of *pages* by what *target* can use; an *installed* version replaces the indexes' same one."""
    wheels: dict[Version, list[_Usable]] = defaultdict(list)
    left_out: dict[Version, str] = {}
    unusable: list[str] = []
    for order, page in enumerate(pages):
        for position, file in enumerate(page.files):
            version, build, tags = _read_filename(file.filename, project)
            if version is None:
                unusable.append(file.filename)
            elif reason := _fault(file, version, tags, page, target) or left_out_by.fault(file, version):
                if tags is not None or version not in left_out:  # what is wrong with a wheel says more
                    left_out[version] = reason
            elif tags and (rank := target.rank(tags)) is not None:
                # PEP 427 has the greater build number win; later in a page breaks ties, as re-uploads come later.
                wheels[version].append(_Usable(-rank, build, -order, position, file))
    usable = {version: max(files, key=lambda each: each[:4]) for version, files in wheels.items()}
    if installed and not left_out_by.admits(installed.metadata.version):
        installed = None
    own = installed.metadata.version if installed else None
    versions = sorted({*usable, *((own,) if own else ())})
    return Listing(
        project=project,
        releases=tuple(
            _installed_release(project, bit, installed)
            if installed and version == own
            else _indexed_release(project, version, bit, usable[version], pages)
            for bit, version in enumerate(versions)
        ),
        left_out={version: reason for version, reason in left_out.items() if version != own and version not in usable},
        unusable_files=tuple(unusable),
        pages=tuple(pages),
        searched=searched,
    )


class _Usable(NamedTuple):
    """A file that will do, and what makes it better than others of its version."""

    fit: int
    build: tuple[()] | tuple[int, str]
    order: int
    position: int
    file: IndexFile


def _fault(file: IndexFile, version: Version, tags: frozenset[Tag] | None, page: Page, target: Target) -> str:
    """Return why a file is of no use here, empty where it is of use."""
    if page.status == "quarantined":
        return f"the project is quarantined{_because(page)}"
    if tags is None:
        return _ONLY_SDIST
    if file.requires_python and (reason := _python_fault(file.requires_python, target.python)):
        return reason
    return "" if target.rank(tags) is not None else _NO_TAG


def _installed_release(project: NormalizedName, bit: int, installed: Installed) -> Release:
    metadata = installed.metadata
    return Release(project=project, version=metadata.version, bit=bit, installed_at=installed.path, metadata=metadata)


def _indexed_release(
    project: NormalizedName, version: Version, bit: int, usable: _Usable, pages: Sequence[Page]
) -> Release:
    file = usable.file
    index = pages[-usable.order].index
    return Release(project=project, version=version, bit=bit, file=file, index=index, yanked=file.yanked)


def _because(page: Page) -> str:
    return f": {page.status_reason}" if page.status_reason else ""


def listing_of_one(metadata: CoreMetadata, file: IndexFile) -> Listing:
    """The listing of a project that the user gave by URL or path: exactly one release (PEP 508 direct reference)."""
    release = Release(project=metadata.name, version=metadata.version, bit=0, file=file, metadata=metadata)
    return Listing(project=metadata.name, releases=(release,))


def _read_filename(
    filename: str, project: NormalizedName
) -> tuple[Version | None, tuple[()] | tuple[int, str], frozenset[Tag] | None]:
    """Return version, build and tags; no tags for a source distribution, no version where the name means nothing.

    As packaging.utils reads file names, but each version and each set of tags once: pages repeat them.
    """
    try:
        if filename.endswith(".whl"):
            name, version_text, *build_text, python, abi, platform = filename[:-4].split("-")
            if canonicalize_name(name) == project and len(build_text) < 2:
                return _version(version_text), _build(*build_text), _tags(f"{python}-{abi}-{platform}")
        elif filename.endswith((".tar.gz", ".zip")):
            name, version = parse_sdist_filename(filename)
            if name == project:
                return version, (), None
    except (InvalidSdistFilename, InvalidVersion, ValueError):
        pass  # names from before the standards; listed as unusable
    return None, (), None


@lru_cache(maxsize=65536)
def _version(text: str) -> Version:
    return Version(text)


@lru_cache(maxsize=4096)
def _tags(text: str) -> frozenset[Tag]:
    return parse_tag(text)


def _build(text: str = "") -> tuple[()] | tuple[int, str]:
    """Return a wheel's build tag as it sorts (PEP 427); raise ValueError where it starts with no digit."""
    if not text:
        return ()
    digits = re.match(r"\d+", text)
    if not digits:
        raise ValueError(text)
    return int(digits[0]), text[digits.end() :]


@lru_cache(maxsize=4096)
def _python_fault(requires_python: str, python: Version) -> str:
    """Return why a file is not for *python*. pip, too, takes a Requires-Python that it can't read as none."""
    try:
        specifier = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return ""
    return "" if admits_python(specifier, python) else f"requires Python {requires_python}"


def explain_no_match(listing: Listing, requirement: str, specifier: SpecifierSet, target: Target) -> ResolutionError:
    """Return the error that tells best why no release of *listing* satisfies a requirement."""
    matching = [version for version in listing.left_out if specifier.contains(version, prereleases=True)]
    reasons = {listing.left_out[version] for version in matching}
    is_of_machine = all(reason == _NO_TAG or reason.startswith("requires Python") for reason in reasons)
    if matching and not any(specifier.contains(r.version, prereleases=True) for r in listing.releases):
        files = _files_of(listing, matching)
        if reasons == {_ONLY_SDIST}:
            return OnlySdists(requirement=requirement, files=files)
        if is_of_machine:
            wheels = tuple(name for name in files if name.endswith(".whl"))
            return NoCompatibleWheel(
                requirement=requirement,
                wheels=wheels,
                wheel_tags=tuple(dict.fromkeys(m["tags"] for n in wheels if (m := _WHEEL_NAME.fullmatch(n)))),
                fitting_tags=target.best_tags,
                reasons=tuple(sorted(reasons - {_NO_TAG})),
            )
    return NoMatchingVersion(
        requirement=requirement,
        available=tuple(str(release.version) for release in reversed(listing.releases) if release.yanked is None),
        excluded=tuple(_exclusions(listing, specifier)),
    )


def _exclusions(listing: Listing, specifier: SpecifierSet) -> Iterable[str]:
    """Yield why each version that *specifier* names was left out, newest first."""
    for release in reversed(listing.releases):
        if release.yanked is not None and specifier.contains(release.version, prereleases=True):
            yield f"{release.version} is yanked" + (f" ({release.yanked})" if release.yanked else "")
    for version, reason in sorted(listing.left_out.items(), reverse=True):
        if specifier.contains(version, prereleases=True):
            yield f"{version}: {reason}"


def _files_of(listing: Listing, versions: Iterable[Version]) -> tuple[str, ...]:
    wanted = set(versions)
    files = (file for page in listing.pages for file in page.files)
    return tuple(f.filename for f in files if _read_filename(f.filename, listing.project)[0] in wanted)
