"""Settings and limits: frozen values with the unit in each name, and the one function that merges their sources."""

import configparser
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from remote_wheel.errors import UsageError
from remote_wheel.toml import load_toml

VERSION: Final = "0.1.0"  # of this library
_KIB, _MIB = 1024, 1024 * 1024


class Limits(NamedTuple):
    """Bounds on everything that is read from elsewhere; the precedent for each number stands beside it."""

    page_bytes: int = 256 * _MIB  # the largest JSON project pages in the wild are near 60 MB
    metadata_bytes: int = 16 * _MIB  # a METADATA embeds the README; the largest seen is under 2 MB
    download_bytes: int = 4096 * _MIB  # CUDA builds of torch are near 3 GB
    unpacked_bytes: int = 16 * 1024 * _MIB  # what those unpack to, doubled
    member_bytes: int = 4096 * _MIB  # one shared library of such a build is over 1 GB
    members: int = 200_000  # the fullest real wheels hold some 50,000 files
    plan_bytes: int = 32 * 1024 * _MIB  # what all archives of a plan unpack to: twice what one may
    source_bytes: int = 1024 * _MIB  # a source tar, inflated; the largest sdists of pure projects are near 200 MB
    ratio: int = 1032  # DEFLATE can't do better than 1032:1 (RFC 1951), so more is a lie about sizes
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0  # between two packets; pip waits 15 s, uv 30 s
    patience_s: float = 60.0  # for one request, before and beside what its bytes may take: a server may drip
    least_bytes_s: int = 16 * _KIB  # at this rate at least; the slowest mobile networks have twice that
    retries: int = 3  # as uv
    redirects: int = 10
    parallel_requests: int = 16  # uv opens 50, pip 1; more than 16 gained nothing on a 50 Mbit link
    resolver_rounds: int = 200_000  # nab-resolver's own default
    resolver_cpu_s: float = 10.0  # of computing, not of waiting; the hardest real resolutions seen take 3


class Settings(NamedTuple):
    """How one request is carried out. Field names are the options' names, everywhere."""

    index_url: str
    extra_index_urls: tuple[str, ...] = ()
    index: tuple[str, ...] = ()  # type: ignore[assignment]  # NAME=URL; nobody looks for a value's place in it
    project_index: tuple[str, ...] = ()  # PROJECT=NAME: the only index that it comes from
    index_strategy: str = "first-index"
    find_links: tuple[str, ...] = ()  # folders, pages and files that hold distributions, without an index's structure
    no_index: bool = False
    offline: bool = False
    goes_offline: bool = False  # offline="auto": when the network is down
    frozen: bool = False  # refuse what nothing says the content of
    refresh: bool = False
    no_cache: bool = False  # read and write nothing; what is made is kept in this process
    pre: bool | tuple[str, ...] = False  # of every project, or of those named
    prefer_installed: bool = True
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    exclude_newer: tuple[str, ...] = ()  # as spec.cutoff reads them
    allow_insecure: tuple[str, ...] = ()  # HOST or HOST:PORT: plain http, and certificates nobody vouches for, will do
    client_cert: str = ""  # a PEM file with certificate and key, shown to https servers that ask
    unpack: tuple[str, ...] = ()  # normalised project names, or ":all:" as pip spells it
    in_memory: tuple[str, ...] = ()
    verify: str = "full"  # or "names": what RECORD says of a wheel's files is told where it is wrong, not refused
    require_hashes: bool = False  # that you or a lock state; what an index states is not one
    allowed_hosts: tuple[str, ...] = ()  # HOST, HOST:PORT or *.DOMAIN: nothing else is asked; none: every host
    allowed_indexes: tuple[str, ...] = ()  # URLs that indexes must begin with; none: every index
    allow_shadow: tuple[str, ...] = ()  # modules that a wheel may have though they are another's, or Python's own
    timeout_s: float = 0.0  # how long a server may say nothing; 0: limits.read_timeout_s
    max_cache_size: str = "10GB"  # what the cache is cut down to behind a command, the least recently used first
    freshness_s: float = 600.0  # for index pages without a Cache-Control of their own
    limits: Limits = Limits()
    origins: Mapping[str, str] = MappingProxyType({})  # by option: where it was set


_MERGED = tuple(name for name in Settings._fields if name not in ("limits", "goes_offline", "origins"))
_LISTS = tuple(name for name, kind in Settings.__annotations__.items() if kind == tuple[str, ...])
_TEXTS = ("index_url", "index_strategy", "client_cert", "verify", "max_cache_size")
_SECONDS = ("freshness_s", "timeout_s")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "index_strategy": ("first-index", "unsafe-best-match"),
    "offline": (True, False, "auto"),
    "verify": ("full", "names"),
}
# What a warm start has to know before any file is read.
_NOT_IN_FILES = ("offline", "refresh", "no_cache", "max_cache_size")
_POLICY = (
    "allow_insecure",
    "allow_shadow",
    "allowed_hosts",
    "allowed_indexes",
    "exclude_newer",
    "frozen",
    "require_hashes",
    "verify",
)
_TABLE = "remote-wheel"
_TRUE, _FALSE = frozenset(("1", "true", "yes", "on")), frozenset(("0", "false", "no", "off", ""))


def merge_settings(
    arguments: Mapping[str, Any], environ: Mapping[str, str], files: Mapping[str, tuple[Any, str]] | None = None
) -> Settings:
    """Merge *arguments* (by option name; None means not given) over the environment over *files* over the defaults.

    *files* are what read_config returned. Raises UsageError for an unknown option or a value of the wrong form.
    """
    unknown = sorted(set(arguments) - set(_MERGED))
    if unknown:
        raise UsageError(message=f"unknown option {unknown[0]!r}", way_out=f"Options are: {', '.join(_MERGED)}.")
    asked = [name for name in ("index_url", "extra_index_urls", "index") if arguments.get(name)]
    if arguments.get("no_index") and asked:
        raise UsageError(message=f"no_index and {asked[0]} contradict each other", way_out="Leave one of them out.")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name in _MERGED:
        given, origin = arguments.get(name), "the call"
        if given is None:
            given, origin = _from_environment(name, environ), f"REMOTE_WHEEL_{name.upper()}"
        if given is None and files and name in files:
            given, origin = files[name]
        if given is not None:
            values[name], origins[name] = _as_value(name, given), origin
    if values.get("timeout_s"):
        values["limits"] = _limits_within(values["timeout_s"])
    if values.get("offline") == "auto":
        values |= {"offline": False, "goes_offline": True}
    if "index_url" not in values:
        values["index_url"] = "" if values.get("no_index") else find_default_index(environ)
    return Settings(**values, origins=origins)


def _limits_within(timeout_s: float) -> Limits:
    usual = Limits()
    return Limits(read_timeout_s=timeout_s, connect_timeout_s=min(timeout_s, usual.connect_timeout_s))


def read_config(paths: Iterable[str]) -> dict[str, tuple[Any, str]]:
    """Read settings files, weakest first; return by option its value and the file it stands in.

    A ``pyproject.toml`` has them in its table ``tool.remote-wheel``, another file at its top; names may have dashes.
    Relative paths are relative to the file. Raises UsageError.
    """
    found: dict[str, tuple[Any, str]] = {}
    for path in paths:
        is_project = os.path.basename(path) == "pyproject.toml"
        try:
            with open(path, "rb") as file:
                data = file.read()
            if is_project and _TABLE.encode() not in data:
                continue
            table = load_toml(data.decode())
        except (OSError, ValueError) as error:  # no TOML, and text that is no UTF-8
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(message=f"{path} can't be read: {reason}") from error
        if is_project:
            table = table.get("tool", {}).get(_TABLE, {})
        options = options_of_table(table, path)
        # What the user's own file says of what may be at all, no project's file says otherwise.
        found |= {name: (value, path) for name, value in options.items() if name not in _POLICY or name not in found}
    return found


def notes_of_foreign(files: Iterable[tuple[str, str]]) -> list[str]:
    """Return what to tell of settings files that do not count, given as (path, reason); of those with a setting."""
    notes = []
    for path, reason in files:
        try:
            with open(path, "rb") as file:
                has_any = os.path.basename(path) != "pyproject.toml" or _TABLE.encode() in file.read()
        except OSError:
            continue
        if has_any:
            notes.append(f"settings in {path} are not used: {reason}; REMOTE_WHEEL_CONFIG_FILE names it all the same")
    return notes


def overlaid(
    config: Mapping[str, tuple[Any, str]], options: Mapping[str, tuple[Any, str]]
) -> dict[str, tuple[Any, str]]:
    """Return *config* with a script's *options*, which count but for what may be at all, where a file says that."""
    return {**config, **{name: each for name, each in options.items() if name not in _POLICY or name not in config}}


def options_of_table(table: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the options of a table of the file at *path*, in the forms that arguments have. Raises UsageError."""
    found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in _MERGED or name in _NOT_IN_FILES:
            way = f"Options of files are: {', '.join(each for each in _MERGED if each not in _NOT_IN_FILES)}."
            raise UsageError(message=f"{path}: unknown option {key!r}", way_out=way)
        found[name] = _of_file(name, value, path)
    return found


def _of_file(name: str, value: Any, path: str) -> Any:
    """Return the value of a settings file, in the form that an argument has. Raises UsageError."""
    if name in _SECONDS:
        is_right = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif name in _TEXTS:
        is_right = isinstance(value, str)
    elif name in _LISTS or (name == "pre" and isinstance(value, list)):
        value = [value] if name == "exclude_newer" and isinstance(value, str) else value
        is_right = isinstance(value, list) and all(isinstance(each, str) for each in value)
    else:
        is_right = isinstance(value, bool)
    if not is_right:
        raise UsageError(message=f"{path}: {name} can't be {value!r}", way_out="docs/reference/api.md has its form.")
    folder = os.path.dirname(os.path.abspath(path))

    def beside(text: str) -> str:
        may_be_path = name in ("index_url", "client_cert", "find_links") or text.endswith((".txt", ".in"))
        return os.path.join(folder, text) if may_be_path and "://" not in text and text[:5] != "file:" else text

    if name in ("index_url", "client_cert"):
        return beside(value)
    return [beside(each) for each in value] if name in ("find_links", "constraints", "overrides") else value


def _as_value(name: str, given: Any) -> Any:
    choices = _CHOICES.get(name)
    if choices and given not in choices:
        raise UsageError(
            message=f"{name}={given!r} is not known", way_out=f"It is one of {', '.join(map(str, choices))}."
        )
    if name == "exclude_newer" and isinstance(given, str):
        return (given,)
    if name in _SECONDS:
        try:
            seconds = float(given)
        except ValueError:
            raise UsageError(message=f"{name}={given!r} is not a number of seconds") from None
        if seconds < 0:
            raise UsageError(message=f"{name}={given!r} is less than nothing")
        return seconds
    is_list = name in _LISTS or (name == "pre" and not isinstance(given, bool))
    return tuple(given) if is_list else given


def _from_environment(name: str, environ: Mapping[str, str]) -> Any:
    variable = f"REMOTE_WHEEL_{name.upper()}"
    text = environ.get(variable)
    if text is None or (not text and name in (*_TEXTS, *_LISTS)):  # empty is unset, as other tools read it
        return None
    if name in _TEXTS:
        return text
    if name in _LISTS:
        return tuple(text.split())
    if name in _SECONDS:
        try:
            return float(text)
        except ValueError:
            raise UsageError(message=f"{variable}={text!r} is not a number of seconds") from None
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    if name == "pre":
        return tuple(text.split())
    if name == "offline" and text.lower() == "auto":
        return "auto"
    raise UsageError(message=f"{variable}={text!r} is neither true nor false", way_out="Use 1 or 0.")


def find_default_index(environ: Mapping[str, str]) -> str:
    """Find the index that this machine's other tools use: uv's setting, pip's, pip's files, pip's built-in."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if url := environ.get(variable):
            return url
    for path in reversed(tuple(pip_config_files(environ))):
        if url := _read_pip_index_url(path):
            return url
    try:
        from pip._internal.models.index import PyPI  # no public name exists; held by tests/test_settings.py
    except ImportError as error:
        way = "Name one: index_url= (--index-url), REMOTE_WHEEL_INDEX_URL, or index-url in pip.conf."
        raise UsageError(
            message="no index is named, and there is no pip here whose default could be used", way_out=way
        ) from error
    return str(PyPI.simple_url)


def pip_config_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield pip's configuration files, weakest first, as https://pip.pypa.io documents their precedence."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # pip's own way to switch all of them off
        return
    try:
        home = Path.home()
    except RuntimeError:  # a user without one
        home = Path(os.devnull)  # in which nothing is
    if sys.platform == "win32":
        yield Path(environ.get("PROGRAMDATA", "C:/ProgramData"), "pip", "pip.ini")
        yield Path(environ.get("APPDATA", home), "pip", "pip.ini")
    else:
        for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep):
            yield Path(folder, "pip", "pip.conf")
        yield Path("/etc/pip.conf")
        yield home / ".pip" / "pip.conf"
        yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    yield Path(sys.prefix, "pip.ini" if sys.platform == "win32" else "pip.conf")
    if named:
        yield Path(named)


def _read_pip_index_url(path: Path) -> str | None:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return None  # pip's file, pip's problem: it is not there, or pip itself complains about it
    for section in ("install", "global"):
        for key in ("index-url", "index_url"):
            if parser.has_option(section, key):
                return parser.get(section, key).strip() or None
    return None
