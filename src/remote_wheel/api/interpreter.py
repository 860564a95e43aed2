"""Which programs may be started as an interpreter like this one, and how the two tell each other apart.

`sys.executable` is not always an interpreter: a program that embeds Python may be its own, and the default of an
embedded Python is whatever ``python3`` is on PATH. Starting the first opens a second window, and the second one
compiles for another version. So only what is called like an interpreter is started, and it has to say what it is
before it is believed.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

# What may follow "python" and the version in an interpreter's file name.
_ENDINGS: "Final" = ("", "t", "d", "td", "m", "dm", "w", "_d", "w_d", "-dbg", "-intel64")
_NAMES: "Final" = ("python", "pypy", "graalpy")


def identity() -> str:
    """Return what has to be the same in two interpreters for one to prepare what the other imports."""
    parts = (
        f"{sys.hexversion:x}",
        sys.implementation.cache_tag,
        getattr(sys, "abiflags", ""),
        sys.platform,
        f"{sys.maxsize:x}",
        getattr(sys.implementation, "_multiarch", ""),
    )
    return "|".join(map(str, parts))


# The same for an interpreter of any version, which may have none of our modules; it is followed by a line's end.
SAY_IDENTITY: "Final" = (
    "i = getattr(sys, 'implementation', None); "
    "own = '|'.join(map(str, ('%x' % sys.hexversion, getattr(i, 'cache_tag', ''), getattr(sys, 'abiflags', ''), "
    "sys.platform, '%x' % sys.maxsize, getattr(i, '_multiarch', ''))))"
)


def find_interpreters() -> "Iterator[str]":
    """Yield programs that are probably this interpreter, the likeliest first; none where it is frozen."""
    if hasattr(sys, "frozen"):
        return
    if sys.platform == "win32":
        names, folder = ["python.exe"], ""
    else:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        kind = "pypy" if sys.implementation.name == "pypy" else "python"
        names, folder = [f"{kind}{version}{getattr(sys, 'abiflags', '')}", f"{kind}{version}"], "bin"
    prefixes = (sys.prefix, sys.base_prefix)
    found = [os.path.join(prefix, folder, name) for prefix in prefixes for name in names]
    if sys.executable and _is_named_so(sys.executable):
        is_ours = any(sys.executable.startswith(os.path.join(prefix, "")) for prefix in prefixes)
        found.insert(0 if is_ours else len(found), sys.executable)  # else it may be any that is on PATH
    yield from (path for path in dict.fromkeys(found) if os.path.isfile(path) and os.access(path, os.X_OK))


def _is_named_so(path: str) -> bool:
    """Whether the file has the name of an interpreter: python3.11, pythonw.exe, pypy3."""
    name = os.path.basename(path).lower().removesuffix(".exe")
    rests = (name[len(kind) :] for kind in _NAMES if name.startswith(kind))
    return any(rest.lstrip("0123456789.") in _ENDINGS for rest in rests)
