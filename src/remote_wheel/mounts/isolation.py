"""Distributions that only some code sees: two versions of a project, in use in one process at the same time.

An isolated environment has modules of its own. Its code runs with a `__builtins__` of its own, whose `__import__` looks
into the environment, and into the standard library, and nowhere else; frames and functions hand it on, so it holds for
late imports, too. In sys.modules its modules stand under names that read as ever but are other keys (`Name`), so that
what looks a module up by `cls.__module__` (dataclasses, typing, pickle) finds the right one, and `import` elsewhere
does not. docs/decisions/0014-isolation.md has the reasons and the limits.

Loaded when an isolated environment is entered, so it may import what the island may not.
"""

import _frozen_importlib
import builtins
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final, cast

from remote_wheel.mounts import image as kinds
from remote_wheel.mounts.finder import PortionLoader, Root, make_spec, make_tree

_bootstrap: Any = _frozen_importlib
KEY: Final = "__remote_wheel_isolation__"
_STOCK_FINDERS: Final = (BuiltinImporter, FrozenImporter, PathFinder)
ALWAYS: Final = sys.stdlib_module_names | {"__main__", "remote_wheel"}


class Name(str):
    """A module's name in an isolated environment: equal to the plain one, and another key in a dict."""

    __slots__ = ("_package",)
    _package: str

    def __new__(cls, text: str, package: str) -> "Name":
        """Return *text* as the environment has it whose modules are in *package*, too."""
        made = super().__new__(cls, text)
        made._package = package
        return made

    def __hash__(self) -> int:
        """Differ from the plain text, and from other environments."""
        return hash((self._package, str.__hash__(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Lead a pickle to the module where the environment is, and elsewhere to the one of that name."""
        return module_name, (self._package, _plain(self))

    def __copy__(self) -> "Name":
        """Return itself, as text does."""
        return self

    def __deepcopy__(self, _memo: Any) -> "Name":
        """Return itself, as text does."""
        return self


def module_name(package: str, name: str) -> str:
    """Return what a module that a pickle names is imported by: as part of an environment's *package*, while it is open.

    Where there is none, in a process perhaps that has the same mounted plainly, *name* will do.
    """
    return f"{package}.{name}" if package in sys.modules else name


class IsolatedExtension(ImportError):
    """Raised for an extension module of an isolated environment; packages with a fallback in Python take that.

    What it needs it looks up by name in the process, where another version may be, and many load once only.
    """


class Isolation:
    """The modules of one environment, and how its code imports."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self.roots = tuple(roots)
        self.modules: dict[str, ModuleType] = {}
        self.is_open = True
        self._package = f"__isolated_{os.urandom(6).hex()}__"  # for what can import by plain text alone
        sys.modules[self._package] = _Package(self, self._package)
        # Of several with a module, the project that it is of comes first.
        self._tops: dict[str, list[Root]] = {}
        for root in self.roots:
            for top in (*root.tops, *root.facts["namespaces"]):
                self._tops.setdefault(top, []).append(root)
        for top, owners in self._tops.items():
            owners.sort(key=lambda root, top=top: tuple(root.facts["choices"]) != (top,))  # type: ignore[misc]  # it binds
        self._finders: list[Any] = [each for each in sys.meta_path if each in _STOCK_FINDERS]
        self.builtins = {**vars(builtins), "__import__": self._import, KEY: self}
        self._standins: dict[str, ModuleType] = {}

    def has(self, name: str) -> bool:
        """Whether a module of that name is the environment's, if there is one."""
        return _plain(name).partition(".")[0] in self._tops

    def import_module(self, name: str) -> ModuleType:
        """Import and return a module as code of the environment does; of the standard library, what it sees there."""
        if self.has(name):
            return self._load(_plain(name))
        self._import_elsewhere(name, ("__name__",))
        return self._standin(name) or sys.modules[name]

    def spec_of(self, name: str) -> ModuleSpec | None:
        """Return the spec of a module as importlib.util.find_spec does: its parents are imported for that."""
        name = _plain(name)
        if not self.has(name):
            return None
        if name in self.modules:
            return self.modules[name].__spec__
        parent = name.rpartition(".")[0]
        return self._find(name, self.key(name), self._load(parent) if parent else None)

    @property
    def tops(self) -> Iterable[str]:
        """The names at the top of its modules."""
        return self._tops

    def import_for(self, name: str, fromlist: Sequence[str] | None) -> ModuleType:
        """Do what ``__import__`` does for code of the environment."""
        return self._import(name, None, None, fromlist)

    def distributions(self, context: Any) -> Iterator[Any]:
        """Yield what importlib.metadata asks for by *context*; nothing where that names folders to look in."""
        from importlib.metadata import PathDistribution
        from pathlib import Path

        from remote_wheel.mounts.views import Node

        if "path" in vars(context):
            return
        wanted = context.name and re.sub(r"[-_.]+", "-", context.name).lower()  # PEP 503
        for root in self.roots:
            dist_info = root.facts["dist_info"]
            if dist_info and wanted in (None, root.facts["name"]):
                if root.is_pending:
                    make_tree(root)
                place: Any = Path(root.path, dist_info) if root.is_unpacked else Node(root, dist_info)
                yield PathDistribution(place)

    def close(self) -> None:
        """Take the modules out of sys.modules. What code of them has imported it keeps; it imports nothing new."""
        self.is_open = False
        for name, module in self.modules.items():
            key = self.key(name)
            if sys.modules.get(key) is module:
                del sys.modules[key]
            sys.modules.pop(f"{self._package}.{name}", None)
        sys.modules.pop(self._package, None)

    def add(self, name: str, module: ModuleType) -> None:
        """Let *module* be what imports of *name* give."""
        self.modules[name] = sys.modules[self.key(name)] = sys.modules[f"{self._package}.{name}"] = module

    def discard(self, name: str) -> None:
        """Forget a module, if it is there."""
        self.modules.pop(name, None)
        sys.modules.pop(self.key(name), None)
        sys.modules.pop(f"{self._package}.{name}", None)

    def key(self, name: str) -> Name:
        """Return the name under which a module of the environment stands in sys.modules."""
        return Name(_plain(name), self._package)

    # --- import ------------------------------------------------------------------------------------------------

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002  # as the built-in has it
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what the built-in ``__import__`` does, for code of the environment."""
        absolute = _plain(name)
        if level:
            absolute = _bootstrap._resolve_name(name, _package_of(globals or {}), level)  # noqa: SLF001
        if not self.has(absolute):
            return self._import_elsewhere(absolute, fromlist)
        module = self._load(absolute)
        if fromlist:
            self._load_named(module, absolute, fromlist)
            return module
        if not level:
            return self._load(name.partition(".")[0])
        cut = len(name) - len(name.partition(".")[0])  # __import__("b.c", level=1) is of the package's b
        return self._load(absolute[: len(absolute) - cut]) if name else module

    def _import_elsewhere(self, name: str, fromlist: Sequence[str] | None) -> ModuleType:
        if name.partition(".")[0] not in ALWAYS:
            what = f"No module named {name!r} in an isolated environment: it has {', '.join(sorted(self._tops))}"
            raise ModuleNotFoundError(what, name=name)
        found: ModuleType = builtins.__import__(name, {}, {}, tuple(fromlist or ()), 0)
        return self._standin(found.__name__) or found

    def _load_named(self, module: ModuleType, name: str, fromlist: Sequence[str]) -> None:
        if not hasattr(module, "__path__"):
            return
        for each in fromlist:
            if each == "*":
                self._load_named(module, name, [every for every in getattr(module, "__all__", ()) if every != "*"])
            elif not hasattr(module, each):
                wanted = f"{name}.{each}"
                try:
                    self._load(wanted)
                except ModuleNotFoundError as error:
                    if error.name != wanted or wanted in self.modules:
                        raise

    def _load(self, name: str) -> ModuleType:
        module = self.modules.get(name)
        key = self.key(name)
        if module is None:
            with _bootstrap._ModuleLockManager(key):  # noqa: SLF001  # it knows deadlocks
                module = self.modules.get(name)
                if module is None:
                    return self._load_new(name, key)
        if getattr(getattr(module, "__spec__", None), "_initializing", False):  # another thread is at it
            _bootstrap._lock_unlock_module(key)  # noqa: SLF001
        return module

    def _load_new(self, name: str, key: Name) -> ModuleType:
        parent_name, _, tail = name.rpartition(".")
        parent = self._load(parent_name) if parent_name else None
        if name in self.modules:  # its parent has imported it
            return self.modules[name]
        if parent is not None and not hasattr(parent, "__path__"):
            what = f"No module named {name!r}; {parent_name!r} is not a package"
            raise ModuleNotFoundError(what, name=name)
        if not self.is_open:
            raise ImportError(f"{name} is not loaded, and its isolated environment has been left", name=name)
        spec = self._find(name, key, parent)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module: ModuleType = _bootstrap.module_from_spec(spec)
        vars(module)["__builtins__"] = self.builtins
        spec._initializing = True  # type: ignore[attr-defined]  # noqa: SLF001  # as importlib does
        self.add(name, module)
        # Sooner than importlib does it: it looks for modules in circles by names that are none of ours.
        is_early = parent is not None and tail not in vars(parent)
        if is_early:
            setattr(parent, tail, module)
        try:
            if spec.loader is not None:
                spec.loader.exec_module(module)
        except BaseException:
            self.discard(name)
            if is_early and vars(parent).get(tail) is module:
                delattr(parent, tail)
            raise
        finally:
            spec._initializing = False  # type: ignore[attr-defined]  # noqa: SLF001
        module = sys.modules.get(key) or self.modules.get(name) or module  # it may replace itself
        self.add(name, module)
        if parent is not None:
            setattr(parent, tail, module)
        return module

    def _find(self, name: str, key: Name, parent: ModuleType | None) -> ModuleSpec | None:
        top, path = name.partition(".")[0], name.replace(".", "/")
        owners = self._tops[top]
        for root in owners:
            entry = root.image.find(path)
            if entry is None:
                continue
            if entry[0] in (kinds.EXTENSION, kinds.EXTENSION_PACKAGE):
                what = f"{name} of {root.facts['name']} is an extension module, which no isolated environment can load"
                raise IsolatedExtension(f"{what}; use env.run() for a process of its own", name=name)
            spec = make_spec(key, root, entry)
            places = spec.submodule_search_locations
            if places is not None and parent is None:
                places += [other.base + top for other in owners if other is not root and top in other.image.folders]
            return spec
        return self._find_namespace(key, path, owners) or self._find_elsewhere(name, key, parent)

    def _find_namespace(self, key: Name, path: str, owners: Sequence[Root]) -> ModuleSpec | None:
        portions = [root.base + path.replace("/", os.sep) for root in owners if path in root.image.folders]
        if not portions:
            return None
        spec = ModuleSpec(key, None, is_package=True)
        spec.submodule_search_locations = portions
        spec.loader = PortionLoader(portions, {root.path: root for root in owners})
        return spec

    def _find_elsewhere(self, name: str, key: Name, parent: ModuleType | None) -> ModuleSpec | None:
        """Look where the parent's path leads, and ask the finders that code of the environment has added."""
        if parent is None:
            return None
        for finder in self._finders:
            if finder not in (BuiltinImporter, FrozenImporter):
                spec: ModuleSpec | None = finder.find_spec(name, parent.__path__)
                if spec is not None:
                    if finder is PathFinder:  # others know their modules by what they called them
                        spec.name = key
                    return spec
        return None

    # --- what stands in for modules of the standard library ------------------------------------------------------

    def _standin(self, name: str) -> ModuleType | None:
        make = {"sys": self._make_sys, "pickle": self._make_pickle}.get(name)
        if make is None:
            return None
        if name not in self._standins:
            self._standins[name] = make()
        return self._standins[name]

    def _make_sys(self) -> ModuleType:
        return _StandIn(sys, modules=_Modules(self), meta_path=self._finders)

    def _make_pickle(self) -> ModuleType:
        import io
        import pickle

        has, package = self.has, self._package

        class Unpickler(pickle.Unpickler):
            """Reads what other processes wrote, too: they name the modules plainly."""

            def find_class(self, module_name: str, global_name: str, /) -> Any:
                if has(module_name):
                    module_name = f"{package}.{module_name}"
                return super().find_class(module_name, global_name)

        def load(file: Any, **options: Any) -> Any:
            return Unpickler(file, **options).load()

        def loads(data: Any, /, **options: Any) -> Any:
            return Unpickler(io.BytesIO(data), **options).load()

        return _StandIn(pickle, Unpickler=Unpickler, load=load, loads=loads)


class _Package(ModuleType):
    """What an environment's modules are submodules of for who can import by plain text alone, as pickle."""

    def __init__(self, isolation: Isolation, name: str) -> None:
        super().__init__(name)
        self._isolation = isolation
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)

    def find_spec(self, name: str) -> ModuleSpec | None:
        """Return the spec of a module that is the environment's under its plain name."""
        plain = name.removeprefix(f"{self.__name__}.")
        return ModuleSpec(name, cast("Any", _Alias(self._isolation, plain))) if self._isolation.has(plain) else None


class _Alias:
    """Loads a module of an environment under its other name: the same object."""

    def __init__(self, isolation: Isolation, name: str) -> None:
        self._isolation, self._name = isolation, name

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to exec_module."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the module, which puts itself in place of *module*."""
        self._isolation.import_module(self._name)


class _StandIn(ModuleType):
    """A module of the standard library with some of its names replaced; all others are its own, to read and to set."""

    def __init__(self, stock: ModuleType, **replaced: Any) -> None:
        super().__init__(stock.__name__, stock.__doc__)
        vars(self).update(replaced, __spec__=stock.__spec__, __loader__=stock.__loader__, _stock=stock)
        vars(self)["_replaced"] = frozenset(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_stock"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self)["_replaced"]:
            vars(self)[name] = value
        else:
            setattr(vars(self)["_stock"], name, value)

    def __dir__(self) -> list[str]:
        return dir(vars(self)["_stock"])


class _Modules(MutableMapping[str, ModuleType]):
    """sys.modules as code of an environment sees it: its own modules under their plain names, and the rest."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation

    def __getitem__(self, name: str) -> ModuleType:
        return self._isolation.modules[_plain(name)] if self._isolation.has(name) else sys.modules[name]

    def __setitem__(self, name: str, module: ModuleType) -> None:
        if self._isolation.has(name):
            self._isolation.add(_plain(name), module)
        else:
            sys.modules[name] = module

    def __delitem__(self, name: str) -> None:
        if self._isolation.has(name):
            del self._isolation.modules[_plain(name)]
            self._isolation.discard(_plain(name))
        else:
            del sys.modules[name]

    def __iter__(self) -> Iterator[str]:
        yield from list(self._isolation.modules)
        yield from (name for name in list(sys.modules) if not isinstance(name, Name) and not self._isolation.has(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> dict[str, ModuleType]:
        """Return a dict of them."""
        return dict(self)


def _plain(name: str) -> str:
    return name if type(name) is str else str.__str__(name)


def _package_of(namespace: Mapping[str, Any]) -> str:
    """Return the package that relative imports are of, as importlib finds it."""
    package = namespace.get("__package__")
    if package is None and (spec := namespace.get("__spec__")) is not None:
        package = spec.parent
    if package is None:
        name = str(namespace.get("__name__", ""))
        package = name if "__path__" in namespace else name.rpartition(".")[0]
    if not package:
        raise ImportError("attempted relative import with no known parent package")
    return str(package)
