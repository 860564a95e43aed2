"""Listings as bytes: what was read and sorted once from a page need not be read and sorted again."""

import marshal
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, overload

from packaging.utils import NormalizedName

from remote_wheel.index.listing import Listing, Omissions, Releases, Row
from remote_wheel.index.page import IndexFile
from remote_wheel.spec.version import sort_key

FORMAT: Final = 5  # to be raised with any change of what is packed, or of how pages are read
_PLACE: Final = 4  # bytes of a place in the pieces


class _Rows(Sequence[Row]):
    """Rows that are unpacked when they are looked at."""

    __slots__ = ("_index", "_length", "_pieces", "_places")

    def __init__(self, places: bytes, pieces: bytes, index: str) -> None:
        self._places, self._pieces, self._index = places, pieces, index
        self._length = len(places) // _PLACE - 1

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(place)
        at = place % self._length * _PLACE
        start = int.from_bytes(self._places[at : at + _PLACE], "little")
        end = int.from_bytes(self._places[at + _PLACE : at + 2 * _PLACE], "little")
        version, *file = marshal.loads(self._pieces[start:end])  # noqa: S302  # as below
        return Row(version, IndexFile._make(file) if file else None, self._index)


def pack_listing(listing: Listing) -> bytes:
    """Return a listing of releases that are all from one index, for unpack_listing."""
    releases = listing.releases
    pieces = [marshal.dumps((row.version, *(row.file or ())), 4) for row in releases.rows]
    places = accumulate(map(len, pieces), initial=0)
    omitted = [(text, reason, list(files)) for text, reason, files in listing.left_out.rows()]
    values = (
        "\n".join(sort_key(releases.version_at(place)) for place in range(len(releases))),
        b"".join(place.to_bytes(_PLACE, "little") for place in places),
        b"".join(pieces),
        releases.pre,
        releases.yanked,
        omitted[-1][0] if omitted else "",
        marshal.dumps(omitted, 4),
        listing.unusable_files,
        listing.notes,
    )
    return marshal.dumps(values, 4)


def unpack_listing(data: bytes, project: NormalizedName, index: str, searched: tuple[str, ...]) -> Listing:
    """Return the listing that pack_listing was given; *data* has to be exactly what it returned."""
    # The caller checked it.
    keys, places, pieces, pre, yanked, newest, omitted, unusable_files, notes = marshal.loads(data)  # noqa: S302
    rows = _Rows(places, pieces, index)
    return Listing(
        project=project,
        releases=Releases(project, rows, keys.split("\n") if keys else [], pre=pre, yanked=yanked),
        left_out=Omissions(lambda: marshal.loads(omitted), newest=newest),  # noqa: S302  # as above
        unusable_files=unusable_files,
        notes=notes,
        searched=searched,
    )
