"""The verbs. Importing this module loads the warm path alone; the rest is loaded when a request takes the cold way."""

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.metadata import Distribution
    from os import PathLike
    from types import ModuleType, TracebackType
    from typing import Any, TypedDict, Unpack

    from remote_wheel.mounts.finder import Root
    from remote_wheel.resolution.plan import Plan

    class Options(TypedDict, total=False):
        """The options every verb takes; docs/reference/api.md has the table."""

        index_url: str | None
        extra_index_urls: Sequence[str] | None
        offline: bool | None
        refresh: bool | None
        pre: bool | None
        prefer_installed: bool | None
        unpack: Sequence[str] | None
        in_memory: Sequence[str] | None


from remote_wheel.mounts import boot, registry
from remote_wheel.mounts.boot import cache_folder
from remote_wheel.mounts.image import DamagedImage

OPTION_NAMES = (
    "index_url", "extra_index_urls", "offline", "refresh", "pre", "prefer_installed", "unpack", "in_memory",
)  # fmt: skip
_LISTS = ("extra_index_urls", "unpack", "in_memory")
__all__ = ["Mount", "cache_folder", "explain", "mount", "prefetch", "require", "resolve"]


def require(
    *requirements: str,
    module: "str | None" = None,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Any":
    """Mount what *requirements* (PEP 508) need and return the imported module; for several, a tuple of modules.

    *module* names the module of a single requirement where its project's name doesn't (scikit-learn: sklearn).
    *options* (index_url, offline, refresh, …; docs/reference/api.md has them all) override the environment
    variables REMOTE_WHEEL_… of the same name. The mounts last as long as the process.

    Raises RemoteWheelError: ResolutionError, FetchError, VerificationError, MountError, NotCached and others of
    remote_wheel.errors; and whatever the imported module itself raises.
    """
    _check_requirements(requirements, module)
    record, _ = _boot("require", requirements, _checked(options), cache_dir)
    modules = []
    for requirement, (_, choices) in zip(requirements, record["subjects"], strict=True):
        modules.append(import_module(module or _only(choices, requirement)))
    return modules[0] if len(modules) == 1 else tuple(modules)


def mount(
    source: "str | PathLike[str]",
    *,
    sha256: "str | None" = None,
    deps: bool = True,
    subdirectory: "str | None" = None,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Mount":
    """Mount the wheel, source zip or ``.py`` module at *source*, a URL or a path, with the dependencies it declares.

    *sha256* (or ``#sha256=…`` in the URL) is enforced before anything is used. ``deps=False`` mounts it alone.
    *subdirectory* is the folder of a source zip that the project is in. Raises RemoteWheelError as require does.
    """
    from os import fspath

    own = {
        "sha256": sha256,
        "deps": None if deps else False,
        "subdirectory": subdirectory,
    }
    record, roots = _boot("mount", (fspath(source),), {**own, **_checked(options)}, cache_dir)
    return Mount(roots, record["subjects"][0][1])


def resolve(
    *requirements: str,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Plan":
    """Find the plan for *requirements* without fetching wheels or mounting anything. Raises as require does."""
    from remote_wheel.api.cold import ask
    from remote_wheel.resolution.plan import plan_from_json

    _check_requirements(requirements, None)
    request = _request("resolve", requirements, _checked(options), cache_folder(cache_dir), "")
    return plan_from_json(ask(request)["plan"])


def prefetch(
    *requirements: str,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Plan":
    """Fill the store with all that ``require(*requirements)`` needs, mount nothing, and return the plan."""
    from remote_wheel.api.cold import ask
    from remote_wheel.resolution.plan import plan_from_json

    _check_requirements(requirements, None)
    cache, given = cache_folder(cache_dir), _checked(options)
    key = boot.record_key("require", requirements, given)
    return plan_from_json(ask(_request("require", requirements, given, cache, key))["plan"])


def explain(module: "ModuleType | str") -> str:
    """Say where an imported module came from: distribution, source, hash, in memory or unpacked and why."""
    loaded = sys.modules.get(module) if isinstance(module, str) else module
    root = registry.root_of(loaded) if loaded is not None else None
    if root is None:
        name = module if isinstance(module, str) else module.__name__
        place = getattr(loaded, "__file__", None)
        return f"{name} is not from a mount ({place or 'not imported'})"
    facts = root.facts
    where = "unpacked: " + "; ".join(facts["reasons"]) if root.is_unpacked else "in memory"
    lines = [
        f"{facts['name'] or facts['filename']} {facts['version']}".rstrip(),
        f"  source  {facts['source']}",
        f"  sha256  {facts['sha256']}",
        f"  mount   {root.path}",
        f"  {where}",
    ]
    return "\n".join(lines)


class Mount:
    """A mounted distribution and what was mounted with it. A context manager that unmounts at its end."""

    def __init__(self, roots: "list[Root]", choices: "Sequence[str]") -> None:
        self._roots = roots
        self._choices = tuple(choices)

    @property
    def source(self) -> str:
        """The URL or path it came from, secrets redacted."""
        return str(self._roots[0].facts["source"])

    @property
    def sha256(self) -> str:
        """The SHA-256 of the archive or module, in hex."""
        return str(self._roots[0].facts["sha256"])

    @property
    def modules(self) -> "tuple[str, ...]":
        """The top-level modules and packages it provides, namespace packages last."""
        facts = self._roots[0].facts
        return (*facts["tops"], *facts["namespaces"])

    @property
    def distribution(self) -> "Distribution | None":
        """The distribution's metadata as importlib.metadata gives it; None for a module that has none."""
        import importlib.metadata as metadata

        root = self._roots[0]
        if not root.facts["dist_info"]:
            return None
        return next(iter(metadata.distributions(name=root.facts["name"], path=[root.path])), None)

    def import_module(self, name: "str | None" = None) -> "ModuleType":
        """Import and return module *name*, by default the one the distribution is called for."""
        return import_module(name or _only(self._choices, self.source))

    def unmount(self) -> None:
        """Undo the mount: its modules leave sys.modules, its places sys.path. A second call does nothing.

        What another mount or require uses too stays until that is gone.
        """
        roots, self._roots[1:] = list(self._roots), []
        if roots and roots[0].uses:
            registry.remove(roots)

    def __enter__(self) -> "Mount":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self.unmount()

    def __repr__(self) -> str:
        facts = self._roots[0].facts
        return f"<Mount {facts['name'] or facts['filename']} {facts['version']} of {self.source}>".replace("  ", " ")


def boot_record(
    action: str, subjects: "Sequence[str]", options: "Mapping[str, Any]", cache_dir: "str | None" = None
) -> "tuple[dict[str, Any], list[Root]]":
    """Find or make the boot record of a request and mount what it says. For the command line's `run`."""
    return _boot(action, subjects, options, cache_dir)


def import_module(name: str) -> "ModuleType":
    """Import a module by its dotted name; importlib.import_module without importlib."""
    __import__(name)
    return sys.modules[name]


def _boot(
    action: str,
    subjects: "Sequence[str]",
    options: "Mapping[str, Any]",
    cache_dir: "str | PathLike[str] | None",
) -> "tuple[dict[str, Any], list[Root]]":
    cache = cache_folder(cache_dir)
    key = boot.record_key(action, subjects, options)
    is_offline = boot.is_on("offline", options)
    record = None
    if not boot.is_on("refresh", options):
        record = boot.read_record(boot.record_path(cache, key), is_offline=is_offline, now_s=time.time())
        if record is not None and not _fits(record):
            # Another version of one of these is mounted: ask for a plan that keeps it, if there is one.
            key = boot.record_key(action, subjects, options, _preferred())
            record = boot.read_record(boot.record_path(cache, key), is_offline=is_offline, now_s=time.time())
    if record is not None:
        try:
            return record, registry.add(record["mounts"])
        except (OSError, DamagedImage):
            pass  # pruned or damaged since: make it again
    from remote_wheel.api.cold import ask
    from remote_wheel.errors import HelperFailed

    ask(_request(action, subjects, options, cache, key))
    record = boot.read_record(boot.record_path(cache, key))
    if record is None:
        raise HelperFailed(reason=f"it left no usable boot record in {cache}")
    return record, registry.add(record["mounts"])


def _request(
    action: str, subjects: "Sequence[str]", options: "Mapping[str, Any]", cache: str, key: str
) -> "dict[str, Any]":
    return {
        "action": action,
        "subjects": list(subjects),
        "options": {name: value for name, value in options.items() if value is not None},
        "cache": cache,
        "key": key,
        "preferred": _preferred(),
    }


def _preferred() -> "list[tuple[str, str]]":
    return [(root.facts["name"], root.facts["version"]) for root in registry.mounted() if root.facts["name"]]


def _fits(record: "Mapping[str, Any]") -> bool:
    mounted = dict(_preferred())
    return all(mounted.get(entry["name"], entry["version"]) == entry["version"] for entry in record["mounts"])


def _check_requirements(requirements: "Sequence[str]", module: "str | None") -> None:
    for requirement in requirements:
        if not isinstance(requirement, str):
            raise TypeError(f"a requirement is a string, not {type(requirement).__name__}")
    if not requirements or (module and len(requirements) > 1):
        from remote_wheel.errors import UsageError

        what = "module= goes with exactly one requirement" if requirements else "no requirement given"
        raise UsageError(message=what, way_out="As in require('flask>=3').")


def _only(choices: "Sequence[str]", requirement: str) -> str:
    if len(choices) == 1:
        return choices[0]
    from remote_wheel.errors import AmbiguousModule

    raise AmbiguousModule(requirement=requirement, modules=tuple(choices))


def _checked(options: "Mapping[str, Any]") -> "dict[str, Any]":
    """Return the options that are given, as JSON values; raise TypeError for one that does not exist."""
    for name in options:
        if name not in OPTION_NAMES:
            raise TypeError(f"unexpected option {name!r}; options are {', '.join(OPTION_NAMES)}")
        if name in _LISTS and isinstance(options[name], str):
            raise TypeError(f"{name} is a sequence of strings, not one string")
    given = {name: value for name, value in options.items() if value is not None}
    return {name: list(value) if name in _LISTS else value for name, value in given.items()}
