"""In memory or unpacked: the static rule that decides it, measured over 190 real wheels.

A pure wheel is imported from its image unless its code looks for files by path. Guessing wrong towards memory
breaks silently (a template that is "not there"), guessing wrong towards disk costs some inodes, so doubt unpacks.
docs/decisions/0004-in-memory-or-unpacked.md has the measurements.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Final

_NATIVE: Final = re.compile(r"\.(so(\.\d+)*|pyd|dylib|dll)$")
_NOT_DATA: Final = re.compile(
    r"(\.(py|pyc|pyi|pyx|pxd|pxi|c|cc|cpp|h|hpp)|(^|/)py\.typed|(^|/)(licen[cs]es?|copying|notice|authors)[^/]*)$",
    re.I,
)
_TEST_PARTS: Final = frozenset(("test", "tests", "testing", "examples", "docs", "benchmarks", "conftest.py"))
# Names by which code gets at the place a module came from …
_PATHY: Final = frozenset(
    "__file__ __path__ getfile getsourcefile submodule_search_locations co_filename pkg_resources resource_filename"
    .split()
)  # fmt: skip
# … and names by which it then touches files.
_FILE_ACCESS: Final = frozenset(
    "open listdir scandir glob iglob walk iterdir exists isfile isdir is_file is_dir stat read_text read_bytes CDLL"
    " LoadLibrary Popen run_path FileSystemLoader spec_from_file_location add_dll_directory rglob loadtxt"
    .split()
)  # fmt: skip
_RESOURCES: Final = frozenset(("importlib.resources", "importlib_resources", "get_data"))


# Without any of these in its source, nothing that a module names matters; see Scan.add_module. To look for literals one
# after the other is many times faster than for any of many words.
_TELLING: Final = tuple(name.encode() for name in sorted({*_PATHY, "importlib", "get_data", "__spec__"}))
_WORD: Final = re.compile(rb"[^\W\d]\w*")


def may_tell(source: bytes) -> bool:
    """Whether what the code of *source* names can matter to Scan.add_module; it names no more than its words."""
    if not any(part in source for part in _TELLING):
        return False
    words = {word.decode("utf-8", "replace") for word in _WORD.findall(source)}
    return (
        "__file__" in words
        or {"importlib", "resources"} <= words
        or not words.isdisjoint(("importlib_resources", "get_data"))
        or (not words.isdisjoint(_FILE_ACCESS) and not words.isdisjoint({*_PATHY, "__spec__"}))
    )


def is_native(path: str) -> bool:
    """Whether the file is a shared library, by its name: an extension module, or what one needs."""
    return bool(_NATIVE.search(path))


class Scan:
    """Collects what the files of one distribution say; `reasons` tells why it must be unpacked, if it must.

    `native` is the first shared library, which no setting can leave in memory.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, None] = {}
        self.native = ""
        self._data = ""
        self._uses_resources = self._uses_file = False

    def add_path(self, path: str) -> None:
        """Take note of a file by its name."""
        top = path.partition("/")[0]
        if top.endswith((".dist-info", ".data")):
            return
        if is_native(path):
            self.native = self.native or path
        elif not self._data and not _NOT_DATA.search(path):
            self._data = path

    def add_module(self, path: str, source: bytes, code: CodeType | None) -> None:
        """Take note of what a module's code names; tests are not looked at."""
        if not _TEST_PARTS.isdisjoint(path.split("/")) or path.rpartition("/")[2].startswith("test_"):
            return
        names = set(_names_of(code)) if code else set()
        if ("importlib" in names and "resources" in names) or not _RESOURCES.isdisjoint(names):
            self._uses_resources = True
        if "__file__" in names:
            uses = _uses_of_file(source)
            self._uses_file = self._uses_file or bool(uses)
            if "own" in uses:
                self._reasons.setdefault(f"{path} reads its own __file__")
                return
            if not uses:
                names.discard("__file__")
        pathy = _PATHY & names or ({"__spec__.origin"} if {"__spec__", "origin"} <= names else set())
        if pathy and (access := _FILE_ACCESS & names):
            self._reasons.setdefault(f"{path} uses {min(pathy)} and {min(access)}")

    def add_entry_points(self, text: str) -> None:
        """Take note of the entry points: pytest rewrites the assertions of a plugin only where its file exists."""
        if "[pytest11]" in text:
            self._reasons.setdefault("it has a pytest plugin")

    @property
    def is_decided(self) -> bool:
        """Whether it must be unpacked, whatever else is found."""
        return bool(self.native or self._reasons)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it must be unpacked; empty where it can stay in memory."""
        native = (f"native code: {self.native}",) if self.native else ()
        needs_data = self._data and (self._uses_file or not self._uses_resources)
        data = (f"it ships data: {self._data}",) if needs_data else ()
        return (*native, *self._reasons, *data)


def _names_of(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_of(constant)
        elif isinstance(constant, str) and constant in ("__file__", "__path__"):
            yield constant


def _uses_of_file(source: bytes) -> set[str]:
    """Return "own" and "other" as `__file__` is read as a bare name or of something else.

    An ``if __name__ == "__main__"`` block does not count: nobody runs it by importing.
    """
    try:
        nodes = list(_walk_outside_main([ast.parse(source)]))
    except (SyntaxError, ValueError):
        return {"other"}
    own = any(isinstance(node, ast.Name) and node.id == "__file__" for node in nodes)
    attribute = any(isinstance(node, ast.Attribute) and node.attr == "__file__" for node in nodes)
    text = any(isinstance(node, ast.Constant) and node.value == "__file__" for node in nodes)
    return ({"own"} if own else set()) | ({"other"} if attribute or text else set())


def _walk_outside_main(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    todo = list(nodes)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and _is_main_guard(node.test):
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def _is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.comparators) == 1
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )
