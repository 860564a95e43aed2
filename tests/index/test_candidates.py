"""Listings: which files a target can use, and why not."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import NoCompatibleWheel, NoMatchingVersion, OnlySdists
from remote_wheel.index.candidates import _read_filename, explain_no_match, make_listing
from remote_wheel.index.listing import Installed, Listing
from remote_wheel.index.page import IndexFile, Page
from remote_wheel.index.target import target_of_this_machine
from remote_wheel.spec.metadata import CoreMetadata
from tests.resolution.fakes import TARGET

THING = canonicalize_name("thing")


def listing(*names: str, installed: Installed | None = None, **facts: str) -> Listing:
    files = tuple(IndexFile(filename=name, url=f"https://index.example/{name}", **facts) for name in names)  # type: ignore[arg-type]
    found = make_listing(THING, [Page(project=THING, url="", files=files)], TARGET)
    return found.with_installed(installed) if installed else found


def test_the_best_wheel_of_each_version_oldest_first() -> None:
    found = listing(
        "thing-2-py3-none-any.whl",
        "thing-1-py3-none-any.whl",
        "thing-2-cp312-cp312-linux_x86_64.whl",
        "thing-2-cp311-cp311-linux_x86_64.whl",
        "thing-10-py2.py3-none-any.whl",
        "thing-1.tar.gz",
    )
    assert [(str(r.version), r.bit, r.file.filename if r.file else "") for r in found.releases] == [
        ("1", 0, "thing-1-py3-none-any.whl"),
        ("2", 1, "thing-2-cp312-cp312-linux_x86_64.whl"),
        ("10", 2, "thing-10-py2.py3-none-any.whl"),
    ]
    assert found.left_out == {}


def test_reasons() -> None:
    found = listing(
        "thing-1.tar.gz", "thing-2-cp311-cp311-win32.whl", "other-3-py3-none-any.whl", "thing.exe", "thing-x.zip"
    )
    assert found.left_out == {Version("1"): "only a source distribution", Version("2"): "no wheel fits this machine"}
    assert {name for name, _ in found.unusable_files} == {"other-3-py3-none-any.whl", "thing.exe", "thing-x.zip"}
    assert listing("thing-1-py3-none-any.whl", requires_python="<3").left_out == {Version("1"): "requires Python <3"}
    assert listing("thing-1-py3-none-any.whl", requires_python="nonsense").releases


def test_the_installed_version_stands_for_the_indexs() -> None:
    installed = Installed(metadata=CoreMetadata(name=THING, version=Version("2")), path="/site/thing-2.dist-info")
    found = listing(
        "thing-1-py3-none-any.whl", "thing-2-py3-none-any.whl", "thing-3-py3-none-any.whl", installed=installed
    )
    assert [(str(r.version), r.row.installed_at) for r in found.releases] == [
        ("1", ""),
        ("2", "/site/thing-2.dist-info"),
        ("3", ""),
    ]


def test_an_installed_version_that_no_index_has() -> None:
    installed = Installed(metadata=CoreMetadata(name=THING, version=Version("2rc1")), path="/site/thing.dist-info")
    names = ("thing-1rc1-py3-none-any.whl", "thing-2-py3-none-any.whl", "thing-3rc1-py3-none-any.whl")
    found = listing(*names, "thing-2rc1.tar.gz", installed=installed, yanked="")
    assert [str(release.version) for release in found.releases] == ["1rc1", "2rc1", "2", "3rc1"]
    assert [release.bit for release in found.releases] == [0, 1, 2, 3]
    bits = found.releases.pre, found.releases.yanked, found.releases.installed
    assert bits == (0b1001, 0b1101, 0b0010)  # what is installed is neither
    assert not found.left_out


def test_the_error_that_tells_best() -> None:
    def error(found: Listing, specifier: str) -> object:
        return explain_no_match(found, f"thing{specifier}", SpecifierSet(specifier), TARGET)

    assert isinstance(error(listing("thing-1.tar.gz"), ""), OnlySdists)
    assert isinstance(error(listing("thing-1-cp39-cp39-win32.whl"), ""), NoCompatibleWheel)
    mixed = listing("thing-1-py3-none-any.whl", "thing-2.tar.gz")
    assert isinstance(error(mixed, ">=2"), OnlySdists)
    assert isinstance(error(mixed, ">=3"), NoMatchingVersion)


def test_this_machine() -> None:
    target = target_of_this_machine()
    assert target.admits_python(">=3.11")
    assert not target.admits_python(">=4")
    assert target.best_tags[0].startswith("cp3")
    assert target.rank(frozenset()) is None


NAMES = st.builds(
    "{}-{}{}-{}-{}-{}.whl".format,
    st.sampled_from(("thing", "Thing", "other", "thing_", "th.ing")),
    st.sampled_from(("1", "1.0", "1.0rc1", "2024.1", "1.0.post1", "1.0+local", "1!2", "x", "", "1_0")),
    st.sampled_from(("", "", "-1", "-2b", "-x", "-1-2")),
    st.sampled_from(("py3", "py2.py3", "cp312", "cp311.cp312")),
    st.sampled_from(("none", "abi3", "cp312")),
    st.sampled_from(("any", "linux_x86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64")),
)


@given(NAMES)
def test_file_names_are_read_as_packaging_reads_them(filename: str) -> None:
    try:
        name, version, build, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        expected: object = (None, (), None)
    else:
        expected = (version, build, tags) if name == THING else (None, (), None)
    assert _read_filename(filename, THING) == expected


def test_the_greater_build_number_wins() -> None:
    found = listing("thing-1-2-py3-none-any.whl", "thing-1-10-py3-none-any.whl", "thing-1-py3-none-any.whl")
    assert [r.file.filename for r in found.releases if r.file] == ["thing-1-10-py3-none-any.whl"]


def test_a_name_that_stands_for_thousands_of_wheels_is_unusable() -> None:
    many = ".".join(f"cp{number}" for number in range(150))
    found = listing(f"thing-1-{many}-{many}-{many}.whl", "thing-2-py2.py3-none-any.whl")
    assert [str(release.version) for release in found.releases] == ["2"]
    assert len(found.unusable_files) == 1
