"""What of a project's page can be used on a target: releases with their best wheel, and why the others can't."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, NormalizedName, canonicalize_name, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import NoCompatibleWheel, NoMatchingVersion, OnlySdists, ResolutionError
from remote_wheel.index.listing import Listing, Omissions, Releases, Row
from remote_wheel.index.page import IndexFile, Page
from remote_wheel.index.target import Target, admits_python
from remote_wheel.spec.compressed import parse_tags
from remote_wheel.spec.cutoff import parse_moment
from remote_wheel.spec.version import parse_version

_ONLY_SDIST: Final = "only a source distribution"
_NO_TAG: Final = "no wheel fits this machine"
_WHEEL_NAME: Final = r"(?P<stem>[^-]+-(?P<version>[^-]+)(-[0-9][^-]*)?)-(?P<tags>[^-]+-[^-]+-[^-]+)\.whl"


class Filter(NamedTuple):
    """What the user leaves out of a project's listing."""

    constraint: SpecifierSet | None = None
    cutoff: datetime | None = None
    cutoff_origin: str = ""  # where that was set
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
                by = f" (set by {self.cutoff_origin})" if self.cutoff_origin else ""
                return f"uploaded {moment:%Y-%m-%d}, and exclude_newer is {self.cutoff:%Y-%m-%d %H:%M}{by}"
        if self.digests and self.digests.isdisjoint(f"{name}:{digest}" for name, digest in file.digests.items()):
            return "its hash is none of those you state" if file.digests else "its index states no hash, and you do"
        return ""


NOTHING_LEFT_OUT: Final = Filter()


def make_listing(
    project: NormalizedName,
    pages: Sequence[Page],
    target: Target,
    *,
    searched: tuple[str, ...] = (),
    left_out_by: Filter = NOTHING_LEFT_OUT,
) -> Listing:
    """Sort the files of *pages* by what *target* can use."""
    wheels: dict[Version, list[_Usable]] = defaultdict(list)
    reasons: dict[Version, str] = {}
    left_out: dict[Version, list[str]] = defaultdict(list)
    unusable: list[str] = []
    for order, page in enumerate(pages):
        for position, file in enumerate(page.files):
            version, build, tags = _read_filename(file.filename, project)
            if version is None:
                unusable.append(file.filename)
            elif reason := _fault(file, version, tags, page, target) or left_out_by.fault(file, version):
                left_out[version].append(file.filename)
                if tags is not None or version not in reasons:  # what is wrong with a wheel says more
                    reasons[version] = reason
            elif tags and (rank := target.rank(tags)) is not None:
                # PEP 592 yanks files: another one of the version counts first. PEP 427 has the greater build number
                # win; later in a page breaks ties, as re-uploads come later.
                wheels[version].append(_Usable(file.yanked is None, -rank, build, -order, position, file))
    versions = sorted(wheels)
    best = [max(wheels[version], key=lambda each: each[:5]) for version in versions]
    omitted = [(str(v), reasons[v], names) for v, names in sorted(left_out.items()) if v not in wheels]
    return Listing(
        project=project,
        releases=Releases(
            project,
            [
                Row(str(version), each.file, pages[-each.order].origin)
                for version, each in zip(versions, best, strict=True)
            ],
            pre=sum(1 << bit for bit, version in enumerate(versions) if version.is_prerelease),
            yanked=sum(1 << bit for bit, each in enumerate(best) if each.file.yanked is not None),
        ),
        left_out=Omissions(lambda: omitted),
        unusable_files=(
            *((name, "it is no name of a distribution of this project") for name in unusable),
            *(entry for page in pages for entry in page.unreadable),
        ),
        notes=tuple(note for page in pages for note in _notes_of(page)),
        searched=searched,
    )


def _notes_of(page: Page) -> Iterator[str]:
    """Yield what is odd about a page and no reason to refuse it: broken entries, the project's status (PEP 792)."""
    if page.unreadable:
        name, why = page.unreadable[0]
        yield f"{len(page.unreadable)} entries of {page.project}'s page can't be read, as {name!r} ({why})"
    if page.status != "active":
        yield f"{page.project} is {page.status}{_because(page)}"


class _Usable(NamedTuple):
    """A file that will do, and what makes it better than others of its version."""

    counts: bool
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


def _because(page: Page) -> str:
    return f": {page.status_reason}" if page.status_reason else ""


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
                return parse_version(version_text), _build(*build_text), parse_tags(f"{python}-{abi}-{platform}")
        elif filename.endswith((".tar.gz", ".zip")):
            name, version = parse_sdist_filename(filename)
            if name == project:
                return version, (), None
    except (InvalidSdistFilename, InvalidVersion, ValueError):
        pass  # names from before the standards; listed as unusable
    return None, (), None


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
        return "" if admits_python(requires_python, python) else f"requires Python {requires_python}"
    except ValueError:  # InvalidSpecifier, and numbers too long for Python
        return ""


def explain_no_match(listing: Listing, requirement: str, specifier: SpecifierSet, target: Target) -> ResolutionError:
    """Return the error that tells best why no release of *listing* satisfies a requirement."""
    matching = [version for version in listing.left_out if specifier.contains(version, prereleases=True)]
    reasons = {listing.left_out[version] for version in matching}
    is_of_machine = all(reason == _NO_TAG or reason.startswith("requires Python") for reason in reasons)
    if matching and not any(specifier.contains(r.version, prereleases=True) for r in listing.releases):
        files = tuple(name for version in matching for name in listing.left_out.files_of(version))
        if reasons == {_ONLY_SDIST}:
            return OnlySdists(requirement=requirement, files=files)
        if is_of_machine:
            wheels = tuple(name for name in files if name.endswith(".whl"))
            return NoCompatibleWheel(
                requirement=requirement,
                wheels=wheels,
                wheel_tags=tuple(dict.fromkeys(m["tags"] for n in wheels if (m := re.fullmatch(_WHEEL_NAME, n)))),
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
