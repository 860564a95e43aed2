"""The C library's functions that a sandbox needs, by the C part of ctypes: the rest of it is much to import."""

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001  # what ctypes.c_long is
    _type_ = "l"


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _Library:
    """What stands for the process's own symbols."""

    _name, _handle = None, _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is the program itself


def _function(name: str) -> "Any":
    return _Function((name, _Library))  # type: ignore[arg-type]  # it asks for a _handle alone


# Arguments are bytes for pointers, and numbers that an int has room for. They return -1 for an error.
prctl, setrlimit, syscall = (_function(name) for name in ("prctl", "setrlimit", "syscall"))


def last_error() -> str:
    """Return what the last call that failed says."""
    return os.strerror(_ctypes.get_errno())


def wipe(address: int, size_bytes: int) -> None:
    """Fill memory of this process with zeros."""
    kind: Any = type("Buffer", (_ctypes.Array,), {"_type_": _Char, "_length_": size_bytes})
    kind.from_address(address)[:] = bytes(size_bytes)


def buffer_of(data: bytes) -> "Any":
    """Return memory that holds *data*, to be kept as long as the C library has its address."""
    kind: Any = type("Buffer", (_ctypes.Array,), {"_type_": _Char, "_length_": len(data)})
    return kind.from_buffer_copy(data)


def address_of(buffer: "Any") -> int:
    """Return where a buffer is."""
    return int(_ctypes.addressof(buffer))
