"""Finding and loading modules of mounts: a dict in front, a path hook behind it.

The dict answers on `sys.meta_path` only what it is sure of. Everything else (namespace packages, changed
``__path__``s, names that an earlier `sys.path` entry also has) takes the stock road: `sys.path`, our path hook.
"""

import _frozen_importlib
import _frozen_importlib_external
import _imp
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.machinery import ExtensionFileLoader, ModuleSpec, NamespaceLoader, PathFinder, SourceFileLoader
    from types import CodeType, ModuleType
    from typing import Any

    from remote_wheel.mounts.image import Image, ModuleEntry
else:
    ExtensionFileLoader = _frozen_importlib_external.ExtensionFileLoader
    NamespaceLoader = _frozen_importlib_external.NamespaceLoader
    PathFinder = _frozen_importlib_external.PathFinder
    ModuleSpec = _frozen_importlib.ModuleSpec
    SourceFileLoader = _frozen_importlib_external.SourceFileLoader

from remote_wheel.mounts import collector
from remote_wheel.mounts import image as kinds

_SEP = os.sep
# The interpreter runs these at its start, from wherever they are found: never from a mount.
METADATA_READERS = frozenset(("importlib.metadata", "importlib_metadata", "pkg_resources"))
_NEVER_SERVED = frozenset(("sitecustomize", "usercustomize", "__main__", "remote_wheel"))


class Root:
    """One mounted distribution: the import root (image file or unpacked folder), its image and its names.

    `facts` is the boot record's entry: name, version, source (redacted), sha256, reasons and scripts.
    """

    __slots__ = ("base", "facts", "image", "is_checked", "is_pending", "is_unpacked", "path", "tops", "uses")

    def __init__(self, path: str, image: "Image", tops: "tuple[str, ...]", facts: "dict[str, Any]") -> None:
        self.path = path
        self.base = path + _SEP
        self.image = image
        self.is_unpacked = path != image.path
        self.is_pending = self.is_unpacked and "archive" in facts and not os.path.isdir(path)
        self.is_checked = False  # whether its shared libraries are what was verified
        self.tops = tops
        self.facts = facts
        self.uses = 0

    def __repr__(self) -> str:
        return f"<Root {self.facts.get('name')} {self.facts.get('version')} at {self.path!r}>"


class ImageLoader(SourceFileLoader):
    """Load one module of a root: its code from the image, its source and data from the image or the disk.

    A SourceFileLoader, because pytest's assertion rewriting and others ask for one.
    """

    def __init__(self, fullname: str, path: str, root: Root, entry: "ModuleEntry") -> None:
        super().__init__(fullname, path)
        self.root = root
        self._entry = entry

    def get_code(self, fullname: str) -> "CodeType":
        """Return the code object: from the image where it is whole, else compiled from the source."""
        sys.audit("remote_wheel.import", fullname, self.path, self.root.facts["sha256"])
        _kind, at, size, check, name = self._entry
        image = self.root.image
        blob = image.read_code(at, size, check) if size else image.published(name)
        if blob is None:
            from remote_wheel.mounts.originals import source_of

            return self.source_to_code(source_of(self.root, name), self.get_filename(fullname))
        code: CodeType = marshal.loads(blob)  # noqa: S302  # checked as it was read
        image.release(size)
        _imp._fix_co_filename(code, self.path)  # type: ignore[attr-defined]  # noqa: SLF001  # the cache may have moved
        return code

    def get_data(self, path: str) -> bytes:
        """Return the file at *path*: of the image, or of the disk where it is not below an in-memory root."""
        root = self.root
        if root.is_unpacked or not path.startswith(root.base):
            return super().get_data(path)
        name = path[len(root.base) :].replace(_SEP, "/")
        if "./" in name or "//" in name:  # pkgutil.get_data lets "../" through
            name = os.path.normpath(name).replace(_SEP, "/")
        entry = root.image.members.get(name)
        blob = root.image.read(*entry) if entry else None
        if blob is None:
            raise FileNotFoundError(2, f"{root.facts['name']} has no file {name!r} in its wheel", path)
        return bytes(blob)

    def exec_module(self, module: "ModuleType") -> None:
        """Execute the module; what looks up source lines by file name alone is told where they are."""
        if "linecache" in sys.modules and not self.root.is_unpacked:
            _tell_lines(self.path, module.__dict__)
        try:
            collector.begin()
            super().exec_module(module)
        except (FileNotFoundError, NotADirectoryError) as error:
            note_missing_file(error, (self.root,))
            raise
        finally:
            collector.end()

    def path_stats(self, path: str) -> "dict[str, Any]":
        """Return modification time and size as importlib wants them; a wheel's files have no time of their own."""
        return {"mtime": 0, "size": len(self.get_data(path))}

    def set_data(self, path: str, data: "Any", *, _mode: int = 0o666) -> None:
        """Write nothing: the image is complete, and nobody writes into a mount."""

    def get_resource_reader(self, name: "str | None" = None) -> "Any":
        """Return the reader behind importlib.resources."""
        if self.root.is_unpacked:
            return super().get_resource_reader(name)
        from remote_wheel.mounts.views import ImageReader

        return ImageReader(self.root, self.path)


class LibraryLoader(ExtensionFileLoader):
    """Load an extension module of a tree, if it is what was verified: its token says so, or its digest."""

    def __init__(self, fullname: str, path: str, root: Root, name: str) -> None:
        super().__init__(fullname, path)
        self.root = root
        self._file = name

    def create_module(self, spec: "ModuleSpec") -> "ModuleType":
        """Load the library; raise StoreError where it has changed and can't be replaced.

        With the first of a root all of its shared libraries are looked at: which this one needs only the system knows.
        """
        root = self.root
        tokens = root.facts.get("tokens", _NOTHING)
        wanted = (self._file,) if root.is_checked else tokens
        if self._file not in tokens or any(_token_of(root.base + name) != tokens[name] for name in wanted):
            from remote_wheel.mounts.originals import check_libraries

            check_libraries(root)
        root.is_checked = True
        sys.audit("remote_wheel.import", spec.name, self.path, root.facts["sha256"])
        return super().create_module(spec)


_NOTHING: "dict[str, tuple[int, ...]]" = {}


def _token_of(path: str) -> "tuple[int, ...] | None":
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def note_missing_file(error: OSError, roots: "Iterable[Root]") -> None:
    """Add to *error* what helps, where code of a wheel that is in memory looked for a file beside itself."""
    place = error.filename
    for root in roots:
        if not root.is_unpacked and isinstance(place, str) and place.startswith(root.base):
            name = root.facts["name"]
            note = f"{name} is in memory and looks for a file beside itself; mount it with unpack=[{name!r}]"
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)


class BytecodeLoader:
    """Refuse a ``.pyc`` whose source the wheel does not have: nobody can read what it does."""

    def __init__(self, root: Root, path: str) -> None:
        self._root, self._path = root, path

    def create_module(self, spec: "ModuleSpec") -> None:
        """Raise ImportError."""
        name = self._path[len(self._root.base) :].replace(_SEP, "/")
        raise ImportError(
            f"{name} in the wheel of {self._root.facts['name']} is bytecode without its source, "
            "which remote_wheel does not run",
            name=spec.name,
            path=self._path,
        )

    def exec_module(self, module: "ModuleType") -> None:
        """Never reached."""


class PortionLoader(NamespaceLoader):
    """The loader of a namespace package that has mounted portions: stock, but for its resources."""

    def __init__(self, portions: "Any", roots: "dict[str, Root]") -> None:
        # The stock constructor would compute the portions again; these are PathFinder's own, and keep up to date.
        self._path = portions
        self._roots = roots

    def exec_module(self, module: "ModuleType") -> None:
        """Do what the import system does for a namespace package without a loader."""
        module.__file__ = None

    def get_resource_reader(self, module: "Any") -> "Any":
        """Return the reader behind importlib.resources."""
        from remote_wheel.mounts.views import NamespaceReader

        return NamespaceReader(list(self._path), self._roots)


class WatchedLoader:
    """Load a module as usual, then tell it of mounts."""

    def __init__(self, stock: "Any", tell: "Callable[[ModuleType], None]") -> None:
        self._stock, self._tell = stock, tell

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        """Create it as usual."""
        created: ModuleType | None = self._stock.create_module(spec)
        return created

    def exec_module(self, module: "ModuleType") -> None:
        """Execute it as usual and leave no trace of this loader."""
        module.__loader__ = self._stock
        if module.__spec__ is not None:
            module.__spec__.loader = self._stock
        self._stock.exec_module(module)
        self._tell(module)


def namespace_of(module: "object") -> "dict[str, Any]":
    """Return the names of a module without running code: one that loads itself when it is touched stays as it is.

    What is no module, but somebody put it into sys.modules, has none.
    """
    try:
        found: Any = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def loaded_modules() -> "dict[str, ModuleType]":
    """Return a copy of sys.modules, which other threads may change meanwhile."""
    while True:
        try:
            return sys.modules.copy()
        except RuntimeError:  # it has changed its size during that
            continue


def _tell_lines(path: str, names: "dict[str, Any]") -> None:
    """Tell linecache where a module's source lines are. Another thread may be importing it just now: wait for that."""
    import linecache

    tell = getattr(linecache, "lazycache", None)
    if tell is not None:
        tell(path, names)


def _tell_linecache(linecache: "ModuleType") -> None:
    """Tell it of the modules that were mounted before it was there."""
    for other in loaded_modules().values():
        names = namespace_of(other)
        loader = names.get("__loader__")
        if isinstance(loader, ImageLoader) and not loader.root.is_unpacked:
            linecache.lazycache(loader.path, names)


def _tell_pkg_resources(pkg_resources: "ModuleType") -> None:
    """Teach it our loader and finder; setuptools had it up to version 81, and some projects still ask it."""
    from remote_wheel.mounts.views import teach_pkg_resources

    teach_pkg_resources(pkg_resources)


_WATCHED = {"linecache": _tell_linecache, "pkg_resources": _tell_pkg_resources}


def make_spec(fullname: str, root: Root, entry: "ModuleEntry") -> "ModuleSpec":
    """Make the spec that FileFinder would make for the same file."""
    if root.is_pending:
        make_tree(root)
    kind, name = entry[0], entry[4]
    path = root.base + (name if _SEP == "/" else name.replace("/", _SEP))
    is_package = kind in (kinds.PACKAGE, kinds.EXTENSION_PACKAGE)
    loader: Any
    if kind in (kinds.MODULE, kinds.PACKAGE):
        loader = ImageLoader(fullname, path, root, entry)
    elif kind == kinds.BYTECODE:
        loader = BytecodeLoader(root, path)
    else:
        loader = LibraryLoader(fullname, path, root, name)
    spec = ModuleSpec(fullname, loader, origin=path, is_package=is_package)
    spec._set_fileattr = True  # type: ignore[attr-defined]  # noqa: SLF001  # as spec_from_file_location does
    if is_package:
        spec.submodule_search_locations = [path.rpartition(_SEP)[0]]
    return spec


def make_tree(root: Root) -> None:
    """Have the tree of a *root* that is looked into for the first time."""
    from remote_wheel.mounts import trees

    trees.make(root)
    root.is_pending = False


class MountFinder:
    """The dict in front: answers for regular packages of mounts, with no I/O to say 'not mine'."""

    def __init__(self, roots: "dict[str, Root]") -> None:
        self._roots = roots
        self.tops: dict[str, Root] = {}
        self.namespaces: dict[str, list[Root]] = {}
        self.is_pending = False  # whether a root may be

    def make_trees(self) -> None:
        """Have the trees of all mounts: somebody is about to look for distributions in the folders of sys.path."""
        for root in list(self._roots.values()):
            if root.is_pending:
                make_tree(root)
        self.is_pending = False

    def find_distributions(self, context: "Any" = None) -> "Iterator[Any]":
        """Yield the distributions of mounts that have no file; importlib.metadata finds the others by itself.

        Code of an isolated environment finds those of that first.
        """
        callers = sys.modules.get("remote_wheel.mounts.callers")
        asking = callers and callers.who_asks(sys._getframe(1))  # noqa: SLF001  # whose code calls decides
        if asking:
            yield from asking.distributions(context)
        roots = [root for root in self._roots.values() if not root.image.is_file]
        if roots:
            from remote_wheel.mounts.views import distributions

            yield from distributions(roots, context)

    def find_spec(
        self, fullname: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the spec where this finder is sure of it; None leaves the name to PathFinder and the hook."""
        top = fullname.partition(".")[0]
        root = self.tops.get(top)
        if top.startswith("__isolated_"):
            return self._find_isolated(fullname, top)
        if self.is_pending and fullname in METADATA_READERS:
            self.make_trees()
        if root is None:
            if top in self.namespaces:
                return self._find_namespace(fullname, path, self.namespaces[top])
            return self._find_watched(fullname) if fullname in _WATCHED else None
        key = fullname.replace(".", "/")
        entry = root.image.find(key)
        if entry is None:
            return self._find_namespace(fullname, path, [root])
        if path is None:
            if fullname not in root.facts.get("shadows", ()) and not self._is_first(fullname):
                return None
            return self.with_portions(make_spec(fullname, root, entry))
        parent = root.base + key.rpartition("/")[0].replace("/", _SEP)
        if type(path) is not list or len(path) != 1 or path[0] != parent:
            return None
        return make_spec(fullname, root, entry)

    def with_portions(self, spec: "ModuleSpec") -> "ModuleSpec":
        """Return the spec of a top-level module with what other wheels add to its package, as plug-ins do.

        Installed, they share its folder.
        """
        if spec.submodule_search_locations is not None:
            others = self.namespaces.get(spec.name, ())
            spec.submodule_search_locations += [other.base + spec.name for other in others]
        return spec

    def _find_isolated(self, fullname: str, package: str) -> "ModuleSpec | None":
        find: Any = getattr(sys.modules.get(package), "find_spec", None)
        spec: ModuleSpec | None = find(fullname) if find else None
        return spec

    def _is_first(self, fullname: str) -> bool:
        """Whether no entry of sys.path before the mounts has the module, asked as PathFinder would ask."""
        importers = sys.path_importer_cache
        for entry in sys.path:
            if entry in self._roots:
                return True
            if entry == "":  # as PathFinder reads it
                try:
                    entry = os.getcwd()
                except OSError:  # it was deleted: nothing is in it
                    continue
            if entry not in importers:
                return False  # PathFinder fills the cache and asks
            importer: Any = importers[entry]
            spec = importer.find_spec(fullname) if importer else None
            if spec is not None and spec.loader is not None:
                return False
        return False  # the mounts were taken off sys.path by somebody

    def _find_namespace(self, fullname: str, path: "Sequence[str] | None", roots: "list[Root]") -> "ModuleSpec | None":
        """Return PathFinder's spec of a namespace package, with a loader that can read mounted resources."""
        key = fullname.replace(".", "/")
        found = [root for root in roots if key in root.image.folders]
        if not found:
            return None
        for root in found:
            if root.is_pending:
                make_tree(root)
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is None:
            spec.loader = PortionLoader(spec.submodule_search_locations, self._roots)
        return spec

    def _find_watched(self, fullname: str) -> "ModuleSpec | None":
        spec = PathFinder.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = WatchedLoader(spec.loader, _WATCHED[fullname])  # type: ignore[assignment]  # by its methods
        return spec

    def invalidate_caches(self) -> None:
        """Keep everything: a root never changes."""


class RootFinder:
    """What our path hook returns for one folder of a root; PathFinder and pkgutil ask it."""

    def __init__(
        self, root: Root, folder: str, with_portions: "Callable[[ModuleSpec], ModuleSpec]" = lambda spec: spec
    ) -> None:
        self.root = root
        self._prefix = f"{folder}/" if folder else ""
        self._with_portions = with_portions

    def find_spec(self, fullname: str, target: "ModuleType | None" = None) -> "ModuleSpec | None":
        """Return the spec of the module of that last name in this folder, or of a namespace portion (PEP 420)."""
        tail = fullname.rpartition(".")[2]
        if not tail or (not self._prefix and (tail in _NEVER_SERVED or tail in sys.stdlib_module_names)):
            return None
        if not self._prefix and tail in self.root.facts.get("hidden", ()):  # another project's
            return None
        key = self._prefix + tail
        entry = self.root.image.find(key)
        if entry is not None:
            spec = make_spec(fullname, self.root, entry)
            return spec if self._prefix else self._with_portions(spec)
        if key in self.root.image.folders:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [self.root.base + key.replace("/", _SEP)]
            return spec
        return None

    def iter_modules(self, prefix: str = "") -> "Iterator[tuple[str, bool]]":
        """Yield (name, whether a package) of the modules in this folder; pkgutil's protocol."""
        start = len(self._prefix)
        for key, entry in sorted(self.root.image.modules.items()):  # as FileFinder's come
            if key.startswith(self._prefix) and "/" not in key[start:]:
                yield prefix + key[start:], entry[0] in (kinds.PACKAGE, kinds.EXTENSION_PACKAGE)

    def invalidate_caches(self) -> None:
        """Keep everything: a root never changes."""

    def __repr__(self) -> str:
        return f"RootFinder({self.root.base + self._prefix!r})"


def make_hook(root_at: "Callable[[str], Root | None]", with_portions: "Callable[[ModuleSpec], ModuleSpec]") -> "Any":
    """Return the path hook that serves the roots that *root_at* knows, and every folder in them.

    *with_portions* adds to the spec of a top-level module what other roots have of its package.
    """

    def remote_wheel_hook(path: str) -> RootFinder:
        above, folder = path, ""
        while above:
            root = root_at(above)
            if root is not None:
                folder = folder.replace(_SEP, "/")
                if folder and folder not in root.image.folders and f"{folder}/__init__" not in root.image.modules:
                    break
                return RootFinder(root, folder, with_portions)
            above, _, name = above.rpartition(_SEP)
            folder = f"{name}{_SEP}{folder}" if folder else name
        raise ImportError("not in a mount", path=path)

    return remote_wheel_hook
