"""setup.cfg and setup.py, as far as they are static: declarations, and literals in the call of ``setup()``.

The code of a setup.py never runs. What it computes is unknown, and MustBeBuilt where mounting has to know it.
"""

import ast
import re
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from typing import Any, Final

from remote_wheel.errors import MustBeBuilt
from remote_wheel.spec.backends import SourceTree, read_attribute

_COMPUTED: Final = object()
_FILES: Final = {"packages": "packages", "py_modules": "py-modules", "package_dir": "package-dir"}
_WANTED: Final = {  # setuptools' keyword → the field of [project]
    "name": "name",
    "version": "version",
    "description": "description",
    "python_requires": "requires-python",
    "install_requires": "dependencies",
    "extras_require": "optional-dependencies",
}


def read_legacy_files(tree: SourceTree) -> dict[str, Any]:
    """Return what setup.cfg and setup.py say of packages and modules, as ``[tool.setuptools]`` says it."""
    found: dict[str, Any] = (_read_cfg(tree) | _read_setup(tree)).get("_files", {})
    return found


def read_legacy(tree: SourceTree) -> dict[str, Any] | None:
    """Return what setup.cfg and setup.py say as a ``[project]`` table, None where there is neither.

    Its "_files" are what ``[tool.setuptools]`` would say of packages and modules. Raises MustBeBuilt where its name or
    its dependencies are computed, ValueError for what can't be read.
    """
    if "setup.py" not in tree.paths and "setup.cfg" not in tree.paths:
        return None
    of_cfg, of_setup = _read_cfg(tree), _read_setup(tree)
    # What setup.cfg states counts, whatever setup.py may compute beside it.
    table = of_cfg | {key: value for key, value in of_setup.items() if value is not _COMPUTED or key not in of_cfg}
    name = table.get("name")
    if not isinstance(name, str):
        if not re.search(r"\bsetup\s*\(", tree.text("setup.py")):  # a setup.cfg may be of other tools alone
            return None
        raise MustBeBuilt(subject=tree.subject, project="", reason="its setup.py computes its metadata")
    if isinstance(extras := table.get("optional-dependencies"), dict) and isinstance(
        table.get("dependencies", []), list
    ):
        table["dependencies"] = [*table.get("dependencies", []), *_conditional(extras)]
    for field in ("dependencies", "optional-dependencies", "requires-python"):
        if table.get(field) is _COMPUTED:
            raise MustBeBuilt(subject=tree.subject, project=name, reason=f"its setup.py computes its {field}")
    known = {field: value for field, value in table.items() if value is not _COMPUTED}
    return {"dynamic": [] if "version" in known else ["version"], **known}


def _read_cfg(tree: SourceTree) -> dict[str, Any]:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(tree.text("setup.cfg"))
    except ConfigParserError as error:
        raise ValueError(f"setup.cfg can't be read: {str(error).splitlines()[0]}") from error
    table: dict[str, Any] = {}
    for key in ("name", "version", "description"):
        if text := parser.get("metadata", key, fallback="").strip():
            table[key] = text
    version = table.get("version", "")
    if version.startswith("attr:"):
        table["version"] = read_attribute(tree, version[5:].strip(), ("", "src")) or _COMPUTED
    elif version.startswith("file:"):
        table["version"] = tree.text(version[5:].strip()).strip() or _COMPUTED
    if python := parser.get("options", "python_requires", fallback=""):
        table["requires-python"] = python
    if required := parser.get("options", "install_requires", fallback=""):
        table["dependencies"] = _requirements(required, tree)
    if parser.has_section("options.extras_require"):
        extras = parser.items("options.extras_require")
        table["optional-dependencies"] = {extra: _requirements(text, tree) for extra, text in extras}
    if parser.has_section("options.entry_points"):
        table |= _entry_points(dict(parser.items("options.entry_points")))
    if files := _read_cfg_files(parser):
        table["_files"] = files
    return table


def _read_cfg_files(parser: ConfigParser) -> dict[str, Any]:
    """Return what setup.cfg says of packages and modules, as ``[tool.setuptools]`` says it."""
    found: dict[str, Any] = {}
    if modules := parser.get("options", "py_modules", fallback=""):
        found["py-modules"] = _names(modules)
    if folders := parser.get("options", "package_dir", fallback=""):
        pairs = (line.partition("=") for line in _names(folders))
        found["package-dir"] = {package.strip(): folder.strip() for package, _, folder in pairs}
    packages = parser.get("options", "packages", fallback="").strip()
    if packages.startswith(("find:", "find_namespace:")):
        find = dict(parser.items("options.packages.find")) if parser.has_section("options.packages.find") else {}
        lists = {key: _names(value) for key, value in find.items() if key in ("where", "include", "exclude")}
        found["packages"] = {"find": {**lists, "namespaces": packages.startswith("find_namespace:")}}
    elif packages:
        found["packages"] = _names(packages)
    return found


def _names(text: str) -> list[str]:
    """Return a list of names: one a line, or separated by commas on one."""
    return [name.strip() for name in (text.splitlines() if "\n" in text else text.split(",")) if name.strip()]


def _requirements(text: str, tree: SourceTree) -> list[str]:
    """Return a list of requirements, which may stand in files of their own (``file: requirements.txt``)."""
    if not text.strip().startswith("file:"):
        return _lines(text)
    named = [path.strip() for path in text.strip().removeprefix("file:").replace("\n", ",").split(",")]
    lines = (line.partition(" #")[0].strip() for path in named if path for line in tree.text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _conditional(extras: dict[str, list[str]]) -> list[str]:
    """Take the old spelling ``[extra]:marker`` out of *extras*, and return the requirements that are of none."""
    plain: list[str] = []
    for key in [key for key in extras if ":" in key]:
        extra, _, marker = key.partition(":")
        lines = [f"{line} ; {marker}" for line in extras.pop(key)]
        (extras.setdefault(extra, []) if extra else plain).extend(lines)
    return plain


def _lines(text: str) -> list[str]:
    """Return setuptools' list: one entry a line, or separated by semicolons on one."""
    return [line.strip() for line in (text.splitlines() if "\n" in text else text.split(";")) if line.strip()]


def _read_setup(tree: SourceTree) -> dict[str, Any]:
    try:
        module = ast.parse(tree.text("setup.py"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    names, table = _constants(module), dict[str, Any]()
    calls = [each for each in ast.walk(module) if isinstance(each, ast.Call) and _called(each) == "setup"]
    if len(calls) > 1 or any(keyword.arg is None for call in calls for keyword in call.keywords):
        table |= dict.fromkeys(_WANTED.values(), _COMPUTED)  # what is not stated may come by **, or by the other call
    for call in calls:
        for keyword in call.keywords:
            value = _literal(keyword.value, names)
            if keyword.arg == "install_requires" and isinstance(value, str):
                value = _lines(value)
            if keyword.arg in _WANTED:
                table[_WANTED[keyword.arg]] = value
            elif keyword.arg in _FILES:
                table.setdefault("_files", {})[_FILES[keyword.arg]] = value
            elif keyword.arg == "entry_points" and isinstance(value, (Mapping, str)):
                groups = _groups_of(value) if isinstance(value, str) else value
                table |= _entry_points({group: _joined(entries) for group, entries in groups.items()})
    if _COMPUTED in table.get("_files", {}).values():  # find_packages(), for one: our own search stands for it
        del table["_files"]
    return table


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _constants(module: ast.Module) -> dict[str, ast.expr]:
    """Return the names that are assigned once, at the top, and that nothing else in the file can change."""
    assigned: dict[str, ast.expr] = {}
    for statement in module.body:
        if isinstance(statement, ast.Assign):
            assigned |= {target.id: statement.value for target in statement.targets if isinstance(target, ast.Name)}
    stores = [node.id for node in ast.walk(module) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    touched = {
        node.value.id  # name.append(…), name[…] = …
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name)
    }
    return {name: value for name, value in assigned.items() if stores.count(name) == 1 and name not in touched}


def _literal(node: ast.expr, names: Mapping[str, ast.expr]) -> Any:
    """Return the value of a literal, or of a name that one is assigned to; else that it is computed."""
    if isinstance(node, ast.Name):
        node = names.get(node.id, node)
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _COMPUTED
    return list(value) if isinstance(value, (tuple, set)) else value


def _groups_of(text: str) -> dict[str, str]:
    """Return the groups of entry points of an .ini text, which setup() takes as well."""
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are case-sensitive
    try:
        parser.read_string(text)
    except ConfigParserError as error:
        raise ValueError(f"its entry points can't be read: {str(error).splitlines()[0]}") from error
    return {group: "\n".join(f"{name} = {value}" for name, value in parser.items(group)) for group in parser.sections()}


def _joined(entries: Any) -> str:
    return entries if isinstance(entries, str) else "\n".join(entries)


def _entry_points(groups: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, dict[str, str]] = {}
    for group, text in groups.items():
        pairs = (line.partition("=") for line in _lines(text + "\n"))
        found[group] = {name.strip(): target.strip() for name, equals, target in pairs if equals}
    scripts = {"scripts": found.pop("console_scripts", {}), "gui-scripts": found.pop("gui_scripts", {})}
    return {**scripts, "entry-points": found}
