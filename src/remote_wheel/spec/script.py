"""Inline script metadata (PEP 723): what a script says that it needs, for us and, where it serves both, for uv."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from remote_wheel.errors import UsageError
from remote_wheel.settings import options_of_table
from remote_wheel.spec.requirement import applies, parse_requirement, project_of
from remote_wheel.spec.source import is_source
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
# Values of options → the option of ours and its value; none where ours means the same without.
_PRE: Final = {
    "allow": ("pre", True),
    **dict.fromkeys(("disallow", "if-necessary", "if-necessary-or-explicit", "explicit"), ("pre", False)),
}
_STRATEGIES: Final = {
    "first-index": ("index_strategy", "first-index"),
    "unsafe-best-match": ("index_strategy", "unsafe-best-match"),
}
_RESOLUTIONS: Final = {"highest": ("", None)}
# Options that change what is taken, or from where, and that we have nothing for.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_NOT_HONOURED: Final = ("dependency-metadata", "no-binary", "no-binary-package", "torch-backend")
_OF_SOURCES: Final = ("index", "url", "git", "path", "rev", "tag", "branch", "subdirectory", "marker")
_MOST: Final = 1024 * 1024
_Kind = TypeVar("_Kind")


class Script(NamedTuple):
    """What a script's block says. `options` are by our names, with where each was set, as of settings.read_config."""

    requirements: tuple[str, ...]
    requires_python: str
    options: Mapping[str, tuple[Any, str]]


def parse_script(block: str, path: str, environment: Mapping[str, str]) -> Script:
    """Read the TOML of the block of a script at *path* (an absolute one, or a URL), for markers of *environment*.

    Raises UsageError, also for an option of uv that changes what is taken and that can't be honoured.
    """
    if len(block) > _MOST:
        raise UsageError(message=f"the script block of {path} is longer than {_MOST} letters")
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
    except ValueError as error:  # InvalidSpecifier, and numbers too long for Python
        raise UsageError(message=f"the script block of {path}: requires-python: {error}") from error
    ours, uvs = (tools.get(name, {}) for name in ("remote-wheel", "uv"))
    if not isinstance(ours, dict) or not isinstance(uvs, dict):
        raise UsageError(message=f"the script block of {path}: what stands below tool is tables")
    named = {project_of(parse_requirement(each)) for each in needs if not is_source(each)}
    sources = {name: each for name, each in _sources_of(uvs, path, environment).items() if name in named}
    options = {**dict(_options_of_uv(uvs, path)), **_bound(sources), **options_of_table(ours, path)}
    return Script(
        requirements=tuple(_placed(text, sources, path) for text in needs),
        requires_python=requires_python,
        options={name: (value, path) for name, value in options.items()},
    )


def _options_of_uv(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    own = {_FROM_UV[key]: _moment(value) for key, value in table.items() if key in _FROM_UV}
    if "exclude-newer-package" in table:
        by_package = _checked(
            table["exclude-newer-package"], dict, path, "exclude-newer-package", "a table of projects"
        )
        general = [own["exclude_newer"]] if "exclude_newer" in own else []
        own["exclude_newer"] = [*general, *(f"{name}={_moment(when)}" for name, when in by_package.items())]
    if excluded := _texts(table.get("exclude-dependencies", []), path, "exclude-dependencies"):
        # What is overridden by requirements that are nowhere true is needed by nobody.
        for name in excluded:
            if not _NAME.fullmatch(name):
                raise UsageError(message=f"{path}: {name!r} of tool.uv.exclude-dependencies is no name of a project")
        nowhere = [f"{name}; python_version < '0'" for name in excluded]
        own["overrides"] = [*_texts(own.get("overrides", []), path, "override-dependencies"), *nowhere]
    yield from options_of_table(own, path).items()
    for key, meanings in (("prerelease", _PRE), ("index-strategy", _STRATEGIES), ("resolution", _RESOLUTIONS)):
        if (value := table.get(key)) is not None:
            if not isinstance(value, str) or value not in meanings:
                way = f"What can be honoured is {', '.join(meanings)}."
                raise UsageError(message=f"{path}: tool.uv.{key} can't be {value!r}", way_out=way)
            name, meaning = meanings[value]
            if name:
                yield name, meaning
    for key in _NOT_HONOURED:
        if table.get(key):
            raise UsageError(message=f"{path}: tool.uv.{key} can't be honoured", way_out="Leave it out, or use uv.")
    yield from _indexes_of(table, path, _texts(own.get("find_links", []), path, "find-links")).items()


def _indexes_of(table: Mapping[str, Any], path: str, links: Sequence[str]) -> dict[str, Any]:
    """Return the options for ``[[tool.uv.index]]``, by uv's meaning.

    They are asked in their order, the default one last. An explicit one is asked for the projects that are bound to it
    alone; another one for all, those that are bound to it included. A flat one is a page of files, or a folder.
    """
    named: list[str] = []
    names: set[str] = set()
    found: dict[str, Any] = {}
    stated = _checked(table.get("index", []), list, path, "index", "an array of tables")
    for number, index in enumerate(stated, 1):
        if not isinstance(index, dict) or not isinstance(index.get("url"), str):
            raise UsageError(message=f"{path}: each tool.uv.index has a url")
        name, form = index.get("name", f"index-{number}"), index.get("format", "simple")
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise UsageError(message=f"{path}: {name!r} is no name of a tool.uv.index")
        if name in names:  # the first one of a name counts
            continue
        names.add(name)
        if form not in ("simple", "flat"):
            raise UsageError(message=f"{path}: the format of a tool.uv.index is simple or flat, not {form!r}")
        is_explicit, is_default = index.get("explicit") is True, index.get("default") is True
        if form == "flat" and not is_explicit:
            found["find_links"] = [*found.get("find_links", links), index["url"]]
        if is_default and not is_explicit:
            found.setdefault("index_url", index["url"])
        kind = "explicit" if is_explicit or is_default or form == "flat" else "shared"
        named.append(f"{name}:{kind}{'-flat' * (form == 'flat')}={index['url']}")
    return {**found, **({"index": named} if named else {})}


def _moment(value: Any) -> Any:
    """Return a date as text: TOML has a type for it, and strings do, too."""
    return value.isoformat() if isinstance(value, date) else value


def _checked(value: Any, kind: type[_Kind], path: str, key: str, form: str) -> _Kind:
    if not isinstance(value, kind):
        raise UsageError(message=f"{path}: tool.uv.{key} is {form}")
    return value


def _texts(value: Any, path: str, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(message=f"{path}: tool.uv.{key} is a list of strings")
    return value


def _sources_of(table: Mapping[str, Any], path: str, environment: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Return the source of each project; of several, the one whose marker is true in *environment*, if there is one."""
    stated = _checked(table.get("sources", {}), dict, path, "sources", "a table")
    without = set(map(canonicalize_name, _texts(table.get("no-sources-package", []), path, "no-sources-package")))
    if table.get("no-sources") is True:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, sources in stated.items():
        listed = sources if isinstance(sources, list) else [sources]
        if not all(isinstance(each, dict) for each in listed):
            raise UsageError(message=f"{path}: tool.uv.sources.{name} is a table, or a list of them")
        for source in listed:
            for key, value in source.items():
                if key in _OF_SOURCES and not isinstance(value, str):
                    raise UsageError(message=f"{path}: tool.uv.sources.{name}.{key} is a string")
            if "extra" in source or "group" in source:  # a script has neither
                continue
            if canonicalize_name(name) in without:
                continue
            if "marker" not in source or applies(parse_requirement(f"x; {source['marker']}"), environment):
                found[canonicalize_name(name)] = source
                break
    return found


def _bound(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    bound = [f"{project}={source['index']}" for project, source in sources.items() if "index" in source]
    return {"project_index": bound} if bound else {}


def _placed(text: str, sources: Mapping[str, Mapping[str, Any]], path: str) -> str:
    """Return a dependency as a direct reference where tool.uv.sources says where it is."""
    requirement = parse_requirement(text)
    source = sources.get(project_of(requirement), {})
    if not source or "index" in source:
        return text
    folder = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
    if "url" in source:
        place = source["url"] + (folder if "#" not in source["url"] else f"&{folder[1:]}" if folder else "")
    elif "git" in source:
        revision = next((source[key] for key in ("rev", "tag", "branch") if key in source), "")
        place = f"git+{source['git'].removeprefix('git+')}" + (f"@{revision}" if revision else "") + folder
    elif "path" in source:
        if "://" in path:
            what = f"{path}: the source of {requirement.name} is a path, and the script is none on this machine"
            raise UsageError(message=what, way_out="Give a url.")
        place = os.path.normpath(os.path.join(os.path.dirname(path), source["path"])).replace(os.sep, "/")
        place = f"file://{'' if place.startswith('/') else '/'}{quote(place)}"
    else:
        way = "It may be an index, url, git or path."
        raise UsageError(message=f"{path}: the source of {requirement.name} is none we know", way_out=way)
    requirement.url, requirement.specifier = place, SpecifierSet()  # one place has one version
    return str(requirement)
