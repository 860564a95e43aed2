"""Inline script metadata (PEP 723): what a script says that it needs, for us and, where it serves both, for uv."""

import os
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from remote_wheel.errors import UsageError
from remote_wheel.settings import options_of_table
from remote_wheel.spec.requirement import parse_requirement, project_of
from remote_wheel.toml import load_toml

# Options of uv (docs: Settings reference) that have the meaning of one of ours.
_FROM_UV: Final = {
    "index-url": "index_url",
    "extra-index-url": "extra_index_urls",
    "find-links": "find_links",
    "no-index": "no_index",
    "exclude-newer": "exclude_newer",
    "constraint-dependencies": "constraints",
    "override-dependencies": "overrides",
}
_PRE: Final = {
    "allow": True,
    "disallow": False,
    "if-necessary": False,
    "if-necessary-or-explicit": False,
    "explicit": False,
}


class Script(NamedTuple):
    """What a script's block says. `options` are by our names, with where each was set, as of settings.read_config."""

    requirements: tuple[str, ...]
    requires_python: str
    options: Mapping[str, tuple[Any, str]]


def parse_script(block: str, path: str) -> Script:
    """Read the TOML of the block of a script at *path* (an absolute one, or a URL). Raises UsageError."""
    try:
        table = load_toml(block)
    except ValueError as error:
        raise UsageError(message=f"the script block of {path} is no TOML: {error}") from error
    needs, requires_python, tools = (
        table.get("dependencies", []),
        table.get("requires-python", ""),
        table.get("tool", {}),
    )
    if not isinstance(needs, list) or not all(isinstance(each, str) for each in needs):
        raise UsageError(message=f"the script block of {path}: dependencies is a list of strings (PEP 723)")
    if not isinstance(requires_python, str) or not isinstance(tools, dict):
        raise UsageError(message=f"the script block of {path}: requires-python is a string, and tool a table (PEP 723)")
    try:
        SpecifierSet(requires_python)
    except InvalidSpecifier as error:
        raise UsageError(message=f"the script block of {path}: requires-python: {error}") from error
    ours, uvs = (tools.get(name, {}) for name in ("remote-wheel", "uv"))
    if not isinstance(ours, dict) or not isinstance(uvs, dict):
        raise UsageError(message=f"the script block of {path}: what stands below tool is tables")
    sources = _sources_of(uvs, path)
    options = {**dict(_options_of_uv(uvs, path)), **_bound(sources), **options_of_table(ours, path)}
    return Script(
        requirements=tuple(_placed(text, sources, path) for text in needs),
        requires_python=requires_python,
        options={name: (value, path) for name, value in options.items()},
    )


def _options_of_uv(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    own = {_FROM_UV[key]: _moment(value) for key, value in table.items() if key in _FROM_UV}
    if "exclude-newer-package" in table:
        by_package = table["exclude-newer-package"]
        if not isinstance(by_package, dict):
            raise UsageError(message=f"{path}: tool.uv.exclude-newer-package is a table of projects")
        general = [own["exclude_newer"]] if "exclude_newer" in own else []
        own["exclude_newer"] = [*general, *(f"{name}={_moment(when)}" for name, when in by_package.items())]
    yield from options_of_table(own, path).items()
    if (pre := table.get("prerelease")) is not None:
        if pre not in _PRE:
            raise UsageError(message=f"{path}: tool.uv.prerelease can't be {pre!r}")
        yield "pre", _PRE[pre]
    names, others = [], []
    for index in table.get("index", []):
        if not isinstance(index, dict) or not isinstance(index.get("url"), str):
            raise UsageError(message=f"{path}: each tool.uv.index has a url")
        if index.get("default"):
            yield "index_url", index["url"]
        elif name := index.get("name"):
            names.append(f"{name}={index['url']}")
        else:
            others.append(index["url"])
    if names:
        yield "index", names
    if others:
        yield "extra_index_urls", [*others, *own.get("extra_index_urls", ())]


def _moment(value: Any) -> Any:
    """Return a date as text: TOML has a type for it, and strings do, too."""
    return value.isoformat() if isinstance(value, date) else value


def _sources_of(table: Mapping[str, Any], path: str) -> dict[str, Mapping[str, Any]]:
    sources = table.get("sources", {})
    if not isinstance(sources, dict) or not all(isinstance(each, dict) for each in sources.values()):
        way = "Give one source for each project."
        raise UsageError(message=f"{path}: tool.uv.sources is a table of tables", way_out=way)
    return {canonicalize_name(name): source for name, source in sources.items()}


def _bound(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    bound = [f"{project}={source['index']}" for project, source in sources.items() if "index" in source]
    return {"project_index": bound} if bound else {}


def _placed(text: str, sources: Mapping[str, Mapping[str, Any]], path: str) -> str:
    """Return a dependency as a direct reference where tool.uv.sources says where it is."""
    requirement = parse_requirement(text)
    source = sources.get(project_of(requirement), {})
    if not source or "index" in source:
        return text
    if "url" in source:
        place = str(source["url"])
    elif "git" in source:
        revision = next((source[key] for key in ("rev", "tag", "branch") if key in source), "")
        place = f"git+{source['git'].removeprefix('git+')}" + (f"@{revision}" if revision else "")
        place += f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
    elif "path" in source:
        if "://" in path:
            what = f"{path}: the source of {requirement.name} is a path, and the script is none on this machine"
            raise UsageError(message=what, way_out="Give a url.")
        place = os.path.normpath(os.path.join(os.path.dirname(path), str(source["path"]))).replace(os.sep, "/")
        place = f"file://{'' if place.startswith('/') else '/'}{quote(place)}"
    else:
        way = "It may be an index, url, git or path."
        raise UsageError(message=f"{path}: the source of {requirement.name} is none we know", way_out=way)
    requirement.url, requirement.specifier = place, SpecifierSet()  # one place has one version
    return str(requirement)
