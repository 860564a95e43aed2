"""A project's usable releases on one target, made one by one when they are asked for, and what was left out and why."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, overload

from packaging.utils import NormalizedName
from packaging.version import Version

from remote_wheel.index.page import IndexFile
from remote_wheel.spec.metadata import CoreMetadata
from remote_wheel.spec.version import parse_version, sort_key


class Row(NamedTuple):
    """What there is of a release. `version` is as PEP 440 normalises it."""

    version: str
    file: IndexFile | None = None
    origin: str = ""  # the index it is from, as it may be shown
    installed_at: str = ""
    metadata: CoreMetadata | None = None  # known beforehand: a direct URL's, an installed distribution's


class Release:
    """One usable version of a project: from an index, a URL the user gave, or the installed environment.

    Compared by identity: a resolution has one object for each. `bit` is its place in the listing, 0 the oldest.
    """

    __slots__ = ("bit", "project", "row", "version")

    def __init__(self, project: NormalizedName, version: Version, bit: int, row: Row) -> None:
        self.project, self.version, self.bit, self.row = project, version, bit, row

    @property
    def file(self) -> IndexFile | None:
        """The wheel on an index or at a URL; None where it is installed."""
        return self.row.file

    @property
    def metadata(self) -> CoreMetadata | None:
        """What is known of it beforehand."""
        return self.row.metadata

    @property
    def yanked(self) -> str | None:
        """Why it is yanked (PEP 592), which may be empty; None where it is not."""
        return self.row.file.yanked if self.row.file else None

    def __str__(self) -> str:
        return f"{self.project} {self.row.version}"


class Releases(Sequence[Release]):
    """A project's releases, oldest first. Bits: `pre` are pre-releases, `installed` counts as neither that nor yanked.

    A project may have thousands, of which a resolution looks at a dozen: each is made when it is asked for. *keys* are
    the versions' sort keys, where they are known.
    """

    __slots__ = ("_keys", "_made", "_project", "installed", "pre", "rows", "yanked")

    def __init__(
        self,
        project: NormalizedName,
        rows: Sequence[Row],
        keys: Sequence[str] | None = None,
        *,
        pre: int = 0,
        yanked: int = 0,
        installed: int = 0,
    ) -> None:
        self._project, self.rows, self._keys = project, rows, keys
        self.pre, self.yanked, self.installed = pre, yanked, installed
        self._made: list[Release | None] = [None] * len(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Release: ...
    @overload
    def __getitem__(self, place: slice) -> list[Release]: ...
    def __getitem__(self, place: int | slice) -> Release | list[Release]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self.rows)))]
        made = self._made[place]
        if made is None:
            row, bit = self.rows[place], place if place >= 0 else place + len(self.rows)
            made = self._made[place] = Release(self._project, parse_version(row.version), bit, row)
        return made

    def version_at(self, place: int) -> Version:
        """Return the version of a release, which need not be made for that."""
        return parse_version(self.rows[place].version)

    def place_of(self, version: Version) -> tuple[int, bool]:
        """Return where *version* is or would be, and whether it is there."""
        if self._keys is None:
            place = bisect_left(range(len(self.rows)), version, key=self.version_at)
            return place, place < len(self.rows) and self.version_at(place) == version
        key = sort_key(version)
        place = bisect_left(self._keys, key)
        return place, place < len(self.rows) and self._keys[place] == key

    def with_installed(self, row: Row) -> "Releases":
        """Return the releases with an installed one in its place; the index's of the same version goes."""
        place, is_there = self.place_of(parse_version(row.version))
        after = place + is_there
        below = (1 << place) - 1
        pre, yanked = (bits & below | bits >> after << place + 1 for bits in (self.pre, self.yanked))
        rows = [*self.rows[:place], row, *self.rows[after:]]
        return Releases(self._project, rows, pre=pre, yanked=yanked, installed=1 << place)


class Omission(NamedTuple):
    """Why a version was left out, and its files."""

    reason: str
    files: tuple[str, ...]


class Omissions(Mapping[Version, str]):
    """Version → why it was left out. *rows* is called at the first look, which most resolutions never take.

    A row is (version, reason, files), oldest first; *newest* is the last one's version, empty without any, None where
    nobody looked.
    """

    def __init__(
        self,
        rows: Callable[[], Sequence[tuple[str, str, Sequence[str]]]],
        without: Version | None = None,
        newest: str | None = None,
    ) -> None:
        self.rows, self._without, self._newest = rows, without, newest

    def newer_than(self, version: Version) -> Iterator[tuple[Version, str]]:
        """Yield (version, reason) of what is newer than *version*, newest first, without reading the others."""
        if self._newest is not None and not (self._newest and parse_version(self._newest) > version):
            return
        for text, reason, _files in reversed(self.rows()):
            omitted = parse_version(text)
            if omitted <= version:
                return
            if omitted != self._without:
                yield omitted, reason

    @cached_property
    def _found(self) -> dict[Version, Omission]:
        found = {parse_version(text): Omission(reason, tuple(files)) for text, reason, files in self.rows()}
        if self._without is not None:
            found.pop(self._without, None)
        return found

    def __getitem__(self, version: Version) -> str:
        return self._found[version].reason

    def __iter__(self) -> Iterator[Version]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def files_of(self, version: Version) -> tuple[str, ...]:
        """Return the names of a version's files that can't be used."""
        return self._found[version].files

    def excluding(self, version: Version) -> "Omissions":
        """Return the same without *version*, which is there after all."""
        return Omissions(self.rows, version, self._newest)


class Listing(NamedTuple):
    """A project's usable releases, oldest first, and what was left out and why."""

    project: NormalizedName
    releases: Releases
    left_out: Omissions = Omissions(tuple)
    unusable_files: tuple[tuple[str, str], ...] = ()  # (name, what is wrong with it or with its entry)
    notes: tuple[str, ...] = ()  # what is odd about its pages and no reason to refuse them
    searched: tuple[str, ...] = ()  # the indexes asked, redacted

    @classmethod
    def empty(cls, project: NormalizedName, searched: tuple[str, ...] = ()) -> "Listing":
        """Return the listing of a project that is not there."""
        return cls(project=project, releases=Releases(project, ()), searched=searched)

    def with_installed(self, installed: "Installed") -> "Listing":
        """Return the listing with an *installed* version, which replaces the indexes' same one."""
        releases = self.releases.with_installed(installed.row())
        return self._replace(releases=releases, left_out=self.left_out.excluding(installed.metadata.version))


class Installed(NamedTuple):
    """An installed distribution: its metadata and where its dist-info is."""

    metadata: CoreMetadata
    path: str

    def row(self) -> Row:
        """Return what its release will be made of."""
        return Row(str(self.metadata.version), None, installed_at=self.path, metadata=self.metadata)


def listing_of_one(metadata: CoreMetadata, file: IndexFile) -> Listing:
    """The listing of a project that the user gave by URL or path: exactly one release (PEP 508 direct reference)."""
    row, pre = Row(str(metadata.version), file, metadata=metadata), int(metadata.version.is_prerelease)
    return Listing(project=metadata.name, releases=Releases(metadata.name, [row], pre=pre))
