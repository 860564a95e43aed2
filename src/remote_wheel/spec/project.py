"""The static metadata of a source tree: the ``[project]`` table of its pyproject.toml (PEP 621)."""

import tomllib
from typing import Any

from remote_wheel.errors import InvalidMetadata


def metadata_of_project(pyproject: bytes, *, subject: str) -> dict[str, bytes] | None:
    """Return the dist-info files that an installation of the tree would have: METADATA, entry_points.txt.

    None where there is no ``[project]`` table, so nothing is known about the tree. Raises InvalidMetadata where
    the table is broken or says that its dependencies are computed by a build ("dynamic"), which never runs here.
    """
    try:
        table = tomllib.loads(pyproject.decode("utf-8")).get("project")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidMetadata(subject=subject, reason=f"pyproject.toml can't be read: {error}") from error
    if table is None:
        return None
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise InvalidMetadata(subject=subject, reason="pyproject.toml has a [project] table without a name")
    dynamic = table.get("dynamic", [])
    if "dependencies" in dynamic:
        raise InvalidMetadata(
            subject=subject,
            reason="its dependencies are computed by its build, which never runs here (dynamic = dependencies)",
        )
    try:
        files = {"METADATA": _metadata_text(table).encode()}
        if entry_points := _entry_points_text(table):
            files["entry_points.txt"] = entry_points.encode()
    except (AttributeError, TypeError) as error:
        raise InvalidMetadata(subject=subject, reason=f"its [project] table has a wrong type ({error})") from error
    return files


def _metadata_text(table: dict[str, Any]) -> str:
    # PEP 621 allows "version" to be dynamic; 0 is what PEP 440 gives us for "not known, older than all".
    lines = ["Metadata-Version: 2.1", f"Name: {table['name']}", f"Version: {table.get('version', '0')}"]
    if summary := table.get("description"):
        lines.append(f"Summary: {' '.join(str(summary).split())}")
    if requires_python := table.get("requires-python"):
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {text}" for text in _strings(table.get("dependencies", []))]
    for extra, requirements in table.get("optional-dependencies", {}).items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_under_extra(text, extra)}" for text in _strings(requirements)]
    return "\n".join(lines) + "\n"


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{value!r} where a list of strings should be")
    return value


def _under_extra(text: str, extra: str) -> str:
    requirement, _, marker = text.partition(";")
    condition = f'extra == "{extra}"'
    return f"{requirement.strip()} ; ({marker.strip()}) and {condition}" if marker else f"{text} ; {condition}"


def _entry_points_text(table: dict[str, Any]) -> str:
    groups = {"console_scripts": table.get("scripts", {}), "gui_scripts": table.get("gui-scripts", {})}
    groups |= table.get("entry-points", {})
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in groups.items()
        if entries
    )
