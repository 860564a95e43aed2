"""Taking mounts back: modules leave sys.modules, places sys.path; what an environment displaced comes back."""

import _imp
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

from remote_wheel.mounts import children
from remote_wheel.mounts.finder import Root, loaded_modules, namespace_of
from remote_wheel.mounts.registry import (
    fact,
    finder,
    forget_importers,
    is_from,
    loaded_below,
    lock,
    mounted,
    mounted_at,
    serves,
    uninstall,
)


class _Aside:
    """What an environment displaced: modules, and for roots that were mounted below others, which those are by name."""

    def __init__(self, modules: "dict[str, ModuleType]", roots: "list[Root]") -> None:
        self.modules, self.roots = modules, roots
        self.raised: "list[tuple[Root, dict[str, Root]]]" = []


_asides: "list[_Aside]" = []  # in the order in which the environments were entered


def remove(roots: "Iterable[Root]") -> "list[str]":
    """Give up one use of each root; unmount those nobody uses any more. Return the modules that left sys.modules."""
    gone: list[str] = []
    with lock:
        for root in roots:
            root.uses -= 1
            if root.uses == 0 and mounted_at.pop(root.path, None) is root:
                gone += _unload(root)
        if gone:  # finders that the modules have added, as six does
            sys.meta_path[:] = [each for each in sys.meta_path if _module_of_finder(each) not in gone]
        children.export(mounted())
        uninstall()
    return gone


def restore(aside: "dict[str, ModuleType]") -> None:
    """Put back the modules that add() put *aside*, behind the removal of what they made place for.

    Where a later add() put others of these names aside, or mounts that are left have them loaded, they come back when
    those go. What was loaded from a mount that is gone since is gone, too.
    """
    with lock:
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
    return [
        name for name in modules_of(root) if str(namespace_of(sys.modules.get(name)).get("__file__")).endswith(suffixes)
    ]


def abandon(roots: "list[Root]", aside: "dict[str, ModuleType] | None") -> None:
    """Take back a mount that failed half way, each of *roots* with one use; what was put *aside* comes back."""
    for root in roots:
        root.uses -= 1
        if root.uses == 0:
            mounted_at.pop(root.path, None)
            _unload(root)
    if aside is not None and any(each.modules is aside for each in _asides):
        restore(aside)
    uninstall()
    try:
        children.export(mounted())
    except OSError:  # as it failed before; what was raised then is raised
        pass


def make_place(roots: "list[Root]", new: "list[Root]", at: int, aside: "dict[str, ModuleType]") -> None:
    """Put into *aside* what *new* roots displace, and have imports find those of *roots* that were mounted before.

    They come below the *new* ones, whose place is *at*.
    """
    _asides.append(_Aside(aside, roots))
    for root in new:
        aside.update(put_aside(root))
    for root in reversed(roots):
        if root not in new:
            _raise(root, at, _asides[-1])


def _module_of_finder(each: "Any") -> str:
    """Return the name of the module that the class of a finder on sys.meta_path is of."""
    return str(getattr(each if isinstance(each, type) else type(each), "__module__", ""))


def put_aside(root: Root) -> "dict[str, ModuleType]":
    """Take what *root* has in another version out of sys.modules: whole packages, and modules of namespaces."""
    found: dict[str, ModuleType] = {}
    for top in root.tops:
        if top in sys.modules and (not serves(sys.modules[top], root) or _is_made(sys.modules[top], root)):
            found.update((n, m) for n, m in loaded_modules().items() if n == top or n.startswith(f"{top}."))
    for name in loaded_below(root):
        if not serves(sys.modules[name], root):
            found[name] = sys.modules[name]
    for name, module in found.items():
        sys.modules.pop(name, None)  # another thread may have taken it out
        _forget_child(name, module)
    return found


def _raise(root: Root, at: int, aside: _Aside) -> None:
    """Have imports find a *root* that was mounted before, and below other versions since; its modules come back."""
    others = {}
    for top in root.tops:
        other = finder.tops.get(top)
        if other is not None and other is not root and other.facts["name"] == root.facts["name"]:
            others[top] = other
    if not others:
        return
    aside.raised.append((root, others))
    aside.modules.update(put_aside(root))
    for top in others:
        finder.tops[top] = root
    sys.path.remove(root.path)
    sys.path.insert(at, root.path)
    for each in _asides:
        for name, module in each.modules.items():
            if is_from(module, root) and name not in sys.modules:
                _bring_back(name, module)


def _lower(root: Root, others: "dict[str, Root]") -> None:
    """Undo _raise, for those of the *others* that are still mounted."""
    others = {top: other for top, other in others.items() if mounted_at.get(other.path) is other}
    if mounted_at.get(root.path) is not root or not others:
        return
    for top, other in others.items():
        finder.tops[top] = other
    sys.path.remove(root.path)
    sys.path.insert(sys.path.index(next(iter(others.values())).path) + 1, root.path)
    for name in [name for name in modules_of(root) if name.partition(".")[0] in others]:
        module = sys.modules.pop(name, None)
        if module is None:  # another thread was faster
            continue
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
    names = namespace_of(sys.modules.get(parent))
    if names.get(child) is module:
        names.pop(child, None)


def _bring_back(name: str, module: "ModuleType") -> None:
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules and child not in namespace_of(sys.modules[parent]):
        setattr(sys.modules[parent], child, module)


def _is_orphan(module: "ModuleType") -> bool:
    """Whether *module* was loaded from a root that is not mounted any more."""
    loader = getattr(fact(module, "__spec__"), "loader", None)
    root = getattr(loader, "root", None)
    return isinstance(root, Root) and mounted_at.get(root.path) is not root


def modules_of(root: Root) -> "list[str]":
    """Return the names in sys.modules that were loaded from *root*, namespace packages of it alone included."""
    return [name for name, module in loaded_modules().items() if is_from(module, root)]


def _is_made(module: "ModuleType", root: Root) -> bool:
    """Whether *module* stands for one of *root*'s and comes from no file: something has put it there."""
    is_of_import = fact(module, "__spec__") is not None or fact(module, "__path__") is not None
    return fact(module, "__file__") is None and not is_of_import and not is_from(module, root)


def _unload(root: Root) -> "list[str]":
    names = modules_of(root)
    tops = [top for top in root.tops if finder.tops.get(top) is root]
    for name, module in loaded_modules().items():  # what its modules have made and put there
        if name.partition(".")[0] in tops and name not in names and fact(module, "__file__") is None:
            names.append(name)
    for name in names:
        gone = sys.modules.pop(name, None)  # another thread may have taken it out
        if gone is not None:
            _forget_child(name, gone)
    if root.path in sys.path:
        sys.path.remove(root.path)
    forget_importers(root)
    for top in root.tops:
        if finder.tops.get(top) is root:
            del finder.tops[top]
            for other in mounted():
                if top in other.tops:
                    finder.tops[top] = other
                    break
    for top in root.facts["namespaces"]:
        left = [other for other in finder.namespaces.pop(top, ()) if other is not root]
        if left:
            finder.namespaces[top] = left
    forget_lines(root)
    return names


def forget_lines(root: Root) -> None:
    """Forget the source lines of *root*'s modules."""
    lines = namespace_of(sys.modules.get("linecache")).get("cache")
    if isinstance(lines, dict):
        for filename in [name for name in lines.copy() if name.startswith(root.base)]:
            lines.pop(filename, None)
