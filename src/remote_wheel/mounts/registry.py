"""The mounts of this process: what is on sys.path, who uses it, and how all of it is undone."""

import _frozen_importlib_external
import _imp
import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType, TracebackType
    from typing import Any

    from remote_wheel.mounts.isolation import Isolation

from remote_wheel.mounts import children, leases
from remote_wheel.mounts.finder import METADATA_READERS, MountFinder, Root, make_hook, make_tree, note_missing_file
from remote_wheel.mounts.image import LEAN, DamagedImage, Image
from remote_wheel.mounts.loaded import fact, folder_on_path, module_of_finder

_lock = _thread.RLock()  # re-entrant: what runs under it may run the program's code, as modules go
_roots: "dict[str, Root]" = {}


class _Aside:
    """What an environment displaced: modules, and for roots that were mounted below others, which those are by name."""

    def __init__(self, modules: "dict[str, ModuleType]", roots: "list[Root]") -> None:
        self.modules, self.roots = modules, roots
        self.raised: "list[tuple[Root, dict[str, Root]]]" = []


_asides: "list[_Aside]" = []  # in the order in which the environments were entered
_isolated: "list[Isolation]" = []  # those that are entered


def _root_at(path: str) -> "Root | None":
    """Return the root at *path*: a mounted one, or one of an isolated environment, which is on nobody's path."""
    return _roots.get(path) or next((root for each in _isolated for root in each.roots if root.path == path), None)


_finder = MountFinder(_roots)
_hook = make_hook(_root_at)


if hasattr(os, "register_at_fork"):  # a fork while another thread mounts must not leave the child waiting for ever
    os.register_at_fork(after_in_child=getattr(_lock, "_at_fork_reinit"))  # noqa: B009  # it has no stub


def mounted() -> "tuple[Root, ...]":
    """Return the mounted roots, first on sys.path first."""
    order = {path: at for at, path in enumerate(sys.path)}
    return tuple(sorted(_roots.values(), key=lambda root: order.get(root.path, len(order))))


def add(entries: "Iterable[dict[str, Any]]", aside: "dict[str, ModuleType] | None" = None) -> "list[Root]":
    """Mount the *entries* of a boot record, all or none, and return their roots; those mounted already are shared.

    Loaded modules of another version are put into *aside*, for restore(); without it they are an error. Raises OSError
    or DamagedImage where an image is not there or not whole, AlreadyImported where another version of one of its
    modules is loaded.
    """
    with _lock:
        roots = _opened(entries)
        new = [root for root in roots if root.path not in _roots]
        if not METADATA_READERS.isdisjoint(sys.modules):
            _make_trees(new)
        for root in new:
            if aside is None:
                _check_not_imported(root)
            else:
                aside.update(_put_aside(root))
        _install()
        at = _first_place()
        if aside is not None:
            _raise_those_below(roots, new, at, aside)
        _roots.update((root.path, root) for root in new)
        sys.path[at:at] = [root.path for root in new]
        for root in new:
            sys.audit("remote_wheel.mount", root.facts["name"], root.facts["version"], root.path, root.facts["sha256"])
        for root in reversed(new):  # the first of a record wins where two have the same name
            for top in root.tops:
                if _takes_over(root, top):
                    _finder.tops[top] = root
            for top in root.facts["namespaces"]:
                _finder.namespaces.setdefault(top, []).append(root)
            _forget_importers(root)
        for root in roots:
            root.uses += 1
        _finder.is_pending = _finder.is_pending or any(root.is_pending for root in new)
        if new:
            children.export(mounted())
        return roots


def remove(roots: "Iterable[Root]") -> "list[str]":
    """Give up one use of each root; unmount those nobody uses any more. Return the modules that left sys.modules."""
    gone: list[str] = []
    with _lock:
        for root in roots:
            root.uses -= 1
            if root.uses == 0 and _roots.pop(root.path, None) is root:
                gone += _unload(root)
        if gone:  # finders that the modules have added, as six does
            sys.meta_path[:] = [each for each in sys.meta_path if module_of_finder(each) not in gone]
        children.export(mounted())
        _uninstall()
    return gone


def _uninstall() -> None:
    if not _roots and not _isolated and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
        sys.path_hooks.remove(_hook)
        if sys.excepthook is _show_exception:
            sys.excepthook = sys.__excepthook__


def isolate(roots: "Sequence[Root]") -> "Isolation":
    """Return an entered environment of opened *roots*, which only its own code sees."""
    from remote_wheel.mounts import callers, isolation

    with _lock:
        made = isolation.Isolation(roots)
        _isolated.append(made)
        _install()
        callers.watch_imports(_isolated)
        return made


def end_isolation(ended: "Isolation") -> None:
    """Leave an isolated environment: its modules leave sys.modules, and nothing of it is found any more."""
    from remote_wheel.mounts import callers

    with _lock:
        _isolated.remove(ended)
        ended.close()
        for root in ended.roots:
            if root.path not in _roots:
                _forget_importers(root)
                _forget_lines(root)
        callers.watch_imports(_isolated)
        _uninstall()


def owner_of(name: str) -> "Root | None":
    """Return the mounted root that an import of the top-level module *name* gives, or that it was loaded from."""
    loaded = sys.modules.get(name)
    return root_of(loaded) if loaded is not None else _finder.tops.get(name)


def make_trees() -> None:
    """Have the trees of all mounts that are still to be unpacked."""
    _finder.make_trees()


def opened(entries: "Iterable[dict[str, Any]]") -> "list[Root]":
    """Return the roots of *entries*, not mounted. Raises as add does, but for AlreadyImported."""
    with _lock:
        return _opened(entries)


def _root_of_entry(entry: "dict[str, Any]") -> "Root | None":
    """Return the mounted root of a record's entry: by its path, or that of the image it was before it was finished."""
    path = entry["root"]
    other = f"{path[: -len(LEAN)]}.zip" if path.endswith(LEAN) else f"{path[:-4]}{LEAN}"
    return _roots.get(path) or (_roots.get(other) if path.endswith(".zip") else None)


def restore(aside: "dict[str, ModuleType]") -> None:
    """Put back the modules that add() put *aside*, behind the removal of what they made place for.

    Where a later add() put others of these names aside, or mounts that are left have them loaded, they come back when
    those go. What was loaded from a mount that is gone since is gone, too.
    """
    with _lock:
        at = next(at for at, each in enumerate(_asides) if each.modules is aside)
        left = _asides.pop(at)
        for root, others in left.raised:
            _lower(root, others)
        later = [each.modules for each in _asides[at:]]
        for name, module in aside.items():
            if _is_orphan(module):
                continue
            displacing = (each for each in _asides[at:] if name in each.modules or _have(each.roots, name))
            holder = next((each.modules for each in displacing), None)
            if holder is None:
                _bring_back(name, module)
            elif name not in holder or _is_orphan(holder[name]):
                holder[name] = module
        for each in later:
            for name in [name for name, module in each.items() if _is_orphan(module)]:
                del each[name]
        aside.clear()


def extensions_of(root: Root) -> "list[str]":
    """Return the loaded extension modules of *root*: these stay in the process, whatever leaves sys.modules."""
    suffixes = tuple(_imp.extension_suffixes())
    return [name for name in modules_of(root) if str(fact(sys.modules[name], "__file__")).endswith(suffixes)]


def _put_aside(root: Root) -> "dict[str, ModuleType]":
    """Take what *root* has in another version out of sys.modules: whole packages, and modules of namespaces."""
    found: dict[str, ModuleType] = {}
    for top in root.tops:
        if top in sys.modules and (not serves(sys.modules[top], root) or _is_made(sys.modules[top], root)):
            found.update((n, m) for n, m in list(sys.modules.items()) if n == top or n.startswith(f"{top}."))
    for name in _loaded_below(root):
        if not serves(sys.modules[name], root):
            found[name] = sys.modules[name]
    for name, module in found.items():
        del sys.modules[name]
        _forget_child(name, module)
    return found


def _raise_those_below(roots: "list[Root]", new: "list[Root]", at: int, modules: "dict[str, ModuleType]") -> None:
    _asides.append(_Aside(modules, roots))
    for root in reversed(roots):
        if root not in new:
            _raise(root, at, _asides[-1])


def _raise(root: Root, at: int, aside: _Aside) -> None:
    """Have imports find a *root* that was mounted before, and below other versions since; its modules come back."""
    others = {}
    for top in root.tops:
        other = _finder.tops.get(top)
        if other is not None and other is not root and other.facts["name"] == root.facts["name"]:
            others[top] = other
    if not others:
        return
    aside.raised.append((root, others))
    aside.modules.update(_put_aside(root))
    for top in others:
        _finder.tops[top] = root
    sys.path.remove(root.path)
    sys.path.insert(at, root.path)
    for each in _asides:
        for name, module in each.modules.items():
            if _is_from(module, root) and name not in sys.modules:
                _bring_back(name, module)


def _lower(root: Root, others: "dict[str, Root]") -> None:
    """Undo _raise, for those of the *others* that are still mounted."""
    others = {top: other for top, other in others.items() if _roots.get(other.path) is other}
    if _roots.get(root.path) is not root or not others:
        return
    for top, other in others.items():
        _finder.tops[top] = other
    sys.path.remove(root.path)
    sys.path.insert(sys.path.index(next(iter(others.values())).path) + 1, root.path)
    for name in [name for name in modules_of(root) if name.partition(".")[0] in others]:
        module = sys.modules.pop(name)
        _forget_child(name, module)
        displacing = (each for each in reversed(_asides) if root not in each.roots and _have(each.roots, name))
        holder = next((each.modules for each in displacing), None)
        if holder is not None:
            holder[name] = module


def _have(roots: "list[Root]", name: str) -> bool:
    """Whether an import of *name* is answered by one of *roots*."""
    top, path = name.partition(".")[0], name.replace(".", "/")
    return any(top in root.tops or path in root.image.modules for root in roots)


def _forget_child(name: str, module: "ModuleType") -> None:
    """Take a module that leaves sys.modules off its parent, if that stays."""
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and getattr(sys.modules[parent], child, None) is module:
        delattr(sys.modules[parent], child)


def _bring_back(name: str, module: "ModuleType") -> None:
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and child not in vars(sys.modules[parent]):
        setattr(sys.modules[parent], child, module)


def _is_orphan(module: "ModuleType") -> bool:
    """Whether *module* was loaded from a root that is not mounted any more."""
    loader = getattr(fact(module, "__spec__"), "loader", None)
    root = getattr(loader, "root", None)
    return isinstance(root, Root) and _roots.get(root.path) is not root


def root_of(module: "ModuleType") -> "Root | None":
    """Return the root that *module* was loaded from, None where it is not of a mount."""
    spec = fact(module, "__spec__")
    places = [getattr(spec, "origin", None) or "", *(getattr(spec, "submodule_search_locations", None) or ())]
    for root in _roots.values():
        if any(place.startswith(root.base) for place in places):
            return root
    return None


def modules_of(root: Root) -> "list[str]":
    """Return the names in sys.modules that were loaded from *root*, namespace packages of it alone included."""
    return [name for name, module in list(sys.modules.items()) if _is_from(module, root)]


def _opened(entries: "Iterable[dict[str, Any]]") -> "list[Root]":
    used: dict[str, list[str]] = {}
    entries = list(entries)
    for entry in entries:
        if "data" not in entry and _root_of_entry(entry) is None:  # <store>/images/<interpreter>/<key>.zip
            store = os.path.dirname(os.path.dirname(os.path.dirname(entry["image"])))
            used.setdefault(store, []).append(entry["sha256"])
    for store, digests in used.items():
        leases.hold(store, digests)
    return [_root_of_entry(entry) or _open(entry) for entry in entries]


def _open(entry: "dict[str, Any]") -> Root:
    return Root(entry["root"], Image(entry["image"], entry.pop("data", None)), entry["tops"], entry)


def _make_trees(roots: "list[Root]") -> None:
    """Have the trees of *roots*, for who looks for distributions looks at folders. Raises DamagedImage."""
    for root in roots:
        if root.is_pending:
            try:
                make_tree(root)
            except Exception as error:  # of ours: what it is made of is gone, and made again
                raise DamagedImage(root.image.path) from error


def _install() -> None:
    if _finder in sys.meta_path:
        return
    stock = _frozen_importlib_external.PathFinder
    at = sys.meta_path.index(stock) if stock in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(at, _finder)
    sys.path_hooks.insert(0, _hook)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_exception


def _show_exception(kind: "type[BaseException]", error: BaseException, trace: "TracebackType | None") -> None:
    """Show an uncaught exception with its source lines, which the stock hook (before 3.13) reads from files only.

    One that asks for a file inside a wheel that is in memory is told what helps.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        note_missing_file(error, _roots.values())
    try:
        import traceback

        traceback.print_exception(kind, error, trace)
    except Exception:  # noqa: BLE001  # whatever is broken, the stock hook shows at least this much
        sys.__excepthook__(kind, error, trace)


def _first_place() -> int:
    """Return where on sys.path mounts go: behind the standard library, before other mounts and site-packages."""
    stdlib = os.path.dirname(os.__file__)
    behind = [at for at, entry in enumerate(sys.path) if entry in (stdlib, os.path.join(stdlib, "lib-dynload"))]
    start = max(behind, default=-1) + 1
    for at, entry in enumerate(sys.path[start:], start):
        if entry in _roots or str(entry).endswith(("site-packages", "dist-packages")):
            return at
    return len(sys.path)


def _takes_over(root: Root, top: str) -> bool:
    """Whether module *top* is served by *root* from now on: not where it rather belongs to another project's root."""
    other, own = _finder.tops.get(top), (top,)
    if other is None or other.facts["name"] == root.facts["name"] or top in root.facts.get("shadows", ()):
        return True
    return tuple(other.facts["choices"]) != own or tuple(root.facts["choices"]) == own


def _forget_importers(root: Root) -> None:
    for path in [path for path in sys.path_importer_cache if path == root.path or str(path).startswith(root.base)]:
        del sys.path_importer_cache[path]


def _check_not_imported(root: Root) -> None:
    loaded_tops = [top for top in root.tops if top in sys.modules]
    if all(top.startswith("_") for top in loaded_tops) and len(loaded_tops) < len(root.tops):
        loaded_tops = []  # a helper module, as setuptools' _distutils_hack, which a .pth file loads at every start
    for name in (*loaded_tops, *_loaded_below(root)):
        if not serves(sys.modules[name], root):
            loaded, place = version_of(sys.modules[name])
            from remote_wheel.errors import AlreadyImported

            raise AlreadyImported(
                module=name,
                project=root.facts["name"] or name,
                wanted=root.facts["version"],
                loaded=loaded,
                loaded_from=place,
            )


def _is_made(module: "ModuleType", root: Root) -> bool:
    """Whether *module* stands for one of *root*'s and comes from no file: something has put it there."""
    is_of_import = fact(module, "__spec__") is not None or fact(module, "__path__") is not None
    return fact(module, "__file__") is None and not is_of_import and not _is_from(module, root)


def _loaded_below(root: Root) -> "list[str]":
    """Return the loaded modules that *root* has too, below namespace packages, which take portions from everywhere."""
    namespaces = tuple(f"{name}." for name in root.facts["namespaces"] if name in sys.modules)
    names = [name for name in sys.modules if name.startswith(namespaces)] if namespaces else []
    return [name for name in names if name.replace(".", "/") in root.image.modules]


def serves(module: "ModuleType", root: Root) -> bool:
    """Whether the loaded *module* is what an import from *root* would give: it is from there, or of the same version.

    A namespace package serves always. Of two mounts, the same version with another hash does not.
    """
    place = fact(module, "__file__")
    if place is None or _is_from(module, root) or os.path.realpath(place) == os.path.realpath(root.facts["source"]):
        return True
    other = root_of(module)
    if other is not None:
        return bool(other.facts["sha256"] == root.facts["sha256"])
    return bool(root.facts["version"]) and version_of(module)[0] == root.facts["version"]


def version_of(module: "ModuleType") -> "tuple[str, str]":
    """Return the version of a loaded module's distribution, as well as it can be known, and where it came from."""
    place = str(fact(module, "__file__") or "this interpreter")
    other = root_of(module)
    if other is not None:
        return other.facts["version"], f"{other.facts['source']} (mounted)"
    from importlib.metadata import distributions

    name = str(fact(module, "__name__"))
    for found in distributions(path=[folder_on_path(place, name)]):
        files = {str(path).replace("\\", "/") for path in found.files or ()}
        wanted = name.replace(".", "/")
        if f"{wanted}.py" in files or f"{wanted}/__init__.py" in files:
            return found.version, place
    return str(fact(module, "__version__") or ""), place


def _is_from(module: "ModuleType", root: Root) -> bool:
    spec = fact(module, "__spec__")
    origin = getattr(spec, "origin", None)
    if isinstance(origin, str) and origin.startswith(root.base):
        return True
    if spec is None or fact(module, "__file__") is not None:
        return False
    places = list(getattr(spec, "submodule_search_locations", None) or ())
    return bool(places) and all(isinstance(place, str) and place.startswith(root.base) for place in places)


def _unload(root: Root) -> "list[str]":
    names = modules_of(root)
    tops = [top for top in root.tops if _finder.tops.get(top) is root]
    for name, module in list(sys.modules.items()):  # what its modules have made and put there
        if name.partition(".")[0] in tops and name not in names and fact(module, "__file__") is None:
            names.append(name)
    for name in names:
        _forget_child(name, sys.modules.pop(name))
    if root.path in sys.path:
        sys.path.remove(root.path)
    _forget_importers(root)
    for top in root.tops:
        if _finder.tops.get(top) is root:
            del _finder.tops[top]
            for other in mounted():
                if top in other.tops:
                    _finder.tops[top] = other
                    break
    for top in root.facts["namespaces"]:
        _finder.namespaces[top].remove(root)
        if not _finder.namespaces[top]:
            del _finder.namespaces[top]
    _forget_lines(root)
    return names


def _forget_lines(root: Root) -> None:
    linecache = sys.modules.get("linecache")
    if linecache is not None:
        for filename in [name for name in linecache.cache if name.startswith(root.base)]:
            del linecache.cache[filename]
