"""Which member names an archive may have: those that mean one file, on every system that this one may share them with.

What only Windows reads in another way is refused there alone; docs/decisions/0018-names-of-other-systems.md says why.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_ON_WINDOWS: Final = frozenset(':<>"|?*')
# docs of Win32, "Naming Files, Paths, and Namespaces"; whatever follows behind a dot.
_DEVICES: Final = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{name}{n}" for name in ("com", "lpt") for n in "123456789¹²³"),
    )
)
_INVISIBLE: Final = ("Cc", "Cf", "Zl", "Zp")
# The longest names in 199 wheels of 187 projects have 137 letters and 10 folders. Every folder above a name is kept.
_MOST_LETTERS: Final = 1024
_MOST_FOLDERS: Final = 64
_MOST_OF_PART: Final = 255
_CONTROL: Final = frozenset(map(chr, (*range(32), 127)))


def name_fault(name: str, *, is_windows: bool = os.name == "nt") -> str | None:
    """Return the rule that *name* breaks, or None. A folder's name ends in one slash."""
    if not name or name == "/":
        return "its name is empty"
    if len(name) > _MOST_LETTERS:
        return f"its name has more than {_MOST_LETTERS} letters"
    if name.count("/") > _MOST_FOLDERS:
        return f"it is more than {_MOST_FOLDERS} folders deep"
    if not name.isascii() and (fault := _unicode_fault(name)):
        return fault
    if not _CONTROL.isdisjoint(name):
        return "its name has a control character"
    if "\\" in name:
        return "its name has a backslash"
    if name.startswith("/") or (is_windows and name[1:2] == ":"):
        return "its name is an absolute path"
    if is_windows and not _ON_WINDOWS.isdisjoint(name):
        return "its name has a character that Windows has another meaning for"
    faults = (_part_fault(part, is_windows=is_windows) for part in name.removesuffix("/").split("/"))
    return next(filter(None, faults), None)


def _unicode_fault(name: str) -> str | None:
    if unicodedata.normalize("NFC", name) != name:
        return "its name is not in Unicode normal form C"
    if any(unicodedata.category(letter) in _INVISIBLE for letter in name):
        return "its name has an invisible character, or one that turns the text around"
    return None


def _part_fault(part: str, *, is_windows: bool) -> str | None:
    if part in ("", ".", ".."):
        return "its name has an empty, '.' or '..' part"
    if is_windows and part[-1] in ". ":
        return "a part of its name ends in a dot or space, which Windows drops"
    if is_windows and part.partition(".")[0].rstrip().lower() in _DEVICES:
        return "a part of its name is that of a device on Windows"
    if len(part) > _MOST_OF_PART or len(part.encode("utf-8", "surrogateescape")) > _MOST_OF_PART:
        return f"a part of its name has more than {_MOST_OF_PART} bytes, which no file system has room for"
    return None


def find_collisions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, rule) for names that some file system can't keep apart, or that are file and folder."""
    listed = tuple(names)
    files = {name for name in listed if not name.endswith("/")}
    spelling: dict[str, str] = {}  # folded path → its first spelling, of every member and of every folder above
    for name in listed:
        for path in _path_and_folders(name.removesuffix("/"), spelling):
            known = spelling.setdefault(_fold(path), path)
            if known != path:
                yield name, f"it can't be told apart from {known!r} where case or Unicode forms don't count"
                break
            if path in files and path != name:
                yield name, f"{path!r} is both a file and a folder"
                break


def _path_and_folders(path: str, known: Mapping[str, str]) -> Iterator[str]:
    """Yield *path* and the folders above it, up to the first folder that *known* holds in this spelling."""
    yield path
    while (cut := path.rfind("/")) > 0:
        path = path[:cut]
        is_known = known.get(_fold(path)) == path
        yield path
        if is_known:
            return


def _fold(path: str) -> str:
    """Return what is the same for paths that some file system may take for one: Unicode's compatibility caseless match.

    Folding may take letters apart that are one in the normal form, and normalising make some that fold (Unicode 3.13).
    """
    if path.isascii():
        return path.lower()
    for _ in range(2):
        path = unicodedata.normalize("NFKD", path).casefold()
    return unicodedata.normalize("NFKD", path)
