"""Listings as bytes: what was read and sorted once from a page need not be read and sorted again."""

import marshal
from operator import attrgetter
from typing import Final

from packaging.utils import NormalizedName

from remote_wheel.index.listing import Listing, Omissions, Releases, Row
from remote_wheel.index.page import IndexFile

FORMAT: Final = 1  # to be raised with any change of what is packed, or of how pages are read
_FIELDS: Final = attrgetter(*IndexFile.__slots__)


def pack_listing(listing: Listing) -> bytes:
    """Return a listing of releases that are all from one index, for unpack_listing."""
    releases = listing.releases
    rows = [(row.version, _FIELDS(row.file) if isinstance(row.file, IndexFile) else row.file) for row in releases.rows]
    omitted = marshal.dumps([(text, reason, list(files)) for text, reason, files in listing.left_out.rows()], 4)
    values = (rows, releases.pre, releases.yanked, omitted, listing.unusable_files, listing.notes)
    return marshal.dumps(values, 4)


def unpack_listing(data: bytes, project: NormalizedName, index: str, searched: tuple[str, ...]) -> Listing:
    """Return the listing that pack_listing was given; *data* has to be exactly what it returned."""
    rows, pre, yanked, omitted, unusable_files, notes = marshal.loads(data)  # noqa: S302  # the caller checked it
    return Listing(
        project=project,
        releases=Releases(project, [Row(version, file, index) for version, file in rows], pre=pre, yanked=yanked),
        left_out=Omissions(lambda: marshal.loads(omitted)),  # noqa: S302  # as above
        unusable_files=unusable_files,
        notes=notes,
        searched=searched,
    )
