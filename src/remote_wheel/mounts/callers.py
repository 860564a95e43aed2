"""What the standard library imports by name on behalf of others: for code of an isolated environment, in that.

While one is open, importlib's functions and the built-in ``__import__`` ask whose code calls them.
"""

import builtins
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, Final

from remote_wheel.mounts.isolation import ALWAYS, KEY, Isolation, Name

_STDLIB: Final = tuple(
    {f"{os.path.dirname(os.__file__)}{os.sep}", f"{sysconfig.get_path('stdlib')}{os.sep}", "<frozen "}
)
_NOT_STDLIB: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def who_asks(frame: FrameType | None) -> Isolation | None:
    """Return the isolated environment whose code is behind a call: the nearest that is not the standard library's."""
    while frame is not None:
        found = frame.f_builtins.get(KEY)
        if isinstance(found, Isolation):
            return found
        place = frame.f_code.co_filename
        is_stock = place.startswith(_STDLIB) and not any(mark in place for mark in _NOT_STDLIB)
        if not is_stock and place != who_asks.__code__.co_filename:
            return None
        frame = frame.f_back
    return None


# Functions of the standard library that import by name, and who has taken one of them for itself.
_WATCHED: Final = (
    ("importlib", "import_module", "import_module"),
    ("importlib.util", "find_spec", "find_spec"),
    ("builtins", "__import__", "__import__"),
    ("importlib.metadata", "import_module", "import_module"),
    ("logging.config", "BaseConfigurator.importer", "__import__"),
)
_stock: dict[str, Callable[..., Any]] = {}
_open_tops: set[str] = set()  # top-level names of open environments


def watch_imports(isolations: Sequence[Isolation]) -> None:
    """Have what imports by name ask whose code calls it, as long as there are *isolations*."""
    _open_tops.clear()
    _open_tops.update(top for each in isolations for top in each.tops)
    if importlib.import_module is not _OURS["import_module"]:  # what somebody else has put there meanwhile counts
        stock = (importlib.import_module, importlib.util.find_spec, builtins.__import__)
        _stock.update(zip(_OURS, stock, strict=True))
    for module_name, place, function in _WATCHED:
        before, after = (_stock[function], _OURS[function]) if isolations else (_OURS[function], _stock[function])
        owner: Any = sys.modules.get(module_name)
        *parts, attribute = place.split(".")
        for part in parts:
            owner = getattr(owner, part, None)
        if getattr(owner, attribute, None) is before:
            setattr(owner, attribute, staticmethod(after) if parts else after)


def _import_anywhere(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002  # as the built-in has it
    locals: Mapping[str, Any] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Import as ever, but for code of the standard library on behalf of an environment's, that environment's modules.

    Where somebody means the very module that a class is of (pickle), give that.
    """
    if type(name) is Name and name in sys.modules:
        return sys.modules[name]
    if not level and name.partition(".")[0] in _open_tops:
        isolation = who_asks(sys._getframe(1))  # noqa: SLF001
        if isolation is not None and isolation.has(name):
            return isolation.import_for(name, fromlist)
    found: ModuleType = _stock["__import__"](name, globals, locals, fromlist, level)
    return found


def _import_module(name: str, package: str | None = None) -> ModuleType:
    """Do what importlib.import_module does, for code of an isolated environment in that."""
    isolation = who_asks(sys._getframe(1))  # noqa: SLF001  # whose code calls decides
    if isolation is None:
        found: ModuleType = _stock["import_module"](name, package)
        return found
    return isolation.import_module(importlib.util.resolve_name(name, package) if name.startswith(".") else name)


def _find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
    """Do what importlib.util.find_spec does, for code of an isolated environment in that."""
    isolation = who_asks(sys._getframe(1))  # noqa: SLF001
    absolute = importlib.util.resolve_name(name, package) if name.startswith(".") else name
    found: ModuleSpec | None
    if isolation is None or (not isolation.has(absolute) and absolute.partition(".")[0] in ALWAYS):
        found = _stock["find_spec"](name, package)
        return found
    return isolation.spec_of(absolute)


_OURS: Final[dict[str, Callable[..., Any]]] = {
    "import_module": _import_module,
    "find_spec": _find_spec,
    "__import__": _import_anywhere,
}
