"""The static metadata of a source tree: pyproject.toml (PEP 621, Poetry), an sdist's PKG-INFO (PEP 643), setup.cfg."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import InvalidMetadata, MustBeBuilt
from remote_wheel.spec.backends import SourceTree, backend_of, find_generated, find_roots, find_version, why_built
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.legacy import read_legacy, read_legacy_files
from remote_wheel.spec.poetry import requirements_of_poetry
from remote_wheel.toml import load_toml

# What mounting needs to know; a build may compute the rest as it likes.
_NEEDED: Final = ("dependencies", "optional-dependencies", "requires-python", "scripts", "gui-scripts", "entry-points")
_UNKNOWN_VERSION: Final = "0"  # the oldest that PEP 440 has: it satisfies no lower bound


class Description(NamedTuple):
    """What is known of a project without a build.

    `files` are its dist-info's, `roots` as backends.find_roots says, `generated` what a build would add to the tree.
    """

    files: Mapping[str, bytes]
    roots: tuple[tuple[str, str], ...]
    generated: Mapping[str, bytes] = EMPTY


def describe(tree: SourceTree) -> Description | None:
    """Return what an installation of the tree would say of itself; None for a mere folder of modules.

    Raises MustBeBuilt where only a build could say it, or would make files, and InvalidMetadata where it is broken.
    """
    pyproject = _read_pyproject(tree)
    sdist = _read_sdist(tree)
    try:
        project = _project_table(pyproject, tree)
        if project is None and sdist is None and backend_of(pyproject) == "setuptools":
            project = read_legacy(tree)
            (project or {}).pop("_files", None)
        if backend_of(pyproject) == "setuptools" and (legacy := read_legacy_files(tree)):
            tool = pyproject.get("tool", {})
            pyproject = {**pyproject, "tool": {**tool, "setuptools": {**legacy, **tool.get("setuptools", {})}}}
        name = str((project or {}).get("name") or (sdist or {}).get("name") or "")
        if reason := why_built(pyproject, tree):
            raise MustBeBuilt(subject=tree.subject, project=name, reason=reason)
        if project is not None:
            project = _with_dynamic(project, pyproject, sdist, tree)
            files = _files_of_project(project)
        elif sdist is not None:
            files = {"METADATA": tree.read("PKG-INFO"), **_egg_entry_points(tree)}
        elif backend_of(pyproject) != "setuptools":
            reason = "its metadata is computed by its build (it has neither [project] nor Poetry's tables)"
            raise MustBeBuilt(subject=tree.subject, project="", reason=reason)
        else:
            return None
        version = str((project or sdist or {}).get("version", ""))
        generated = find_generated(pyproject, version, tree)
        whole = tree._replace(paths={*tree.paths, *generated})
        return Description(files=files, roots=find_roots(pyproject, name, whole), generated=generated)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise InvalidMetadata(subject=tree.subject, reason=f"a table has a wrong type or value ({error})") from error


def _read_pyproject(tree: SourceTree) -> dict[str, Any]:
    if "pyproject.toml" not in tree.paths:
        return {}
    try:
        return load_toml(tree.read("pyproject.toml").decode("utf-8"))
    except ValueError as error:  # no UTF-8, and no TOML
        raise InvalidMetadata(subject=tree.subject, reason=f"pyproject.toml can't be read: {error}") from error


def _read_sdist(tree: SourceTree) -> RawMetadata | None:
    """Return the fields of an sdist's PKG-INFO if what it says of dependencies is what its wheel will say (PEP 643)."""
    if "PKG-INFO" not in tree.paths:
        return None
    raw, _ = parse_email(tree.read("PKG-INFO"))
    if "name" not in raw or "version" not in raw:
        return None
    stated = raw.get("metadata_version", "1.0").split(".")
    is_static = stated[0].isdigit() and [int(part) for part in stated if part.isdigit()] >= [2, 2]
    dynamic = {field.lower() for field in raw.get("dynamic", ())}
    return raw if is_static and dynamic.isdisjoint(("requires-dist", "requires-python", "provides-extra")) else None


def _egg_entry_points(tree: SourceTree) -> dict[str, bytes]:
    found = [path for path in tree.paths if path.endswith(".egg-info/entry_points.txt")]
    return {"entry_points.txt": tree.read(found[0])} if len(found) == 1 else {}


def _flit_table(flit: Mapping[str, Any]) -> dict[str, Any]:
    """Return flit's old table, ``[tool.flit.metadata]``, as ``[project]`` says it; the version is the module's."""
    old = flit["metadata"]
    return {
        "name": old.get("dist-name", old["module"]),
        "dynamic": ["version"],
        "dependencies": old.get("requires", []),
        "optional-dependencies": old.get("requires-extra", {}),
        "requires-python": old.get("requires-python", ""),
        "scripts": flit.get("scripts", {}),
        "entry-points": flit.get("entrypoints", {}),
    }


def _requirements_of_poetry(poetry: Mapping[str, Any], tree: SourceTree) -> tuple[list[str], dict[str, list[str]], str]:
    try:
        return requirements_of_poetry(poetry)
    except ValueError as error:
        reason = f"its dependencies can't be said as requirements: {error}"
        raise MustBeBuilt(subject=tree.subject, project=str(poetry.get("name", "")), reason=reason) from error


def _project_table(pyproject: Mapping[str, Any], tree: SourceTree) -> dict[str, Any] | None:
    table = pyproject.get("project")
    if table is not None:
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise ValueError("pyproject.toml has a [project] table without a name")
        return table
    tool = pyproject.get("tool", {})
    if backend_of(pyproject) in ("flit_core", "flit") and "metadata" in tool.get("flit", {}):
        return _flit_table(tool["flit"])
    poetry = tool.get("poetry", {})
    if "name" not in poetry or backend_of(pyproject) != "poetry":
        return None
    required, extras, python = _requirements_of_poetry(poetry, tree)
    found = {"name": poetry["name"], "version": poetry["version"], "description": poetry.get("description", "")}
    scripts = {name: target for name, target in poetry.get("scripts", {}).items() if isinstance(target, str)}
    plugins = {"scripts": scripts, "entry-points": poetry.get("plugins", {})}
    return {**found, "dependencies": required, "optional-dependencies": extras, "requires-python": python, **plugins}


def _with_dynamic(
    project: dict[str, Any], pyproject: Mapping[str, Any], sdist: RawMetadata | None, tree: SourceTree
) -> dict[str, Any]:
    """Return the table with what its "dynamic" fields are, where that can be read; raise MustBeBuilt elsewhere."""
    dynamic = set(_strings(project.get("dynamic", [])))
    filled = dict(project)
    if sdist and canonicalize_name(sdist["name"]) != canonicalize_name(project["name"]):
        raise ValueError(f"PKG-INFO is of {sdist['name']}")
    if "version" in dynamic or "version" not in project:
        # An sdist was made at a version, and says which; a repository has what its backend would look at.
        found = sdist["version"] if sdist else find_version(pyproject, project["name"], tree)
        filled["version"] = _as_version(found)
    files = pyproject.get("tool", {}).get("setuptools", {}).get("dynamic", {})
    for key in sorted(dynamic.intersection(_NEEDED)):
        if key == "dependencies" and "file" in files.get(key, {}):
            filled[key] = _lines_of(files[key]["file"], tree)
        elif key == "optional-dependencies" and key in files:
            filled[key] = {extra: _lines_of(each["file"], tree) for extra, each in files[key].items()}
        elif key in (of_poetry := _filled_by_poetry(pyproject, tree)):
            filled[key] = of_poetry[key]
        elif sdist and key in ("dependencies", "optional-dependencies", "requires-python"):
            filled["_requires_dist"] = sdist.get("requires_dist", [])
            filled["_extras"] = sdist.get("provides_extra", [])
            filled["requires-python"] = sdist.get("requires_python", "")
        elif sdist:
            filled["_entry_points"] = _egg_entry_points(tree).get("entry_points.txt", b"")
        else:
            reason = f"its {key} are computed by its build (dynamic = {key})"
            raise MustBeBuilt(subject=tree.subject, project=project["name"], reason=reason)
    return filled


def _filled_by_poetry(pyproject: Mapping[str, Any], tree: SourceTree) -> dict[str, Any]:
    """Return what Poetry's own table says of fields that [project] calls dynamic (from Poetry 2 on)."""
    if backend_of(pyproject) != "poetry":
        return {}
    required, extras, python = _requirements_of_poetry(pyproject.get("tool", {}).get("poetry", {}), tree)
    return {"dependencies": required, "optional-dependencies": extras, "requires-python": python}


def _as_version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return _UNKNOWN_VERSION


def _lines_of(paths: Any, tree: SourceTree) -> list[str]:
    texts = [tree.text(path) for path in ([paths] if isinstance(paths, str) else paths)]
    lines = (line.partition(" #")[0].strip() for text in texts for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _files_of_project(table: Mapping[str, Any]) -> dict[str, bytes]:
    files = {"METADATA": _metadata_text(table).encode()}
    if entry_points := table.get("_entry_points") or _entry_points_text(table).encode():
        files["entry_points.txt"] = entry_points
    return files


def _metadata_text(table: Mapping[str, Any]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {_one_line(table['name'])}", f"Version: {_one_line(table['version'])}"]
    if summary := table.get("description"):
        lines.append(f"Summary: {_one_line(summary)}")
    if requires_python := table.get("requires-python"):
        lines.append(f"Requires-Python: {_one_line(requires_python)}")
    if "_requires_dist" in table:
        lines += [f"Requires-Dist: {_one_line(text)}" for text in table["_requires_dist"]]
        lines += [f"Provides-Extra: {_one_line(extra)}" for extra in table["_extras"]]
        return "\n".join(lines) + "\n"
    lines += [f"Requires-Dist: {_one_line(text)}" for text in _strings(table.get("dependencies", []))]
    for extra, requirements in table.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {_one_line(extra)}")
        lines += [f"Requires-Dist: {_one_line(_under_extra(text, extra))}" for text in _strings(requirements)]
    return "\n".join(lines) + "\n"


def _one_line(value: Any) -> str:
    """Return *value* as text without line ends, which would start another field."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a string should be")
    return " ".join(value.split())


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{value!r} where a list of strings should be")
    return value


def _under_extra(text: str, extra: str) -> str:
    requirement, _, marker = text.partition(";")
    condition = f'extra == "{extra}"'
    return f"{requirement.strip()} ; ({marker.strip()}) and {condition}" if marker else f"{text} ; {condition}"


def _entry_points_text(table: Mapping[str, Any]) -> str:
    groups = {"console_scripts": table.get("scripts", {}), "gui_scripts": table.get("gui-scripts", {})}
    groups |= table.get("entry-points", {})
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in groups.items()
        if entries
    )
