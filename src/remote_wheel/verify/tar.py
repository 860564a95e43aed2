"""A strict tar reader, under the rules of archive.py: one meaning, or UnsafeArchive.

POSIX.1-2001 (ustar and pax) and the long names of GNU tar, plain or compressed; no sparse files, devices or volumes.
Deliberately not `tarfile`, which forgives: it skips what it can't read and stops quietly at a broken header.
"""

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn

from remote_wheel.errors import InvalidSource, UnsafeArchive
from remote_wheel.settings import Limits
from remote_wheel.spec.pieces import pieces
from remote_wheel.verify.names import find_collisions, name_fault

_BLOCK: Final = 512
_STEP_BYTES: Final = 1024 * 1024
_NUMBERS: Final = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))  # mode, owner, time, device
_BINARY: Final = (0x80, 0xFF)  # GNU's way to write what octal digits have no room for
_FILE, _HARD_LINK, _LINK, _FOLDER = b"0", b"1", b"2", b"5"
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
# Keys that change what a header says; all others (mtime, comment, vendors' own) don't concern us.
_SPARSE: Final = "GNU.sparse."


class TarMember(NamedTuple):
    """One file, folder or symbolic link. Offsets in bytes of the uncompressed archive."""

    name: str
    size_bytes: int
    data_offset: int
    mode: int
    is_folder: bool
    target: str = ""

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return bool(self.target)

    @property
    def is_executable(self) -> bool:
        """Whether it has an execute bit."""
        return bool(self.mode & 0o111) and not self.is_folder


class TarArchive:
    """The members of a tar whose every block passed. `comment` is the commit that ``git archive`` notes.

    *data* is the file as it is, compressed or not; *subject* names it in errors. Raises UnsafeArchive, or
    InvalidSource for a compression that this interpreter can't read.
    """

    def __init__(self, data: bytes | memoryview, *, subject: str, limits: Limits) -> None:
        self._subject, self._limits = subject, limits
        self._data = memoryview(_uncompressed(data, subject, limits))
        self.comment = ""
        self.members: dict[str, TarMember] = {}
        for member in self._read_members():
            if member.name in self.members:
                self._refuse(member.name, "it is there twice")
            self.members[member.name] = member
            if len(self.members) > limits.members:
                self._refuse("", f"it has more than {limits.members} members")
        for name, rule in find_collisions(self.members):
            self._refuse(name, rule)

    @property
    def unpacked_bytes(self) -> int:
        """The sum of its members' sizes."""
        return sum(member.size_bytes for member in self.members.values())

    def read(self, name: str) -> bytes:
        """Return the contents of member *name*; of a link, its target."""
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes | memoryview]:
        """Yield what `read` returns piece by piece."""
        member = self.members[name]
        if member.is_link:
            yield member.target.encode()
        else:
            yield from pieces(self._data, member.data_offset, member.data_offset + member.size_bytes)

    def _refuse(self, member: str, rule: str) -> NoReturn:
        raise UnsafeArchive(subject=self._subject, member=member, rule=rule)

    def _read_members(self) -> Iterator[TarMember]:
        at, overrides, pending = 0, dict[str, str](), list[bytes]()
        while True:
            block = bytes(self._data[at : at + _BLOCK])
            if len(block) < _BLOCK:
                self._refuse("", "it ends without its two empty blocks; it is no tar, or it is cut short")
            if not any(block):
                break
            kind, size = self._check_header(block), self._number(block[124:136], "size")
            data_at = at + _BLOCK
            at = data_at + -(-size // _BLOCK) * _BLOCK
            if at > len(self._data):
                self._refuse(self._text(block[:100]), "it ends inside this member")
            if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                overrides |= self._read_extension(kind, bytes(self._data[data_at : data_at + size]))
                if kind != _PAX_GLOBAL:
                    if kind in pending or (pending and _PAX in (kind, *pending)):  # readers differ in which one counts
                        self._refuse("", "a member has two extended headers that may say two things")
                    pending.append(kind)
                continue
            member = self._member(block, kind, size, data_at, overrides)
            if "size" in overrides:  # the header's own can't hold it (8 GiB and up)
                self._refuse(member.name, f"it is larger than {self._limits.member_bytes} bytes")
            overrides, pending = {}, []
            if member.name != "./":  # GNU tar's entry of the folder it was called in
                yield member
        if pending:
            self._refuse("", "its last extended header belongs to no member")
        if len(self._data) - at < 2 * _BLOCK or any(self._data[at:]):
            self._refuse("", "there are bytes behind its end")

    def _check_header(self, block: bytes) -> bytes:
        stated = self._number(block[148:156], "checksum")
        if stated != sum(block[:148]) + 8 * ord(" ") + sum(block[156:]):
            self._refuse("", "a header does not have the checksum stated; it is no tar, or it is damaged")
        for start, end in _NUMBERS:  # a reader may take a header with a wrong one for the end of the archive
            if block[start] not in _BINARY:
                self._number(block[start:end], "number")
        kind = block[156:157]
        return _FILE if kind == b"\0" else kind

    def _member(self, block: bytes, kind: bytes, size: int, data_at: int, overrides: dict[str, str]) -> TarMember:
        name = overrides["path"] if "path" in overrides else self._header_name(block)
        if not name:
            self._refuse("", "it has a member without a name")
        if kind not in (_FILE, _LINK, _FOLDER):
            self._refuse(name, "it is a hard link, a device or of a kind that no source archive needs")
        if kind == _FILE and name.endswith("/"):  # how archives before POSIX marked folders
            kind = _FOLDER
        target = ""
        if kind == _LINK:
            target = overrides["linkpath"] if "linkpath" in overrides else self._text(block[157:257])
        if kind != _FILE and size:
            self._refuse(name, "it is no file and has contents")
        if kind == _LINK and not target:
            self._refuse(name, "it is a link to nothing")
        if kind == _FOLDER:
            name = name.rstrip("/") + "/"
        name = name.removeprefix("./") or "./"
        if name == "./" and kind != _FOLDER:
            self._refuse(name, "it is the archive's own folder, and no folder")
        if name != "./" and (fault := name_fault(name)):
            self._refuse(name, fault)
        if size > self._limits.member_bytes:
            self._refuse(name, f"it is larger than {self._limits.member_bytes} bytes")
        return TarMember(name, size, data_at, self._number(block[100:108], "mode"), kind == _FOLDER, target)

    def _header_name(self, block: bytes) -> str:
        name, prefix = self._text(block[:100]), ""
        if block[257:263] == b"ustar\0":  # GNU's own format has other fields where POSIX has the prefix
            prefix = self._text(block[345:500])
        elif any(block[345:500]):  # some readers take it for the prefix all the same
            self._refuse(name, "its header has something where only POSIX has a part of the name")
        return f"{prefix}/{name}" if prefix else name

    def _read_extension(self, kind: bytes, data: bytes) -> dict[str, str]:
        if kind in (_GNU_NAME, _GNU_LINK):
            return {"path" if kind == _GNU_NAME else "linkpath": self._text(data)}
        found = dict(self._pax_records(data))
        if any(key.startswith(_SPARSE) for key in found):
            self._refuse("", "it has a sparse file")
        if kind == _PAX_GLOBAL:
            self.comment = found.get("comment", self.comment)
            if not found.keys().isdisjoint(("path", "linkpath", "size")):
                self._refuse("", "it gives all its members one name, link or size")
            return {}
        return {key: value for key, value in found.items() if key in ("path", "linkpath", "size")}

    def _pax_records(self, data: bytes) -> Iterator[tuple[str, str]]:
        """Yield the records "length key=value" of an extended header (POSIX.1-2001, pax Extended Header)."""
        at = 0
        while at < len(data):
            space = data.find(b" ", at, at + 20)
            digits = data[at:space] if space > 0 else b""
            end = at + int(digits) if digits.isdigit() else 0
            key, equals, value = data[space + 1 : end - 1].partition(b"=")
            if not equals or end > len(data) or data[end - 1 : end] != b"\n":
                self._refuse("", "an extended header can't be read")
            yield self._decoded(key), self._decoded(value)
            at = end

    def _number(self, field: bytes, what: str) -> int:
        digits = field.rstrip(b" \0").lstrip(b" ")
        if not digits:
            return 0
        if not set(digits) <= set(b"01234567"):
            self._refuse("", f"the {what} of a header is no octal number")
        return int(digits, 8)

    def _text(self, field: bytes) -> str:
        text, _, rest = field.partition(b"\0")
        if any(rest):
            self._refuse(self._decoded(text), "a name goes on behind its end")
        return self._decoded(text)

    def _decoded(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self._refuse(repr(raw), "a name is not UTF-8")


def _uncompressed(data: bytes | memoryview, subject: str, limits: Limits) -> bytes | bytearray | memoryview:
    head = bytes(data[:6])
    if head.startswith(b"\x1f\x8b"):
        return _inflate(data, zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error, subject, limits)
    if head.startswith(b"BZh"):
        return _inflate(data, bz2.BZ2Decompressor(), OSError, subject, limits)
    if head == b"\xfd7zXZ\0":
        memory = limits.source_bytes  # a header may ask for a dictionary of 4 GiB
        return _inflate(data, lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), lzma.LZMAError, subject, limits)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _inflate(data, *_zstd(subject), subject, limits)
    return data


def _zstd(subject: str) -> tuple[Any, type[Exception]]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14 and up
    except ImportError:
        reason = "this interpreter can't read Zstandard; Python 3.14 can"
        raise InvalidSource(source=subject, reason=reason) from None
    return zstd.ZstdDecompressor(), zstd.ZstdError


def _inflate(
    data: bytes | memoryview, inflater: Any, failure: type[Exception], subject: str, limits: Limits
) -> bytearray:
    """Return *data* inflated, within its bound; one stream, and nothing but zeros behind it."""
    view, out, at = memoryview(data), bytearray(), 0
    try:
        while not inflater.eof and at < len(view):
            piece: bytes | memoryview | None = view[at : at + _STEP_BYTES]
            at += _STEP_BYTES
            while piece is not None:
                out += inflater.decompress(piece, _STEP_BYTES)
                if len(out) > limits.source_bytes:
                    rule = f"it inflates to more than {limits.source_bytes} bytes"
                    raise UnsafeArchive(subject=subject, member="", rule=rule)
                piece = _pending(inflater)
    except (failure, EOFError) as error:
        raise UnsafeArchive(subject=subject, member="", rule=f"it can't be inflated ({error})") from error
    if not inflater.eof:
        raise UnsafeArchive(subject=subject, member="", rule="its compressed data is cut short")
    if any(inflater.unused_data) or any(view[at:]):
        raise UnsafeArchive(subject=subject, member="", rule="there are bytes behind its compressed data")
    return out


def _pending(inflater: Any) -> bytes | None:
    """Return what to feed *inflater* next though no new input came; None where it wants new input, or is done."""
    if inflater.eof:
        return None
    if hasattr(inflater, "unconsumed_tail"):  # zlib gives back what it has no room for; the others keep it
        return inflater.unconsumed_tail or None
    return None if inflater.needs_input else b""
