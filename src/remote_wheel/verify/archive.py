"""A strict zip reader: one contiguous layout, one meaning, or UnsafeArchive.

Zip (PKWARE APPNOTE 6.3) says everything twice, in the local headers and in the central directory, and readers
differ in which they believe; that is how one file shows two contents. Here both must agree, members must touch
without gaps, and nothing may stand before, between or behind them. Deliberately not `zipfile`, which forgives.
"""

import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

from remote_wheel.errors import UnsafeArchive
from remote_wheel.settings import Limits
from remote_wheel.spec.pieces import PIECE_BYTES, pieces
from remote_wheel.verify.names import find_collisions, name_fault

STORED: Final = 0
DEFLATED: Final = 8
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_EXTRA: Final = struct.Struct("<2H")
_DEFLATE_LEVEL, _DESCRIPTOR, _UTF8 = 0b110, 0b1000, 0x800
_UNICODE_EXTRAS: Final = (0x7075, 0x6375)  # a second name beside the name: two readers, two files
_NEWEST: Final = 63  # version 6.3 of APPNOTE, ten times
_NOTHING_DEFLATED: Final = 2  # bytes
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_NO_EXTRA: Final[dict[int, memoryview]] = {}


class Member(NamedTuple):
    """One file or folder of an archive. Offsets and sizes in bytes."""

    name: str
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    header_offset: int
    data_offset: int
    mode: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder's own entry."""
        return self.name.endswith("/")

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link; its contents are then its target."""
        return stat.S_IFMT(self.mode) == stat.S_IFLNK

    @property
    def is_executable(self) -> bool:
        """Whether a Unix system wrote it with an execute bit."""
        return bool(self.mode & 0o111) and not self.is_folder


class Archive:
    """The members of a zip whose layout passed every rule. Contents are checked as they are read.

    *data* is kept, not copied. *subject* names the archive in errors. Source trees may hold symbolic links, which
    the caller judges (*may_link*). `comment` is the archive's own. Raises UnsafeArchive.
    """

    def __init__(self, data: bytes | memoryview, *, subject: str, limits: Limits, may_link: bool = False) -> None:
        self._data, self._size, self._may_link = memoryview(data), len(data), may_link
        self.comment = ""
        self.kept: dict[str, bytes] = {}  # contents that were read and checked, and will be wanted once more
        self._subject = subject
        self._limits = limits
        count, start, end = self._read_end()
        members = sorted(self._read_directory(count, start, end), key=lambda member: member[0].header_offset)
        self.members: dict[str, Member] = {}
        expected = 0
        for at, (entry, flags) in enumerate(members):
            following = members[at + 1][0].header_offset if at + 1 < len(members) else start
            member = self._check_local(entry, flags, expected, following)
            expected = following
            if member.name in self.members:
                self._refuse(member.name, "it is there twice")
            self.members[member.name] = member
        if expected != start:
            self._refuse("", "there are bytes that belong to no member")
        for name, rule in find_collisions(self.members):
            self._refuse(name, rule)

    @property
    def unpacked_bytes(self) -> int:
        """The sum of its members' sizes."""
        return sum(member.size_bytes for member in self.members.values())

    def read(self, name: str) -> bytes:
        """Return the contents of member *name*, inflated within its stated size and checked against its CRC."""
        if kept := self.kept.pop(name, None):
            return kept
        member = self.members[name]
        if member.size_bytes > PIECE_BYTES:
            return b"".join(self.chunks(name))
        at = member.data_offset
        packed = self._data[at : at + member.packed_bytes]
        data = bytes(packed) if member.method == STORED else self._inflate_at_once(member, packed)
        self._check_contents(member, len(data), zlib.crc32(data))
        return data

    def chunks(self, name: str) -> Iterator[bytes | memoryview]:
        """Yield the contents of member *name* piece by piece, checked as `read` does: all hold once the last has come.

        Raises UnsafeArchive.
        """
        member = self.members[name]
        if member.size_bytes <= PIECE_BYTES:
            yield self.read(name)
            return
        packed = pieces(self._data, member.data_offset, member.data_offset + member.packed_bytes)
        count = crc = 0
        for chunk in packed if member.method == STORED else self._inflate(member, packed):
            count, crc = count + len(chunk), zlib.crc32(chunk, crc)
            yield chunk
        self._check_contents(member, count, crc)

    def _check_contents(self, member: Member, count: int, crc: int) -> None:
        if count != member.size_bytes:
            self._refuse(member.name, f"it inflates to {count} bytes where {member.size_bytes} are stated")
        if crc != member.crc:
            self._refuse(member.name, "its data does not have the CRC stated")

    def _inflate_at_once(self, member: Member, packed: memoryview) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflater.decompress(packed, member.size_bytes + 1)  # one byte more than there may be tells of more
        except zlib.error as error:
            self._refuse(member.name, f"its data can't be inflated ({error})")
        if not inflater.eof or inflater.unconsumed_tail or inflater.unused_data:
            self._refuse(member.name, "its data does not end where its size says")
        return data

    def _inflate(self, member: Member, packed: Iterable[memoryview]) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        left = member.size_bytes + 1  # one byte more than there may be tells that there are more
        rest: bytes | memoryview = b""
        try:
            for rest in packed:
                is_cut = True  # there may be more to come of what was put in
                while is_cut and left and not inflater.eof:
                    most = min(left, PIECE_BYTES)
                    chunk = inflater.decompress(rest, most)
                    rest, left, is_cut = inflater.unconsumed_tail, left - len(chunk), len(chunk) == most
                    yield chunk
                if rest or inflater.unused_data:
                    break
        except zlib.error as error:
            self._refuse(member.name, f"its data can't be inflated ({error})")
        if rest or inflater.unused_data or not inflater.eof:
            self._refuse(member.name, "its data does not end where its size says")

    def _refuse(self, member: str, rule: str) -> NoReturn:
        raise UnsafeArchive(subject=self._subject, member=member, rule=rule)

    def _unpack(self, layout: struct.Struct, offset: int, what: str) -> tuple[Any, ...]:
        """Return the record at *offset*: its signature (bytes), then its numbers."""
        if offset < 0 or offset + layout.size > self._size:
            self._refuse("", f"it ends inside {what}")
        return layout.unpack_from(self._data, offset)

    def _read_end(self) -> tuple[int, int, int]:
        """Return (number of members, where the central directory starts, where it ends)."""
        at = self._find_end()
        _, disk, cd_disk, here, total, size, start, _comment = self._unpack(_END, at, "its end record")
        if disk or cd_disk or here != total:
            self._refuse("", "it is split over several disks")
        end = at
        has_locator = at >= _LOCATOR64.size and bytes(self._data[at - _LOCATOR64.size :][:4]) == b"PK\x06\x07"
        if has_locator:
            total, size, start, end = self._read_end64(at, (total, size, start))
        elif total == _MAX16 or _MAX32 in (size, start):
            self._refuse("", "it needs a Zip64 end record and has none")
        if start + size != end:
            self._refuse("", "its central directory does not end where its end record says")
        if any(self._has(signature, start, end) for signature in (b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07")):
            self._refuse("", "there is an end record inside its central directory")
        if total > self._limits.members:
            self._refuse("", f"it has {total} members, more than {self._limits.members}")
        return total, start, end

    def _has(self, signature: bytes, start: int, end: int) -> bool:
        """Whether the bytes from *start* to *end* hold a signature."""
        overlap = len(signature) - 1
        steps = range(start, end, PIECE_BYTES)
        return any(signature in bytes(self._data[at : min(at + PIECE_BYTES + overlap, end)]) for at in steps)

    def _find_end(self) -> int:
        size = len(self._data)
        tail = bytes(self._data[max(0, size - _END.size - _MAX16) :])
        found = tail.rfind(b"PK\x05\x06")
        if found < 0 or len(tail) - found < _END.size:
            self._refuse("", "it has no end record; it is no zip, or it is cut short")
        comment = int.from_bytes(tail[found + 20 : found + 22], "little")
        if len(tail) - found - _END.size != comment:
            self._refuse("", "there are bytes behind its end record")
        if not tail[found + _END.size :].isascii():
            self._refuse("", "its comment is not ASCII")
        self.comment = tail[found + _END.size :].decode("ascii")
        other = tail.find(b"PK\x05\x06")
        while 0 <= other < found:  # by chance, it is in compressed data; it counts where another reader may take it
            stated = int.from_bytes(tail[other + 20 : other + 22], "little")
            if found - other < _END.size or len(tail) - other - _END.size == stated:
                self._refuse("", "it has two end records")
            other = tail.find(b"PK\x05\x06", other + 1)
        return size - len(tail) + found

    def _read_end64(self, at: int, narrow: tuple[int, int, int]) -> tuple[int, int, int, int]:
        _, disk, offset, disks = self._unpack(_LOCATOR64, at - _LOCATOR64.size, "its Zip64 locator")
        if disk or disks != 1 or offset + _END64.size != at - _LOCATOR64.size:
            self._refuse("", "its Zip64 locator does not point right before itself")
        if bytes(self._data[offset : offset + 4]) != b"PK\x06\x06":
            self._refuse("", "its Zip64 locator does not point to a Zip64 end record")
        fields = self._unpack(_END64, offset, "its Zip64 end record")
        _, length, _made, _needed, disk, cd_disk, here, total, size, start = fields
        if length != _END64.size - 12 or disk or cd_disk or here != total:
            self._refuse("", "its Zip64 end record is not the plain one")
        for stated, wide, most in zip(narrow, (total, size, start), (_MAX16, _MAX32, _MAX32), strict=True):
            if stated not in (most, wide):
                self._refuse("", "its two end records differ")
        return total, size, start, offset

    def _read_directory(self, count: int, start: int, end: int) -> Iterator[tuple[Member, int]]:
        at, inflated = start, 0
        for _ in range(count):
            if at + _CENTRAL.size > end:
                self._refuse("", "its central directory holds fewer members than stated")
            entry, flags, at = self._read_entry(at)
            inflated += entry.size_bytes
            if inflated > self._limits.unpacked_bytes:
                self._refuse("", f"it inflates to more than {self._limits.unpacked_bytes} bytes")
            yield entry, flags
        if at != end:
            self._refuse("", "its central directory holds more than stated")

    def _read_entry(self, at: int) -> tuple[Member, int, int]:
        signature, *fields = self._unpack(_CENTRAL, at, "its central directory")
        if signature != b"PK\x01\x02":
            self._refuse("", "its central directory holds fewer members than stated")
        _made, needed, flags, method, _time, _date, crc, packed, size = fields[:9]
        name_len, extra_len, comment_len, disk, _internal, external, header = fields[9:]
        if needed > _NEWEST:
            self._refuse("", f"a member needs version {needed / 10} of the format, which there is none of")
        name_at = at + _CENTRAL.size
        following = name_at + name_len + extra_len + comment_len
        if following > len(self._data):
            self._refuse("", "it ends inside its central directory")
        name = self._decode_name(bytes(self._data[name_at : name_at + name_len]), flags)
        extra = self._read_extra(name, name_at + name_len, extra_len) if extra_len else _NO_EXTRA
        if 1 in extra or _MAX32 in (size, packed, header) or disk == _MAX16:
            size, packed, header, disk = self._widen(
                name, extra, ((size, _MAX32), (packed, _MAX32), (header, _MAX32), (disk, _MAX16))
            )
        member = Member(name, method, crc, packed, size, header, 0, external >> 16)
        comment = bytes(self._data[following - comment_len : following])
        if b"PK" in comment:  # who looks for records by their signatures would find some there
            self._refuse(name, "its comment may be taken for a part of the archive")
        self._check_member(member, flags, disk=disk)
        return member, flags, following

    def _decode_name(self, raw: bytes, flags: int) -> str:
        try:
            name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
        except UnicodeDecodeError:
            self._refuse(repr(raw), "its name is not UTF-8, or not marked as such")
        if fault := name_fault(name):
            self._refuse(name, fault)
        return name

    def _read_extra(self, name: str, at: int, length: int) -> dict[int, memoryview]:
        fields: dict[int, memoryview] = {}
        end = at + length
        while at < end:
            if end - at < _EXTRA.size:
                self._refuse(name, "its extra field is cut short")
            tag, size = _EXTRA.unpack_from(self._data, at)
            at += _EXTRA.size
            if at + size > end:
                self._refuse(name, "its extra field is cut short")
            if tag in fields or tag in _UNICODE_EXTRAS:
                self._refuse(name, f"its extra field 0x{tag:04x} is given twice or gives a second name")
            fields[tag] = self._data[at : at + size]
            at += size
        return fields

    def _widen(self, name: str, extra: dict[int, memoryview], fields: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
        """Replace saturated fields by those of the Zip64 extra field (APPNOTE 4.5.3), in order.

        It must hold exactly the saturated ones, or all up to some field, the others saying the same twice; bazel
        writes the latter, and no two readers can differ about it.
        """
        block = extra.get(1)
        widths = [4 if most == _MAX16 else 8 for _, most in fields]
        needed = [value == most for value, most in fields]
        if block is None:
            if any(needed):
                self._refuse(name, "its sizes need a Zip64 extra field and it has none")
            return tuple(value for value, _ in fields)
        exact = sum(width for width, is_needed in zip(widths, needed, strict=True) if is_needed)
        prefixes = [sum(widths[:count]) for count in range(2, len(fields) + 1)]
        is_exact = len(block) == exact
        if not is_exact and (len(block) not in prefixes or any(needed[prefixes.index(len(block)) + 2 :])):
            self._refuse(name, "its Zip64 extra field does not hold exactly what is needed")
        wide, at = [], 0
        for (value, _), width, is_needed in zip(fields, widths, needed, strict=True):
            if at < len(block) and (is_needed or not is_exact):
                stated = int.from_bytes(block[at : at + width], "little")
                if not is_needed and stated != value:
                    self._refuse(name, "its Zip64 extra field and its other fields differ")
                value, at = stated, at + width
            wide.append(value)
        return tuple(wide)

    def _check_member(self, member: Member, flags: int, *, disk: int) -> None:
        limits, kind = self._limits, stat.S_IFMT(member.mode)
        if flags & ~(_DEFLATE_LEVEL | _DESCRIPTOR | _UTF8):
            self._refuse(member.name, "it is encrypted or uses a flag no wheel needs")
        if member.method not in (STORED, DEFLATED):
            self._refuse(member.name, f"its compression method {member.method} is neither stored nor deflated")
        if disk:
            self._refuse(member.name, "it is on another disk")
        if member.is_link and self._may_link:
            kind = stat.S_IFREG
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR and not member.is_folder):
            self._refuse(member.name, "it is a link, a device or a folder in disguise")
        if member.is_folder and (member.size_bytes or member.crc or member.packed_bytes not in (0, _NOTHING_DEFLATED)):
            self._refuse(member.name, "it is a folder and has contents")
        if member.method == STORED and member.packed_bytes != member.size_bytes:
            self._refuse(member.name, "it is stored, and its two sizes differ")
        if member.size_bytes > limits.member_bytes or member.size_bytes > member.packed_bytes * limits.ratio:
            self._refuse(member.name, "it inflates to more than is allowed or possible")

    def _check_local(self, entry: Member, flags: int, expected: int, following: int) -> Member:
        """Check the local header against *entry*; it must start at *expected* and end at *following*."""
        at, name = entry.header_offset, entry.name
        if at != expected:
            self._refuse(name, "there are bytes before it that belong to no member, or it overlaps another")
        fields = self._unpack(_LOCAL, at, "a local header")
        signature, _needed, local_flags, method, _time, _date, crc, packed, size, name_len, extra_len = fields
        if signature != b"PK\x03\x04":
            self._refuse(name, "it has no local header")
        name_at = at + _LOCAL.size
        if name_at + name_len + extra_len > len(self._data):
            self._refuse(name, "it ends inside its local header")
        raw_name = bytes(self._data[name_at : name_at + name_len])
        if raw_name != name.encode() or (local_flags, method) != (flags, entry.method):
            self._refuse(name, "its local header and the central directory differ")
        extra = self._read_extra(name, name_at + name_len, extra_len) if extra_len else _NO_EXTRA
        size, packed = self._widen(name, extra, ((size, _MAX32), (packed, _MAX32))) if 1 in extra else (size, packed)
        stated = (crc, packed, size)
        known = (entry.crc, entry.packed_bytes, entry.size_bytes)
        # APPNOTE 4.4.4: with bit 3 the local header's numbers are zero and stand in a descriptor behind the data.
        if stated != known and not (flags & _DESCRIPTOR and stated == (0, 0, 0)):
            self._refuse(name, "its sizes or CRC in the local header and the central directory differ")
        if flags & _DESCRIPTOR and entry.method == STORED and entry.packed_bytes and stated == (0, 0, 0):
            # Who reads from the front finds its end by looking for the descriptor, in what may be anything.
            self._refuse(name, "it is stored, and only a descriptor behind it says how long it is")
        data_at = name_at + name_len + extra_len
        data_end = data_at + entry.packed_bytes
        if data_end != following and not (
            flags & _DESCRIPTOR and data_end < following and self._is_descriptor(data_end, following, known)
        ):
            self._refuse(name, "it does not end where the next member starts")
        if flags & _DESCRIPTOR and data_end == following:
            self._refuse(name, "its data descriptor is missing")
        member = Member(name, entry.method, entry.crc, entry.packed_bytes, entry.size_bytes, at, data_at, entry.mode)
        if member.is_folder and member.packed_bytes:  # nobody reads it, so it is read now
            self._inflate_at_once(member, self._data[data_at:data_end])
        return member

    def _is_descriptor(self, start: int, end: int, known: tuple[int, int, int]) -> bool:
        """Whether the bytes are a data descriptor: signature optional, sizes of 4 or 8 bytes (APPNOTE 4.3.9)."""
        raw = bytes(self._data[start:end])
        if len(raw) in (16, 24) and raw[:4] == b"PK\x07\x08":
            raw = raw[4:]
        forms = {12: "<3I", 20: "<I2Q"}
        return len(raw) in forms and struct.unpack(forms[len(raw)], raw) == known
