"""What the tables of build backends say without a build: which files the wheel would hold, and its version.

Flit, Hatch, Setuptools, Poetry, PDM and uv are read. Nothing here runs code of the tree; Python files are parsed
for the assignment of a literal at most.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from pathspec import GitIgnoreSpec

_NATIVE_BACKENDS: Final = ("mesonpy", "scikit_build_core", "maturin", "skbuild", "py_build_cmake", "sipbuild", "cmeel")
_ASIDE: Final = frozenset(("tests", "test", "testing", "docs", "doc", "examples", "benchmarks"))
_NATIVE_SETUP: Final = re.compile(r"\b(ext_modules|cffi_modules|rust_extensions|Extension\s*\()")


class SourceTree(NamedTuple):
    """The files of one project's folder. `version_hint` is the version that a tag stands for, if there is one."""

    subject: str
    paths: Collection[str]
    read: Callable[[str], bytes]
    version_hint: str = ""

    def text(self, path: str) -> str:
        """Return the file's text, empty where there is none."""
        return self.read(path).decode("utf-8", "replace") if path in self.paths else ""


def backend_of(pyproject: Mapping[str, Any]) -> str:
    """Return the import package of the build backend (PEP 517); setuptools where none is named."""
    backend = pyproject.get("build-system", {}).get("build-backend", "setuptools.build_meta")
    return str(backend).partition(".")[0].partition(":")[0]


def why_built(pyproject: Mapping[str, Any], tree: SourceTree) -> str:
    """Return why the tree is useless without a build, empty where it is not."""
    backend, tool = backend_of(pyproject), pyproject.get("tool", {})
    if backend in _NATIVE_BACKENDS:
        return f"its build backend, {backend}, compiles native code"
    if "backend-path" in pyproject.get("build-system", {}):
        return "its build backend is code of its own"
    if backend == "setuptools" and (
        _NATIVE_SETUP.search(tree.text("setup.py")) or "ext-modules" in tool.get("setuptools", {})
    ):
        return "its setup.py compiles native code"
    if backend == "hatchling" and "custom" in _hatch_hooks(tool):
        return "its build has a hook of its own (tool.hatch.build.hooks.custom)"
    if backend == "poetry" and "build" in tool.get("poetry", {}):
        return "its build has a script of its own (tool.poetry.build)"
    sources = (path for path in sorted(tree.paths) if path.endswith(".pyx"))
    if native := next((path for path in sources if _ASIDE.isdisjoint(path.split("/"))), ""):
        return f"{native} is to be compiled"
    return ""


def _hatch_hooks(tool: Mapping[str, Any]) -> set[str]:
    build = tool.get("hatch", {}).get("build", {})
    return {*build.get("hooks", {}), *build.get("targets", {}).get("wheel", {}).get("hooks", {})}


# --- which files ---------------------------------------------------------------------------------------------------


def find_roots(pyproject: Mapping[str, Any], name: str, tree: SourceTree) -> tuple[tuple[str, str], ...]:
    """Return (file or folder of the tree, its path below the import root) for what the wheel would hold.

    Empty where the tables leave it to the backend's own search, which verify.tree then does as backends do.
    """
    tool = pyproject.get("tool", {})
    finder = _ROOTS.get(backend_of(pyproject))
    found = tuple(finder(tool, name.lower().replace("-", "_").replace(".", "_"), tree)) if finder else ()
    return tuple((place, target) for place, target in found if _holds(tree, place))


def _holds(tree: SourceTree, place: str) -> bool:
    return place in tree.paths or any(path.startswith(f"{place}/") for path in tree.paths)


def _flit(tool: Mapping[str, Any], name: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    flit = tool.get("flit", {})
    stated = flit.get("module", {}).get("name") or flit.get("metadata", {}).get("module")
    module = (stated or name).replace(".", "/")
    yield from _package_or_module(module, tree)


def _uv(tool: Mapping[str, Any], name: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    table = tool.get("uv", {}).get("build-backend", {})
    root = table.get("module-root", "src").strip("/")
    modules = table.get("module-name", name)
    for module in [modules] if isinstance(modules, str) else modules:
        target = module.replace(".", "/")
        yield (f"{root}/{target}" if root else target), target


def _poetry(tool: Mapping[str, Any], name: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    table = tool.get("poetry", {})
    packages = table.get("packages")
    if packages is None:
        yield from _package_or_module(name, tree)
        return
    for package in packages:
        if package.get("format", "wheel") != "wheel" and "wheel" not in package["format"]:
            continue
        folder, to = package.get("from", "").strip("/"), package.get("to", "").strip("/")
        for path in _matching(tree, package["include"].rstrip("/"), folder):
            yield (f"{folder}/{path}" if folder else path), (f"{to}/{path}" if to else path)


def _pdm(tool: Mapping[str, Any], name: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    folder = tool.get("pdm", {}).get("build", {}).get("package-dir", "").strip("/")
    if folder:
        yield folder, ""


def _hatch(tool: Mapping[str, Any], name: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    build = tool.get("hatch", {}).get("build", {})
    shared = ("packages", "only-include", "include", "exclude", "sources")
    wheel = {key: build[key] for key in shared if key in build} | build.get("targets", {}).get("wheel", {})
    packages = [place.strip("/") for place in wheel.get("packages", ())]
    sources = wheel.get("sources", [])
    moved = dict(sources) if isinstance(sources, Mapping) else dict.fromkeys(sources, "")
    moved |= {place: place.rpartition("/")[2] for place in packages}
    found = dict(_package_or_module(name, tree)) if not wheel.keys() & {"packages", "only-include", "include"} else {}
    included = [place.strip("/") for place in wheel.get("only-include", ())] or packages or list(found)
    for path in _selected(tree.paths, included, wheel.get("include", ()), wheel.get("exclude", ())):
        yield path, _moved(path, {**found, **moved})
    for place, target in wheel.get("force-include", {}).items():
        yield place.strip("/"), target.strip("/")


def _selected(
    paths: Iterable[str], places: Collection[str], include: Iterable[str], exclude: Iterable[str]
) -> Iterator[str]:
    """Yield the paths below *places* (all, where there are none) that patterns of .gitignore's kind choose."""
    below = [path for path in paths if not places or any(path == p or path.startswith(f"{p}/") for p in places)]
    wanted = set(GitIgnoreSpec.from_lines(include).match_files(below)) if include else set(below)
    unwanted = set(GitIgnoreSpec.from_lines(exclude).match_files(below)) if exclude else set()
    yield from sorted(wanted - unwanted)


def _moved(path: str, sources: Mapping[str, str]) -> str:
    for place in sorted(sources, key=len, reverse=True):
        prefix, target = place.strip("/"), sources[place].strip("/")
        if path == prefix or path.startswith(f"{prefix}/"):
            return f"{target}/{path.removeprefix(prefix).strip('/')}".strip("/")
    return path


def _setuptools(tool: Mapping[str, Any], name: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    table = tool.get("setuptools", {})
    folders = {package: place.strip("/.") for package, place in table.get("package-dir", {}).items()}
    for module in table.get("py-modules", ()):
        yield _under(folders.get("", ""), f"{module.replace('.', '/')}.py"), f"{module.replace('.', '/')}.py"
    packages = table.get("packages")
    if isinstance(packages, list):
        for package in packages:
            target = package.replace(".", "/")
            yield _setuptools_place(package, folders), target
    elif isinstance(packages, Mapping):
        find = packages.get("find", {})
        for folder in find.get("where", ["."]):
            base = folder.strip("/.")
            for top in _tops(tree, base, is_namespace=find.get("namespaces", True)):
                if _is_wanted(top, find.get("include", ["*"]), find.get("exclude", [])):
                    yield _under(base, top), top


def _setuptools_place(package: str, folders: Mapping[str, str]) -> str:
    """Return the folder of *package*: its own entry of package-dir, else its parent's, else the root's."""
    head, tail = package, ""
    while head:
        if head in folders:
            return _under(folders[head], tail)
        head, _, last = head.rpartition(".")
        tail = _under(last, tail)
    return _under(folders.get("", ""), tail)


def _tops(tree: SourceTree, base: str, *, is_namespace: bool) -> Iterable[str]:
    prefix = f"{base}/" if base else ""
    inner = [path.removeprefix(prefix) for path in tree.paths if path.startswith(prefix)]
    tops = {path.partition("/")[0] for path in inner if "/" in path and path.endswith(".py")}
    if not is_namespace or not base:  # a flat layout's folders are not all packages
        tops = {top for top in tops if f"{top}/__init__.py" in inner}
    return sorted(top for top in tops if top.isidentifier())


def _is_wanted(top: str, include: Collection[str], exclude: Collection[str]) -> bool:
    # A pattern is of a dotted name; what it says of a subpackage ("pkg.tests*") leaves the package itself alone.
    is_included = any(fnmatchcase(top, pattern.partition(".")[0]) for pattern in include)
    return is_included and not any(fnmatchcase(top, pattern) for pattern in exclude)


def _package_or_module(target: str, tree: SourceTree) -> Iterator[tuple[str, str]]:
    for place in (f"src/{target}", target):
        if _holds(tree, place):
            yield place, target
            return
        if f"{place}.py" in tree.paths:
            yield f"{place}.py", f"{target}.py"
            return


def _matching(tree: SourceTree, pattern: str, folder: str) -> Iterable[str]:
    """Return the shallowest paths below *folder* that *pattern* names; a wildcard matches folders and files."""
    prefix = f"{folder}/" if folder else ""
    inner = {path.removeprefix(prefix) for path in tree.paths if path.startswith(prefix)}
    if "*" not in pattern:
        return [pattern] if any(path == pattern or path.startswith(f"{pattern}/") for path in inner) else []
    return sorted(path for path in inner if fnmatchcase(path, pattern))


def _under(folder: str, path: str) -> str:
    return f"{folder}/{path}".strip("/") if path else folder


_ROOTS: Final[Mapping[str, Callable[[Mapping[str, Any], str, SourceTree], Iterator[tuple[str, str]]]]] = {
    "flit_core": _flit,
    "flit": _flit,
    "uv_build": _uv,
    "poetry": _poetry,
    "pdm": _pdm,
    "hatchling": _hatch,
    "setuptools": _setuptools,
}


# --- the version ------------------------------------------------------------------------------------------------------


def find_version(pyproject: Mapping[str, Any], name: str, tree: SourceTree) -> str:
    """Return the version of a project that states none itself, as its backend would find it; empty where it can't."""
    tool, backend = pyproject.get("tool", {}), backend_of(pyproject)
    if backend in ("flit_core", "flit"):
        places = [place for place, _ in _flit(tool, name.lower().replace("-", "_"), tree)]
        found = _version_in(tree, [path for place in places for path in (place, f"{place}/__init__.py")])
    elif backend == "setuptools":
        found = _setuptools_version(tool.get("setuptools", {}), tree)
    elif backend == "poetry":  # from version 2 on, its own table may fill what [project] leaves open
        found = str(tool.get("poetry", {}).get("version", ""))
    else:
        table = tool.get({"hatchling": "hatch"}.get(backend, backend), {}).get("version", {})
        path = table.get("path", "") if isinstance(table, Mapping) else ""
        found = "" if "pattern" in table else _version_in(tree, [path])
    return found or _version_of_repository(tree)


def find_generated(pyproject: Mapping[str, Any], version: str, tree: SourceTree) -> dict[str, bytes]:
    """Return the files with the version that a build would write and a repository does not have, by path."""
    tool = pyproject.get("tool", {})
    scm, pdm = tool.get("setuptools_scm", {}), tool.get("pdm", {}).get("version", {})
    hatch = tool.get("hatch", {}).get("build", {})
    hooks = (hatch.get("hooks", {}), hatch.get("targets", {}).get("wheel", {}).get("hooks", {}))
    stated = [
        scm.get("version_file"),
        scm.get("write_to"),
        *(each.get("vcs", {}).get("version-file") for each in hooks),
    ]
    if isinstance(pdm, Mapping) and pdm.get("write_to"):
        stated += [pdm["write_to"], f"src/{pdm['write_to']}"]
    parts = [int(part) if part.isdigit() else part for part in re.split(r"[.+-]", version)]
    text = f"__version__ = version = {version!r}\n__version_tuple__ = version_tuple = {tuple(parts)!r}\n"
    text += "__commit_id__ = commit_id = None\n"
    return {
        path: text.encode()
        for path in stated
        if path and path.endswith(".py") and path not in tree.paths and _holds(tree, path.rpartition("/")[0])
    }


def _setuptools_version(table: Mapping[str, Any], tree: SourceTree) -> str:
    stated = table.get("dynamic", {}).get("version", {})
    if path := stated.get("file"):
        return "".join(tree.text(each) for each in ([path] if isinstance(path, str) else path)).strip()
    if not (attribute := stated.get("attr")):
        return ""
    find = table.get("packages", {})
    where = find.get("find", {}).get("where", []) if isinstance(find, Mapping) else []
    return read_attribute(tree, attribute, (*where, table.get("package-dir", {}).get("", ""), "src", ""))


def read_attribute(tree: SourceTree, attribute: str, folders: Iterable[str]) -> str:
    """Return the literal that ``package.module.attribute`` is assigned, its package below one of *folders*."""
    module, _, variable = attribute.rpartition(".")
    stems = [_under(str(folder).strip("/."), module.replace(".", "/")) for folder in folders]
    return _version_in(tree, [f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py")], variable)


def _version_in(tree: SourceTree, paths: Iterable[str], *names: str) -> str:
    """Return the literal that the first of *paths* assigns to ``__version__`` or to one of *names*."""
    wanted = names or ("__version__", "VERSION", "version")
    for path in paths:
        if path in tree.paths:
            return next(_literals(tree.text(path), wanted), "")
    return ""


def _literals(source: str, names: Collection[str]) -> Iterator[str]:
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for statement in statements:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if isinstance(value, ast.Constant) and any(isinstance(t, ast.Name) and t.id in names for t in targets):
            yield str(value.value).removeprefix("v")


def _version_of_repository(tree: SourceTree) -> str:
    """Return the version that tools such as setuptools-scm take from the repository: of the tag it was archived at."""
    if tree.version_hint:
        return tree.version_hint
    described = re.search(
        r"^describe-name: (?:[A-Za-z_-]*)?v?(\d[^\s$]*?)(?:-0-g[0-9a-f]+)?$", tree.text(".git_archival.txt"), re.M
    )
    return described[1] if described and "-g" not in described[1] else ""
