"""Poetry's own tables in the terms of the standards: ``^1.2`` and ``~1.2`` as PEP 440, the rest as PEP 508."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from packaging.version import Version

_CLAUSE: Final = re.compile(r"\s*(\^|~=|~|===|==|!=|<=|>=|<|>|=)?\s*([^\s,]+)\s*")


def specifiers_of_poetry(constraint: str) -> str:
    """Return PEP 440 specifiers for a Poetry constraint such as ``^2.13``, ``~1.2``, ``1.*`` or ``>=1,<2``.

    Raises ValueError for one that PEP 440 has no single form of (``||``).
    """
    if "|" in constraint:
        raise ValueError(f"{constraint!r} is a choice, which a requirement can't say")
    clauses: list[str] = []
    for part in re.split(r",|\s+(?=[\^~<>=!])", constraint.strip()):
        match = _CLAUSE.fullmatch(part)
        if not match:
            raise ValueError(f"{constraint!r} is no version constraint")
        clauses += _clauses(match[1] or "", match[2])
    return ",".join(clauses)


def _clauses(operator: str, version: str) -> Iterator[str]:
    if operator in ("^", "~"):
        release = list(Version(version).release)
        place = _caret_place(release) if operator == "^" else min(1, len(release) - 1)
        yield f">={version}"
        yield "<" + ".".join(map(str, _next(release, place)))
    elif version == "*":
        return
    else:  # a bare version is an exact one to Poetry
        yield f"{'==' if operator in ('', '=') else operator}{version}"


def _caret_place(release: list[int]) -> int:
    """Return the leftmost part that is not zero: what a caret keeps."""
    return next((at for at, number in enumerate(release) if number), len(release) - 1)


def _next(release: list[int], place: int) -> list[int]:
    return [*release[:place], release[place] + 1]


def requirements_of_poetry(table: Mapping[str, Any]) -> tuple[list[str], dict[str, list[str]], str]:
    """Return (requirements, requirements by extra, Requires-Python) of a ``[tool.poetry]`` table.

    Raises TypeError or ValueError where an entry can't be said in PEP 508.
    """
    required, optional, python = [], dict[str, str](), ""
    for name, value in table.get("dependencies", {}).items():
        if name.lower() == "python":  # of a choice the last: the older ones are of Pythons before ours
            python = specifiers_of_poetry(value.rpartition("||")[2])
            continue
        entries = value if isinstance(value, list) else [value]
        for entry in entries:
            details = {"version": entry} if isinstance(entry, str) else dict(entry)
            text = _requirement(name, details)
            if details.get("optional"):
                optional[name] = text
            else:
                required.append(text)
    extras = {
        extra: [optional[name] for name in names if name in optional]
        for extra, names in table.get("extras", {}).items()
    }
    return required, extras, python


def _requirement(name: str, details: Mapping[str, Any]) -> str:
    if "path" in details or "git" in details:
        raise ValueError(f"{name} comes from a path or a repository")
    extras = f"[{','.join(details['extras'])}]" if details.get("extras") else ""
    where = f" @ {details['url']}" if "url" in details else specifiers_of_poetry(details.get("version", "*"))
    markers = [f"({details['markers']})"] if details.get("markers") else []
    if python := details.get("python"):
        markers += [_python_marker(clause) for clause in specifiers_of_poetry(python).split(",") if clause]
    if platform := details.get("platform"):
        markers.append(f"sys_platform == '{platform}'")
    return f"{name}{extras}{where}{' ; ' + ' and '.join(markers) if markers else ''}"


def _python_marker(clause: str) -> str:
    match = _CLAUSE.fullmatch(clause)
    assert match is not None  # a programming error: the clause is one that specifiers_of_poetry made
    variable = "python_version" if match[2].count(".") < 2 else "python_full_version"
    return f"{variable} {match[1]} '{match[2]}'"
