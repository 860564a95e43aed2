"""Packed listings: what comes back is what was packed, made only where it is looked at."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import Version

from remote_wheel.index.candidates import make_listing
from remote_wheel.index.listing import Listing, Releases
from remote_wheel.index.packing import pack_listing, unpack_listing
from remote_wheel.index.page import IndexFile, Page
from tests.resolution.fakes import TARGET

THING = canonicalize_name("thing")
INDEX = "https://index.example/simple/"
VERSION = st.sampled_from(("1", "1.0", "1.0.post1", "2rc1", "2", "2+local", "1!0", "3.dev1", "nonsense"))
FILE = st.builds(
    IndexFile,
    filename=st.builds(
        "thing-{}-{}".format, VERSION, st.sampled_from(("py3-none-any.whl", "cp312-cp312-win32.whl", "1.tar.gz"))
    ),
    url=st.sampled_from(("https://index.example/a", "https://index.example/b")),
    digests=st.sampled_from(({}, {"sha256": "ab"})),
    requires_python=st.sampled_from(("", ">=3.8", "<3")),
    yanked=st.sampled_from((None, "", "broken")),
    has_metadata=st.booleans(),
    metadata_digests=st.sampled_from(({}, {"sha256": "cd"})),
    size_bytes=st.none() | st.integers(0, 2**40),
    upload_time=st.sampled_from(("", "2026-01-01T00:00:00Z")),
    provenance=st.sampled_from(("", "https://index.example/p")),
)
STATUS = st.sampled_from(("active", "archived", "quarantined"))


def facts_of(listing: Listing) -> object:
    releases = [(r.project, r.version, r.bit, r.row, r.yanked) for r in listing.releases]
    left_out = [(version, reason, listing.left_out.files_of(version)) for version, reason in listing.left_out.items()]
    newer = [list(listing.left_out.newer_than(Version(text))) for text in ("0", "1", "2", "99")]
    bits = listing.releases.pre, listing.releases.yanked, listing.releases.installed
    return releases, left_out, newer, bits, listing.unusable_files, listing.notes, listing.searched


@given(st.lists(FILE, max_size=12), STATUS)
def test_a_listing_comes_back_as_it_was(files: list[IndexFile], status: str) -> None:
    page = Page(project=THING, url=INDEX, files=tuple(files), origin=INDEX, status=status, unreadable=(("x", "why"),))
    made = make_listing(THING, [page], TARGET, searched=(INDEX,))
    again = unpack_listing(pack_listing(made), THING, INDEX, (INDEX,))
    assert facts_of(again) == facts_of(made)
    assert facts_of(unpack_listing(pack_listing(again), THING, INDEX, (INDEX,))) == facts_of(made)


@given(st.lists(FILE, max_size=12))
def test_the_bits_are_what_the_releases_are(files: list[IndexFile]) -> None:
    made = make_listing(THING, [Page(project=THING, url=INDEX, files=tuple(files))], TARGET)
    check_bits(made.releases)
    check_bits(unpack_listing(pack_listing(made), THING, INDEX, (INDEX,)).releases)


def check_bits(found: Releases) -> None:
    assert [found.pre >> r.bit & 1 for r in found] == [int(r.version.is_prerelease) for r in found]
    assert [found.yanked >> r.bit & 1 for r in found] == [int(r.yanked is not None) for r in found]
    versions = [release.version for release in found]
    assert versions == sorted(set(versions))
    for version in map(Version, ("0", "1", "1.0.post1", "2", "9")):
        place, is_there = found.place_of(version)
        assert is_there == (version in versions)
        assert place == sum(each < version for each in versions)
