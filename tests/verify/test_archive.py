"""The strict zip reader: what is whole is read exactly; every single lie is refused, with our own error."""

import contextlib
import io
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.wheels import make_wheel, make_zip
from remote_wheel.errors import UnsafeArchive
from remote_wheel.settings import Limits
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.names import name_fault

FILES = {"a/one.py": b"x = 1\n" * 50, "a/empty": b"", "b.txt": bytes(range(256))}


def parse(data: bytes, limits: Limits = Limits()) -> dict[str, bytes]:  # noqa: B008  # frozen
    archive = Archive(data, subject="test.zip", limits=limits)
    return {name: archive.read(name) for name, member in archive.members.items() if not member.is_folder}


def refusal(data: bytes, limits: Limits = Limits()) -> str:  # noqa: B008  # frozen
    with pytest.raises(UnsafeArchive) as caught:
        parse(data, limits)
    assert caught.value.subject == "test.zip"
    return f"{caught.value.member}: {caught.value.rule}"


def written(write: Callable[[zipfile.ZipFile], None]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        write(archive)
    return buffer.getvalue()


class Stream:
    """A target that can't seek, for which zipfile writes data descriptors."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, chunk: bytes) -> int:
        self.data += chunk
        return len(chunk)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_reads_what_zipfile_wrote() -> None:
    assert parse(make_zip(FILES)) == FILES
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = written(lambda archive, c=compression: _write(archive, FILES.items(), c))  # type: ignore[misc]
        assert parse(data) == FILES


def _write(archive: zipfile.ZipFile, files: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    for name, data in files:
        archive.writestr(name, data, compression)


def test_folders_comments_and_empty_archives() -> None:
    def write(archive: zipfile.ZipFile) -> None:
        archive.mkdir("folder")
        archive.writestr("folder/file", b"x")
        archive.comment = b"a comment"

    assert parse(written(write)) == {"folder/file": b"x"}
    assert parse(written(lambda _: None)) == {}


def test_data_descriptors() -> None:
    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    data = bytes(stream.data)
    assert parse(data) == FILES
    at = data.index(b"PK\x07\x08")
    assert "does not end where the next member starts" in refusal(data[: at + 5] + b"\xff" + data[at + 6 :])


def test_zip64_where_needed_and_only_there() -> None:
    def write(archive: zipfile.ZipFile) -> None:
        with archive.open("big", "w", force_zip64=True) as file:
            file.write(b"x" * 100)

    data = written(write)
    assert parse(data) == {"big": b"x" * 100}
    extra = data.index(b"\x01\x00\x10\x00")
    assert "differ" in refusal(data[: extra + 4] + b"\x63" + data[extra + 5 :])


def test_redundant_zip64_fields_must_say_the_same() -> None:
    """Bazel writes both sizes a second time; protobuf's wheels are made so."""
    plain = make_zip({"ab": b"data"})
    end = plain.rindex(b"PK\x05\x06")
    (start,) = struct.unpack_from("<I", plain, end + 16)
    packed, size = struct.unpack_from("<2I", plain, 18)

    def with_extra(stated: int) -> bytes:
        field = struct.pack("<2H2Q", 1, 16, stated, packed)
        local = plain[:28] + struct.pack("<H", len(field)) + plain[30:32] + field + plain[32:start]
        return local + plain[start : end + 16] + struct.pack("<I", start + len(field)) + plain[end + 20 :]

    assert parse(with_extra(size)) == {"ab": b"data"}
    assert "other fields differ" in refusal(with_extra(size + 1))


@given(st.dictionaries(st.text("abcdé/._-", min_size=1, max_size=8), st.binary(max_size=300), max_size=6))
def test_never_another_exception_and_never_other_contents(files: dict[str, bytes]) -> None:
    data = make_zip(files)
    with contextlib.suppress(UnsafeArchive):  # some of these names are not allowed
        assert parse(data) == {name: content for name, content in files.items() if not name.endswith("/")}


def test_every_flipped_byte_is_refused_or_harmless() -> None:
    data = make_zip(FILES)
    changed = 0
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            broken = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            try:
                contents = parse(broken)
            except UnsafeArchive:
                continue
            # Dates, versions, attributes: what may differ without meaning anything to us. Never a name or contents.
            assert contents == FILES, at
            changed += 1
    assert changed < len(data)


def test_every_truncation_is_refused() -> None:
    data = make_zip(FILES)
    for size in range(len(data)):
        refusal(data[:size])


def test_garbage_is_refused() -> None:
    rng = random.Random(2)
    for size in (0, 1, 22, 100, 5000):
        refusal(rng.randbytes(size))
        refusal(b"PK\x03\x04" + rng.randbytes(size) + b"PK\x05\x06" + rng.randbytes(18))


def test_bytes_before_between_and_behind() -> None:
    data = make_zip(FILES)
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", data, end + 16)[0]
    prefixed = io.BytesIO(b"#!/bin/sh\n")
    with zipfile.ZipFile(prefixed, "a") as archive:  # as a self-extracting archive: all its offsets are right
        archive.writestr("x", b"y")
    assert "belong to no member" in refusal(prefixed.getvalue())
    refusal(b"#!/usr/bin/python\n" + data)
    assert "behind its end record" in refusal(data + b"x")
    moved = data[start : end + 16] + struct.pack("<I", start + 4) + data[end + 20 :]
    assert "does not end where the next member starts" in refusal(data[:start] + b"gap!" + moved)


def test_local_header_and_directory_must_agree() -> None:
    data = make_zip({"aa.py": b"safe"})
    assert "differ" in refusal(data.replace(b"aa.py", b"ab.py", 1))
    where = data.rindex(b"aa.py")
    assert "differ" in refusal(data[:where] + b"ab.py" + data[where + 5 :])


def test_overlapping_members() -> None:
    data = make_zip({"a": b"one", "b": b"one"})
    second = data.rindex(b"PK\x01\x02")
    assert "does not end where the next member starts" in refusal(
        data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :]
    )


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../up", "'..' part"),
        ("/absolute", "absolute path"),
        ("a//b", "empty, '.' or '..' part"),
        ("./a", "'.' or '..'"),
        ("a\\b", "backslash"),
        ("a\x1fb", "control character"),
        ("e\u0301", "normal form C"),
    ],
)
def test_names(name: str, rule: str) -> None:
    assert rule in refusal(make_zip({name: b"x"}))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("C:/drive", "absolute path"),
        ("C:relative", "absolute path"),
        ("dot.", "ends in a dot or space"),
        ("folder./x", "ends in a dot or space"),
        ("space /x", "ends in a dot or space"),
        ("x.py:stream", "Windows has another meaning for"),
        ("x?.py", "Windows has another meaning for"),
        ("aux.py", "a device on Windows"),
        ("pkg/NUL", "a device on Windows"),
        ("com1 .txt", "a device on Windows"),
    ],
)
def test_names_of_windows_are_refused_there_alone(name: str, rule: str) -> None:
    assert rule in (name_fault(name, is_windows=True) or "")
    assert name_fault(name, is_windows=False) is None
    if os.name != "nt":
        assert parse(make_zip({name: b"x"})) == {name: b"x"}


def test_null_bytes_in_names() -> None:
    data = make_zip({"aXb": b"x"}).replace(b"aXb", b"a\x00b")
    assert "control character" in refusal(data)


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (("Readme", "README"), "can't be told apart"),
        (("a/x", "A/y"), "can't be told apart"),
        (("ﬁ", "fi"), "can't be told apart"),
        (("a", "a/b"), "both a file and a folder"),
        (("a/b/c", "a/b"), "both a file and a folder"),
    ],
)
def test_collisions(names: tuple[str, ...], rule: str) -> None:
    assert rule in refusal(make_zip(dict.fromkeys(names, b"x")))


def test_the_same_name_twice() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = written(lambda archive: _write(archive, [("twice", b"1"), ("twice", b"2")]))
    assert "there twice" in refusal(data)


def test_links_devices_and_disguises() -> None:
    for mode in (0o120777, 0o060644, 0o010644, 0o040755):
        info = zipfile.ZipInfo("strange")
        info.external_attr = mode << 16
        assert "a link, a device" in refusal(written(lambda z, i=info: z.writestr(i, b"target")))  # type: ignore[misc]


def test_other_compression_and_encryption() -> None:
    data = written(lambda z: z.writestr("x", b"y" * 99, zipfile.ZIP_BZIP2))
    assert "neither stored nor deflated" in refusal(data)
    plain = make_zip({"x": b"y"})
    for offset in (plain.index(b"PK\x03\x04") + 6, plain.index(b"PK\x01\x02") + 8):
        plain = plain[:offset] + b"\x01\x00" + plain[offset + 2 :]
    assert "encrypted" in refusal(plain)


def test_bombs() -> None:
    bomb = make_zip({"zeros": bytes(1_000_000)})
    assert "more than is allowed" in refusal(bomb, Limits(member_bytes=999_999))
    assert "inflates to more than" in refusal(make_zip({"a": bytes(600), "b": bytes(600)}), Limits(unpacked_bytes=1000))
    assert "members, more than" in refusal(make_zip(dict.fromkeys("abc", b"")), Limits(members=2))
    # A directory that states less than what really comes out is caught while inflating.
    lying = bomb.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 10))
    assert "does not end where its size says" in refusal(lying)


def test_a_real_wheel_passes() -> None:
    _, data = make_wheel("thing", "1", {"thing/__init__.py": "", "thing/data/naïve.txt": "ü"})
    assert "thing/data/naïve.txt" in parse(data)
