"""The mounts of this process: what is on sys.path, and who uses it. undo.py takes it back."""

import _frozen_importlib_external
import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType, TracebackType
    from typing import Any

    from remote_wheel.mounts.isolation import Isolation

from remote_wheel.mounts import boot, children, collector, leases
from remote_wheel.mounts.finder import (
    METADATA_READERS,
    MountFinder,
    Root,
    loaded_modules,
    make_hook,
    make_tree,
    namespace_of,
    note_missing_file,
)
from remote_wheel.mounts.image import LEAN, DamagedImage, Image

lock = _thread.RLock()  # re-entrant: what runs under it may run the program's code, as modules go
mounted_at: "dict[str, Root]" = {}
isolated: "list[Isolation]" = []  # those that are entered


def _root_at(path: str) -> "Root | None":
    """Return the root at *path*: a mounted one, or one of an isolated environment, which is on nobody's path."""
    return mounted_at.get(path) or next((root for each in isolated for root in each.roots if root.path == path), None)


finder = MountFinder(mounted_at)
hook = make_hook(_root_at, finder.with_portions)


if hasattr(os, "register_at_fork"):  # a fork while another thread mounts must not leave the child waiting for ever
    os.register_at_fork(after_in_child=getattr(lock, "_at_fork_reinit"))  # noqa: B009  # it has no stub


def mounted() -> "tuple[Root, ...]":
    """Return the mounted roots, first on sys.path first."""
    order = {path: at for at, path in enumerate(sys.path)}
    return tuple(sorted(mounted_at.values(), key=lambda root: order.get(root.path, len(order))))


def add(entries: "Iterable[dict[str, Any]]", aside: "dict[str, ModuleType] | None" = None) -> "list[Root]":
    """Mount the *entries* of a boot record, all or none, and return their roots; those mounted already are shared.

    Loaded modules of another version are put into *aside*, for restore(); without it they are an error. Audit hooks
    (``remote_wheel.mount``) are asked before anything is changed; whatever is raised, all is as before then. Raises
    DamagedImage where an image is not there or not whole, AlreadyImported where another version of one of its modules
    is loaded.
    """
    with lock:
        roots = _opened(entries)
        new = [root for root in roots if root.path not in mounted_at]
        if not METADATA_READERS.isdisjoint(sys.modules):
            _make_trees(new)
        for root in new:
            if aside is None:
                _check_not_imported(root)
            sys.audit("remote_wheel.mount", root.facts["name"], root.facts["version"], root.path, root.facts["sha256"])
        for root in roots:
            root.uses += 1
        try:
            _mount(roots, new, aside)
        except BaseException:
            from remote_wheel.mounts import undo

            undo.abandon(roots, aside)
            raise
        return roots


def _mount(roots: "list[Root]", new: "list[Root]", aside: "dict[str, ModuleType] | None") -> None:
    """Have imports find *roots*, of which some are *new*."""
    install()
    at = _first_place()
    if aside is not None:
        from remote_wheel.mounts import undo

        undo.make_place(roots, new, at, aside)
    _enter(new, at)
    if new:
        children.export(mounted())


def uninstall() -> None:
    """Have imports go their usual way where nothing is mounted any more."""
    if not mounted_at and not isolated and finder in sys.meta_path:
        sys.meta_path.remove(finder)
        sys.path_hooks.remove(hook)
        if sys.excepthook is _show_exception:
            sys.excepthook = sys.__excepthook__


def _enter(new: "list[Root]", at: int) -> None:
    """Have imports find *new* roots, in this order from place *at* of sys.path on."""
    mounted_at.update((root.path, root) for root in new)
    sys.path[at:at] = [root.path for root in new]
    for root in reversed(new):  # the first of a record wins where two have the same name
        for top in root.tops:
            if _takes_over(root, top):
                finder.tops[top] = root
        for top in root.facts["namespaces"]:
            finder.namespaces.setdefault(top, []).append(root)
        forget_importers(root)
    finder.is_pending = finder.is_pending or any(root.is_pending for root in new)


def isolate(roots: "Sequence[Root]") -> "Isolation":
    """Return an entered environment of opened *roots*, which only its own code sees. Audited as a mount is."""
    from remote_wheel.mounts import callers, isolation

    with lock:
        for root in roots:
            sys.audit("remote_wheel.mount", root.facts["name"], root.facts["version"], root.path, root.facts["sha256"])
        made = isolation.Isolation(roots)
        isolated.append(made)
        install()
        callers.watch_imports(isolated)
        return made


def end_isolation(ended: "Isolation") -> None:
    """Leave an isolated environment: its modules leave sys.modules, and nothing of it is found any more."""
    from remote_wheel.mounts import callers
    from remote_wheel.mounts.undo import forget_lines

    with lock:
        isolated.remove(ended)
        ended.close()
        for root in ended.roots:
            if root.path not in mounted_at:
                forget_importers(root)
                forget_lines(root)
        callers.watch_imports(isolated)
        uninstall()


def owner_of(name: str) -> "Root | None":
    """Return the mounted root that an import of the top-level module *name* gives, or that it was loaded from."""
    loaded = sys.modules.get(name)
    return root_of(loaded) if loaded is not None else finder.tops.get(name)


def make_trees() -> None:
    """Have the trees of all mounts that are still to be unpacked."""
    finder.make_trees()


def opened(entries: "Iterable[dict[str, Any]]") -> "list[Root]":
    """Return the roots of *entries*, not mounted. Raises DamagedImage as add does."""
    with lock:
        return _opened(entries)


def _root_of_entry(entry: "dict[str, Any]") -> "Root | None":
    """Return the mounted root of a record's entry: by its path, or that of the image it was before it was finished."""
    path = entry["root"]
    other = f"{path[: -len(LEAN)]}.zip" if path.endswith(LEAN) else f"{path[:-4]}{LEAN}"
    return mounted_at.get(path) or (mounted_at.get(other) if path.endswith(".zip") else None)


def root_of(module: "ModuleType") -> "Root | None":
    """Return the root that *module* was loaded from, None where it is not of a mount."""
    spec = fact(module, "__spec__")
    places = [getattr(spec, "origin", None) or "", *(getattr(spec, "submodule_search_locations", None) or ())]
    for root in mounted_at.values():
        if any(place.startswith(root.base) for place in places):
            return root
    return None


def _opened(entries: "Iterable[dict[str, Any]]") -> "list[Root]":
    used: dict[str, list[str]] = {}
    entries = list(entries)
    for entry in entries:
        if "data" not in entry and _root_of_entry(entry) is None:  # <store>/images/<interpreter>/<key>.zip
            store = os.path.dirname(os.path.dirname(os.path.dirname(entry["image"])))
            used.setdefault(store, []).append(entry["sha256"])
    for store, digests in used.items():
        try:
            leases.hold(store, digests)
        except OSError as error:  # it is being removed
            raise DamagedImage(store) from error
    if used:
        _check_private(entries)
    return [_root_of_entry(entry) or _open(entry) for entry in entries]


def _check_private(entries: "Iterable[dict[str, Any]]") -> None:
    """Raise DamagedImage where another user could have changed an image, a tree or the folder of either."""
    used = {path: None for entry in entries if "data" not in entry for path in (entry["image"], entry["root"])}
    folders = dict.fromkeys(map(os.path.dirname, used))
    rooms = dict.fromkeys(os.path.dirname(path) for path in folders)  # of which one is the store's own folder
    for path in {**used, **folders, **rooms}:
        try:
            if not boot.is_private(os.stat(path)):
                raise DamagedImage(path)
        except FileNotFoundError:  # a tree that is still to be made
            continue
        except OSError as error:
            raise DamagedImage(path) from error


def _open(entry: "dict[str, Any]") -> Root:
    try:
        image = Image(entry["image"], entry.pop("data", None))
    except OSError as error:  # it is gone, or can't be read
        raise DamagedImage(entry["image"]) from error
    return Root(entry["root"], image, entry["tops"], entry)


def _make_trees(roots: "list[Root]") -> None:
    """Have the trees of *roots*, for who looks for distributions looks at folders. Raises DamagedImage."""
    for root in roots:
        if root.is_pending:
            try:
                make_tree(root)
            except Exception as error:  # of ours: what it is made of is gone, and made again
                raise DamagedImage(root.image.path) from error


def install() -> None:
    """Have imports look into mounts."""
    if finder in sys.meta_path:
        return
    collector.prepare()
    stock = _frozen_importlib_external.PathFinder
    at = sys.meta_path.index(stock) if stock in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(at, finder)
    sys.path_hooks.insert(0, hook)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_exception


def _show_exception(kind: "type[BaseException]", error: BaseException, trace: "TracebackType | None") -> None:
    """Show an uncaught exception with its source lines, which the stock hook (before 3.13) reads from files only.

    One that asks for a file inside a wheel that is in memory is told what helps.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        note_missing_file(error, mounted_at.values())
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
        if entry in mounted_at or str(entry).endswith(("site-packages", "dist-packages")):
            return at
    return len(sys.path)


def _takes_over(root: Root, top: str) -> bool:
    """Whether module *top* is served by *root* from now on: not where it rather belongs to another project's root."""
    other, own = finder.tops.get(top), (top,)
    if other is None or other.facts["name"] == root.facts["name"] or top in root.facts.get("shadows", ()):
        return True
    return tuple(other.facts["choices"]) != own or tuple(root.facts["choices"]) == own


def forget_importers(root: Root) -> None:
    """Have PathFinder ask anew who serves the folders of *root*."""
    known = sys.path_importer_cache.copy()  # other threads import, too
    for path in [path for path in known if path == root.path or str(path).startswith(root.base)]:
        sys.path_importer_cache.pop(path, None)


def _check_not_imported(root: Root) -> None:
    loaded_tops = [top for top in root.tops if top in sys.modules]
    if all(top.startswith("_") for top in loaded_tops) and len(loaded_tops) < len(root.tops):
        loaded_tops = []  # a helper module, as setuptools' _distutils_hack, which a .pth file loads at every start
    for name in (*loaded_tops, *loaded_below(root)):
        if not serves(sys.modules[name], root):
            loaded, place = version_of(sys.modules[name])
            from remote_wheel.errors import AlreadyImported

            raise AlreadyImported(
                module=name,
                project=root.facts["name"] or name,
                wanted=root.facts["version"],
                loaded=loaded,
                loaded_from=place,
                wanted_by=tuple(root.facts.get("wanted_by", ())),
            )


def check_not_mounted(entries: "Iterable[dict[str, Any]]") -> None:
    """Raise Unsatisfiable where one of *entries* is of a project that is mounted in another version.

    What asked for that relies on it. Who mounts two versions of a project by their places wants both, in turn.
    """
    for facts in entries:
        for other in mounted():
            if not facts["name"] or other.facts["name"] != facts["name"] or other.facts["version"] == facts["version"]:
                continue
            if not any(top in sys.modules for top in other.tops):  # else that it is imported is what stands in the way
                from remote_wheel.errors import Unsatisfiable

                wanted = [tuple(each) for each in facts.get("wanted_by", ())]
                raise Unsatisfiable(
                    requirements=tuple(text for who, text in wanted if who == "you"),
                    reasons=tuple(f"{who} requires {text}" for who, text in wanted if who != "you"),
                    notes=(f"{other.facts['name']} {other.facts['version']} is mounted in this process",),
                )


def loaded_below(root: Root) -> "list[str]":
    """Return the loaded modules that *root* has too, below namespace packages, which take portions from everywhere."""
    namespaces = tuple(f"{name}." for name in root.facts["namespaces"] if name in sys.modules)
    names = [name for name in loaded_modules() if name.startswith(namespaces)] if namespaces else []
    return [name for name in names if name.replace(".", "/") in root.image.modules]


def fact(module: "ModuleType", name: str) -> "Any":
    """Return an attribute without running code: a module may compute its own, or load itself when it is touched."""
    return namespace_of(module).get(name)


def serves(module: "ModuleType", root: Root) -> bool:
    """Whether the loaded *module* is what an import from *root* would give: it is from there, or of the same version.

    A namespace package serves always. Of two mounts, the same version with another hash does not.
    """
    place = fact(module, "__file__")
    if place is None or is_from(module, root) or _is_same_file(place, root.facts["source"]):
        return True
    other = root_of(module)
    if other is not None:
        return bool(other.facts["sha256"] == root.facts["sha256"])
    return bool(root.facts["version"]) and version_of(module)[0] == root.facts["version"]


def _is_same_file(place: str, source: str) -> bool:
    """Whether a module's file is the one that was mounted, by a path."""
    is_path = os.path.isabs(source) and os.path.isabs(place)
    return is_path and os.path.realpath(place) == os.path.realpath(source)


def version_of(module: "ModuleType") -> "tuple[str, str]":
    """Return the version of a loaded module's distribution, as well as it can be known, and where it came from."""
    place = str(fact(module, "__file__") or "this interpreter")
    other = root_of(module)
    if other is not None:
        return other.facts["version"], f"{other.facts['source']} (mounted)"
    from importlib.metadata import distributions

    name = str(fact(module, "__name__"))
    for found in distributions(path=[_folder_on_path(place, name)]):
        files = {str(path).replace("\\", "/") for path in found.files or ()}
        wanted = name.replace(".", "/")
        if f"{wanted}.py" in files or f"{wanted}/__init__.py" in files:
            return found.version, place
    return str(fact(module, "__version__") or ""), place


def is_from(module: "ModuleType", root: Root) -> bool:
    """Whether *module* was loaded from *root* alone."""
    spec = fact(module, "__spec__")
    origin = getattr(spec, "origin", None)
    if isinstance(origin, str) and origin.startswith(root.base):
        return True
    if spec is None or fact(module, "__file__") is not None:
        return False
    places = list(getattr(spec, "submodule_search_locations", None) or ())
    return bool(places) and all(isinstance(place, str) and place.startswith(root.base) for place in places)


def _folder_on_path(place: str, name: str) -> str:
    """Return the folder that a module's file is imported from: as many levels up as its name has parts."""
    folder = os.path.dirname(place)
    is_package = os.path.basename(place).startswith("__init__.")
    for _ in range(name.count(".") + is_package):
        folder = os.path.dirname(folder)
    return folder


def import_module(name: str) -> "ModuleType":
    """Import a module by its dotted name; importlib.import_module without importlib."""
    __import__(name)
    return sys.modules[name]


def root_with(name: str, roots: "Iterable[Root]") -> "Root | None":
    """Return the root that has module *name*: in its image, or in its archive alone, as what is not used is."""
    listed = list(roots)
    having = [root for root in listed if name.replace(".", "/") in root.image.modules]
    return next(iter(having or [root for root in listed if _is_unused(name, root)]), None)


def _is_unused(name: str, root: Root) -> bool:
    """Whether *root*'s archive has module *name*, which is Python's own or another project's here."""
    return name in root.facts.get("protected", ()) or name in root.facts.get("hidden", ())


def import_from(name: str, root: Root) -> "ModuleType":
    """Import module *name*; raise Shadowed where it is not *root*'s, though *root* has a module of that name."""
    module = import_module(name)
    facts = root.facts
    if root_with(name, (root,)) and not serves(module, root):
        from remote_wheel.errors import Shadowed

        version, place = version_of(module)
        raise Shadowed(
            module=name,
            project=facts["name"] or facts["filename"],
            wanted=facts["version"],
            found=f"version {version} at {place}" if version else place,
        )
    return module
