"""Listings as bytes: what was read and sorted once from a page need not be read and sorted again."""

import marshal
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, overload

from packaging.utils import NormalizedName

from remote_wheel.index.listing import Listing, Omissions, Releases, Row
from remote_wheel.index.page import IndexFile

FORMAT: Final = 3  # to be raised with any change of what is packed, or of how pages are read
_FIELDS: Final = attrgetter(*IndexFile.__slots__)


class _Rows(Sequence[Row]):
    """Rows that are unpacked when they are looked at."""

    __slots__ = ("_files", "_index", "_versions")

    def __init__(self, versions: Sequence[str], files: Sequence[bytes], index: str) -> None:
        self._versions, self._files, self._index = versions, files, index

    def __len__(self) -> int:
        return len(self._versions)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self._versions)))]
        packed = self._files[place]
        file = IndexFile(*marshal.loads(packed)) if packed else None  # noqa: S302  # as in unpack_listing
        return Row(self._versions[place], file, self._index)


def pack_listing(listing: Listing) -> bytes:
    """Return a listing of releases that are all from one index, for unpack_listing."""
    releases = listing.releases
    files = [marshal.dumps(_FIELDS(row.file), 4) if row.file else b"" for row in releases.rows]
    omitted = marshal.dumps([(text, reason, list(files)) for text, reason, files in listing.left_out.rows()], 4)
    values = (
        list(releases.versions),
        files,
        releases.pre,
        releases.yanked,
        omitted,
        listing.unusable_files,
        listing.notes,
    )
    return marshal.dumps(values, 4)


def unpack_listing(data: bytes, project: NormalizedName, index: str, searched: tuple[str, ...]) -> Listing:
    """Return the listing that pack_listing was given; *data* has to be exactly what it returned."""
    versions, files, pre, yanked, omitted, unusable_files, notes = marshal.loads(data)  # noqa: S302  # the caller did
    return Listing(
        project=project,
        releases=Releases(project, _Rows(versions, files, index), versions, pre=pre, yanked=yanked),
        left_out=Omissions(lambda: marshal.loads(omitted)),  # noqa: S302  # as above
        unusable_files=unusable_files,
        notes=notes,
        searched=searched,
    )
