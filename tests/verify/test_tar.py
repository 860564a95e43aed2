"""The strict tar reader: what it takes reads as tarfile reads it, and what has two meanings is refused."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_wheel.errors import InvalidSource, UnsafeArchive, VerificationError
from remote_wheel.settings import Limits
from remote_wheel.verify.tar import TarArchive


def read(data: bytes, limits: Limits | None = None) -> TarArchive:
    return TarArchive(data, subject="it.tar", limits=limits or Limits())


def make(*members: tuple[tarfile.TarInfo, bytes], **options: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as archive:  # type: ignore[call-overload]  # options of open()
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def header(data: bytes, at: int, place: slice, value: bytes) -> bytes:
    """Return *data* with a field of the header at *at* changed, its checksum made right."""
    block = bytearray(data[at : at + 512])
    block[place] = value.ljust(place.stop - place.start, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + 512 :]


NAMES = st.lists(
    st.text(st.characters(whitelist_categories=("Ll", "Nd"), max_codepoint=0x24F), min_size=1, max_size=60),
    min_size=1,
    max_size=5,
).map("/".join)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
FORMATS = st.sampled_from((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6), FORMATS, st.sampled_from(tuple(PACKERS)))
def test_it_reads_what_tarfile_reads(files: dict[str, bytes], form: int, packing: str) -> None:
    try:
        data = make(*(entry(name, content) for name, content in files.items()), format=form)
    except ValueError:  # ustar has no room for such a name
        return
    try:
        archive = read(PACKERS[packing](data))
    except UnsafeArchive as refused:
        allowed = ("can't be told apart", "both a file and a folder", "form C")  # what a case-folding system can't hold
        if not any(rule in refused.rule for rule in allowed):
            raise
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as stock:
        expected = {member.name: stock.extractfile(member) for member in stock}
        contents = {name: file.read() for name, file in expected.items() if file}
    assert {name: archive.read(name) for name in archive.members} == contents


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=2000))
def test_garbage_is_refused_with_our_error(data: bytes) -> None:
    with pytest.raises((VerificationError, InvalidSource)):  # the latter for Zstandard, where it can't be read
        read(data)


GOOD = make(entry("pkg/__init__.py", b"V = 1\n"), entry("pkg/x.txt", b"data"))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 3071), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_harmless(at: int, flip: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= flip
    try:
        archive = read(bytes(data))
    except VerificationError:
        return
    assert set(archive.members) == {"pkg/__init__.py", "pkg/x.txt"}, "names and sizes are under a checksum"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (make(entry("../x")), "'..' part"),
        (make(entry("/x")), "absolute path"),
        (make(entry("a\\b")), "backslash"),
        (make(entry("a\x01b")), "control character"),
        (make(entry("x", b"1"), entry("x", b"2")), "it is there twice"),
        (make(entry("x"), entry("X")), "can't be told apart"),
        (make(entry("x"), entry("x/y")), "both a file and a folder"),
        (make(entry("x", type=tarfile.LNKTYPE, linkname="y")), "hard link"),
        (make(entry("x", type=tarfile.CHRTYPE)), "a device"),
        (make(entry("x", type=tarfile.FIFOTYPE)), "of a kind that no source archive needs"),
        (make(entry("x", type=tarfile.SYMTYPE)), "link to nothing"),
        (make(entry("x", pax_headers={"GNU.sparse.major": "1"}), format=tarfile.PAX_FORMAT), "sparse"),
        (make(entry("x", pax_headers={"size": "9"}), format=tarfile.PAX_FORMAT), "larger than"),
        (
            make(entry("x"), format=tarfile.PAX_FORMAT, pax_headers={"path": "y"}),
            "gives all its members one name, link or size",
        ),
        (GOOD[:1024], "ends without its two empty blocks"),
        (GOOD[:700], "ends inside this member"),
        (GOOD[:2048] + b"\0" * 512, "bytes behind its end"),
        (GOOD + b"x", "bytes behind its end"),
        (header(GOOD, 0, slice(124, 136), b"-1"), "size of a header is no octal number"),
        (header(GOOD, 0, slice(0, 100), b"x\0y"), "goes on behind its end"),
        (header(GOOD, 0, slice(0, 100), b"\xff\xfe"), "not UTF-8"),
        (header(GOOD, 0, slice(156, 157), b"S"), "of a kind that no source archive needs"),
        (header(GOOD, 0, slice(156, 157), b"5"), "no file and has contents"),
        (gzip.compress(GOOD) + b"x", "bytes behind its compressed data"),
        (gzip.compress(GOOD)[:-5], "cut short"),
        (gzip.compress(GOOD) * 2, "bytes behind its compressed data"),
        (b"BZh9 no", "can't be inflated"),
        (b"", "no tar"),
    ],
)
def test_refused(data: bytes, rule: str) -> None:
    with pytest.raises(UnsafeArchive, match="not a well-formed archive") as caught:
        read(data)
    assert rule in str(caught.value)


def test_bounds() -> None:
    bomb = gzip.compress(make(entry("x", bytes(3_000_000))))
    with pytest.raises(UnsafeArchive, match="inflates to more than 1000000 bytes"):
        read(bomb, Limits(source_bytes=1_000_000))
    with pytest.raises(UnsafeArchive, match="larger than 100 bytes"):
        read(make(entry("x", bytes(101))), Limits(member_bytes=100))
    with pytest.raises(UnsafeArchive, match="more than 2 members"):
        read(make(entry("a"), entry("b"), entry("c")), Limits(members=2))


def test_long_names_links_folders_and_the_commit() -> None:
    long = "/".join(["deep" * 10] * 6)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        data = make(
            entry(long, b"1"),
            entry("folder", type=tarfile.DIRTYPE),
            entry("link", type=tarfile.SYMTYPE, linkname=long),
            entry("./dotted", b"2", mode=0o755),
            format=form,
        )
        archive = read(data)
        assert list(archive.members) == [long, "folder/", "link", "dotted"]
        assert archive.read("link").decode() == long
        assert archive.members["dotted"].is_executable
    assert read(make(entry("x"), format=tarfile.PAX_FORMAT, pax_headers={"comment": "0" * 40})).comment == "0" * 40


def test_a_size_that_readers_take_differently_is_refused() -> None:
    """Python's tarfile reads leading NULs as the end of the number, others read what follows."""
    whole = make(entry("pkg/a.bin", b"x" * 1024))
    with pytest.raises(UnsafeArchive, match="is no octal number"):
        read(header(whole, 0, slice(124, 136), b"\0" + b"00000002000"))


def extended(kind: bytes, body: bytes) -> bytes:
    """Return an extended header with its contents, as it stands in front of a member."""
    member = tarfile.TarInfo("././@LongLink" if kind in b"LK" else "pax")
    member.type, member.size = kind, len(body)
    return member.tobuf(tarfile.USTAR_FORMAT) + body.ljust(-(-len(body) // 512) * 512, b"\0")


def pax(name: str, value: str) -> bytes:
    line = f" {name}={value}\n"
    return f"{len(line) + 2}{line}".encode()


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ([(b"x", pax("path", "a.py")), (b"x", pax("path", "b.py"))], "two extended headers"),
        ([(b"L", b"a.py\0"), (b"L", b"b.py\0")], "two extended headers"),
        ([(b"L", b"a.py\0"), (b"x", pax("path", "b.py"))], "two extended headers"),
        ([(b"x", pax("path", "b.py")), (b"L", b"a.py\0")], "two extended headers"),
        ([(b"L", b"\0")], "a member without a name"),
        ([(b"x", pax("path", ""))], "an extended header can.t be read"),
    ],
)
def test_names_that_readers_take_differently_are_refused(headers: list[tuple[bytes, bytes]], rule: str) -> None:
    """GNU tar, tarfile and others see different names: the last header's, the first one's, the member's own."""
    data = b"".join(extended(kind, body) for kind, body in headers) + make(entry("pkg/x.py", b"x"))
    with pytest.raises(UnsafeArchive, match=rule):
        read(data)


def test_a_member_whose_header_has_no_name_is_refused() -> None:
    with pytest.raises(UnsafeArchive, match="a member without a name"):
        read(header(GOOD, 0, slice(0, 100), b""))


def test_a_long_name_and_a_long_link_belong_together() -> None:
    long = "/".join(["deep" * 10] * 6)
    member = entry(long, type=tarfile.SYMTYPE, linkname=long + "/x")
    assert read(make(member, format=tarfile.GNU_FORMAT)).read(long).decode() == long + "/x"


@pytest.mark.parametrize("magic", [b"ustar  \0", b"\0" * 8], ids=["GNU", "v7"])
def test_a_prefix_that_only_some_readers_take_is_refused(magic: bytes) -> None:
    changed = header(make(entry("pkg/a.py", b"x")), 0, slice(257, 265), magic)
    assert list(read(changed).members) == ["pkg/a.py"]
    with pytest.raises(UnsafeArchive, match="only POSIX has a part of the name"):
        read(header(changed, 0, slice(345, 500), b"../other"))


@pytest.mark.parametrize("path", ["pkg/" + "a/" * 40_000 + "x", "pkg/" + "b" * 4000, "pkg/" + "abcdefg/" * 200 + "x"])
def test_a_name_of_any_length_costs_nothing(path: str) -> None:
    with pytest.raises(UnsafeArchive, match=r"folders deep|more than 255 bytes|more than 1024 letters"):
        read(make(entry(path, b""), format=tarfile.PAX_FORMAT))
