"""Who may import whom, and which stages touch the world: docs/reference/architecture in code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "remote_wheel"
MODULES = sorted(path for path in SOURCE.rglob("*.py"))
FLOOR = frozenset(("errors", "settings", "toml"))

# stage → stages it may import, besides itself
ALLOWED: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "__main__": frozenset(("api", "cli")),
    "errors": frozenset(),
    "settings": frozenset(("errors", "toml")),
    "toml": frozenset(),
    "spec": FLOOR,
    "index": FLOOR | {"spec"},
    "resolution": FLOOR | {"spec", "index"},
    "fetch": FLOOR | {"spec"},
    "verify": FLOOR | {"spec"},
    "prepare": FLOOR | {"spec", "verify", "mounts"},
    "store": FLOOR | {"spec", "mounts"},
    "mounts": frozenset(),
    "api": FLOOR | {"spec", "index", "resolution", "fetch", "verify", "prepare", "store", "mounts"},
    "cli": FLOOR | {"api"},
}
PURE = ("spec", "index", "resolution", "verify", "prepare")
IMPURE_MODULES = frozenset(
    ("socket", "subprocess", "requests", "time", "urllib.request", "pathlib", "shutil", "tempfile")
)
ISLAND_STDLIB = frozenset(
    (
        "_frozen_importlib",
        "_frozen_importlib_external",
        "_imp",
        "_thread",
        "fcntl",
        "marshal",
        "mmap",
        "os",
        "sys",
        "zlib",
    )
)
REMEDY = {
    "layer": "move the code to the stage that owns it, or pass the value in",
    "pure": "take bytes or values as arguments; the edges (fetch, store) and api do the I/O",
    "island": "the warm path pays for it: import it inside the function that needs it, or do without",
    "output": "return the text, and let cli.output print it",
}


def _stage(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _is_type_checking(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imports(tree: ast.AST, *, top_level_only: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Yield (module, line, whether at top level) of run-time imports."""

    def walk(node: ast.AST, is_top: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and _is_type_checking(child):
                for other in child.orelse:
                    yield from walk(other, is_top)
            elif isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, is_top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                yield child.module, child.lineno, is_top
                yield from ((f"{child.module}.{alias.name}", child.lineno, is_top) for alias in child.names)
            else:
                yield from walk(child, is_top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    for found in walk(tree, True):
        if found[2] or not top_level_only:
            yield found


def _own(name: str) -> str | None:
    head, _, rest = name.partition(".")
    return rest.partition(".")[0] if head == "remote_wheel" and rest else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    stage, allowed = _stage(path), ALLOWED[_stage(path)]
    for name, line, is_top in _imports(ast.parse(path.read_text("utf-8"))):
        target = _own(name)
        if target is None or target == stage or target in allowed:
            is_image = name.startswith("remote_wheel.mounts.image") or name == "remote_wheel.mounts"
            assert stage != "prepare" or target != "mounts" or is_image, f"{path}:{line}: only mounts.image"
            continue
        is_error_branch = stage == "mounts" and target == "errors" and not is_top
        assert is_error_branch, f"{path}:{line}: {stage} imports {target}. Remedy: {REMEDY['layer']}"


@pytest.mark.parametrize("path", [p for p in MODULES if _stage(p) in PURE], ids=lambda p: str(p.relative_to(SOURCE)))
def test_pure_stages_touch_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for name, line, _ in _imports(tree):
        assert name not in IMPURE_MODULES, f"{path}:{line}: imports {name}. Remedy: {REMEDY['pure']}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input"), f"{path}:{node.lineno}. Remedy: {REMEDY['pure']}"


@pytest.mark.parametrize("path", [p for p in MODULES if _stage(p) == "mounts"], ids=lambda p: p.name)
def test_the_island_imports_only_what_is_there(path: Path) -> None:
    if path.name in ("isolation.py", "callers.py"):
        return  # loaded when an isolated environment is entered, which no warm start waits for
    if path.name == "views.py":
        return  # loaded when a resource is asked for, and then importlib.resources is there already
    for name, line, _ in _imports(ast.parse(path.read_text("utf-8")), top_level_only=True):
        is_own = name.startswith("remote_wheel.mounts")
        assert is_own or name in ISLAND_STDLIB, f"{path}:{line}: imports {name}. Remedy: {REMEDY['island']}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_cli_output_prints(path: Path) -> None:
    if path == SOURCE / "cli" / "output.py":
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}:{node.lineno}. Remedy: {REMEDY['output']}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            is_flush = path.name == "run.py" and node.attr == "stdout"  # before dying of SIGINT, as python flushes
            assert node.attr not in ("stdout", "stderr") or is_flush, f"{path}:{node.lineno}: {REMEDY['output']}"


def test_every_stage_has_a_rule() -> None:
    assert {_stage(path) for path in MODULES} == set(ALLOWED)


def test_size() -> None:
    for path in MODULES:
        text = path.read_text("utf-8")
        assert text.count("\n") <= 500, f"{path} has over 500 lines: split it by the nouns it owns"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno <= 60, f"{path}:{node.lineno}: {node.name} has over 60 lines"
