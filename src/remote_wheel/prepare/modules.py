"""Which modules a distribution's files make importable, and which of them its name stands for."""

import importlib.machinery
import sys
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from remote_wheel.mounts.image import BYTECODE, EXTENSION, EXTENSION_PACKAGE, MODULE, PACKAGE

_EXTENSIONS: Final = tuple(sorted(importlib.machinery.EXTENSION_SUFFIXES, key=len, reverse=True))
# Never mounted over: the standard library, what the interpreter runs by itself at its start, and this library.
_PROTECTED: Final = frozenset((*sys.stdlib_module_names, "sitecustomize", "usercustomize", "remote_wheel"))


class ModuleTable(NamedTuple):
    """Modules by path without suffix (``flask/app``) as (kind, file name), and all folders that hold anything."""

    modules: Mapping[str, tuple[int, str]]
    folders: frozenset[str]

    @property
    def tops(self) -> tuple[str, ...]:
        """Top-level modules and regular packages, less the protected names."""
        return tuple(sorted(key for key in self.modules if "/" not in key and key not in _PROTECTED))

    @property
    def protected(self) -> tuple[str, ...]:
        """Top-level modules and packages that have protected names, and are no part of `tops` for that."""
        return tuple(sorted(key for key in self.modules if key in _PROTECTED))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Top-level folders without ``__init__`` that hold modules (PEP 420)."""
        found = {key.partition("/")[0] for key in self.modules if "/" in key} - set(self.modules) - {"remote_wheel"}
        return tuple(sorted(name for name in found if name.isidentifier()))


def find_modules(paths: Iterable[str]) -> ModuleTable:
    """Find the modules among *paths* in the order FileFinder would: package, then extension, then source."""
    modules: dict[str, tuple[int, str]] = {}
    ranks: dict[str, int] = {}
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if found := _module_of(path):
            key, kind, rank = found
            if key not in ranks or rank < ranks[key]:
                modules[key], ranks[key] = (kind, path), rank
    return ModuleTable(modules=modules, folders=frozenset(folders))


def _module_of(path: str) -> tuple[str, int, int] | None:
    """Return (key, kind, rank) of a module's file; a lower rank is found first."""
    folder, slash, name = path.rpartition("/")
    if folder.partition("/")[0].endswith((".dist-info", ".data")) or folder.endswith("__pycache__"):
        return None
    for at, suffix in enumerate((*_EXTENSIONS, ".py", ".pyc")):
        stem = name.removesuffix(suffix)
        if stem != name and stem:
            if suffix == ".pyc":
                return (folder if stem == "__init__" and folder else folder + slash + stem), BYTECODE, 200
            is_source = suffix == ".py"
            if stem == "__init__" and folder:
                return folder, PACKAGE if is_source else EXTENSION_PACKAGE, at
            return folder + slash + stem, MODULE if is_source else EXTENSION, 100 + at
    return None


def choose_module(project: str, table: ModuleTable) -> tuple[str, ...]:
    """Return the module that *project* (normalised) stands for, alone; or every one it might be.

    PyYAML gives ``yaml``, google-cloud-storage ``google.cloud.storage``; a private name only stands where it is alone.
    """
    names = {name.lower(): name for name in (*table.tops, *table.namespaces)}
    plain = project.replace("-", "_").replace(".", "_")
    if found := names.get(plain):
        if found in table.tops:
            return (found,)
        inner = [key for key in table.modules if key.startswith(f"{found}/") and key.count("/") == 1]
        return (found,) if len(inner) != 1 else (inner[0].replace("/", "."),)
    keys = {key.lower(): key for key in table.modules}
    if dotted := keys.get(project.replace("-", "/")):
        return (dotted.replace("/", "."),)
    public = tuple(name for name in table.tops if not name.startswith("_")) or table.tops
    return public or tuple(_namespace_modules(table))


def _namespace_modules(table: ModuleTable) -> Iterable[str]:
    """Yield the shallowest regular packages and modules where a distribution has only namespaces at its top."""
    depth = min((key.count("/") for key in table.modules), default=0)
    return sorted(key.replace("/", ".") for key in table.modules if key.count("/") == depth)
