"""The verbs. Importing this module loads the warm path alone; the rest is loaded when a request takes the cold way."""

import builtins
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike
    from types import ModuleType
    from typing import Any, Unpack

    from remote_wheel.api.environments import Environment
    from remote_wheel.api.handle import Mount
    from remote_wheel.api.options import Options
    from remote_wheel.mounts.finder import Root


from remote_wheel.mounts import boot, registry
from remote_wheel.mounts.boot import cache_folder
from remote_wheel.mounts.image import DamagedImage
from remote_wheel.mounts.registry import import_from, import_module

fork_helper: "Callable[[str], Any] | None" = None  # of a command, as long as nothing but us runs in its process
_TEXT, _FLAG, _AUTO, _LIST, _NUMBER = "a string", "a bool", "'auto'", "a sequence of strings", "a number"
OPTION_KINDS = {  # each option's forms, the first that it is told by
    **dict.fromkeys(("index_url", "index_strategy", "client_cert", "verify"), (_TEXT,)),
    **dict.fromkeys(("frozen", "no_cache", "no_index", "refresh", "prefer_installed", "require_hashes"), (_FLAG,)),
    "offline": (_FLAG, _AUTO),
    **dict.fromkeys(("extra_index_urls", "index", "project_index", "find_links"), (_LIST,)),
    **dict.fromkeys(("constraints", "overrides", "allow_insecure", "unpack", "in_memory"), (_LIST,)),
    **dict.fromkeys(("allowed_hosts", "allowed_indexes", "allow_shadow"), (_LIST,)),
    "timeout_s": (_NUMBER, _TEXT),
    "pre": (_FLAG, _LIST),
    "exclude_newer": (_TEXT, _LIST),
}
_MOST_LOADED = 16  # projects that are loaded in other versions and that a plan is made to keep, one after the other
__all__ = ["cache_folder", "environment", "explain", "mount", "require"]


def require(
    *requirements: str,
    module: "str | None" = None,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Any":
    """Mount what *requirements* (PEP 508) need and return the imported module; for several, a tuple of modules.

    What mount() takes (a URL, a path, a repository) may stand among them. *module* names the module of a single
    requirement where its project's name doesn't (scikit-learn: sklearn).
    *options* (index_url, offline, refresh, …; docs/reference/api.md has them all) override the environment
    variables REMOTE_WHEEL_… of the same name. The mounts last as long as the process.

    Raises RemoteWheelError: ResolutionError, FetchError, VerificationError, MountError, NotCached and others of
    remote_wheel.errors; and whatever the imported module itself raises.
    """
    check_requirements(requirements, module)
    for requirement in requirements:
        if requirement.startswith("-r "):
            from remote_wheel.errors import UsageError

            what = f"require() gives modules, and {requirement!r} is a file of requirements"
            raise UsageError(message=what, way_out="resolve() takes it, and the plan's mount().")
    record, _ = boot_record("require", requirements, options, cache_dir, hints=lambda: [module] if module else [])
    modules = []
    for requirement, subject in zip(requirements, record["subjects"], strict=True):
        modules.append(_import_planned(module or only(subject["choices"], requirement), subject, record))
    return modules[0] if len(modules) == 1 else tuple(modules)


def mount(
    source: "str | PathLike[str]",
    *,
    sha256: "str | None" = None,
    deps: bool = True,
    subdirectory: "str | None" = None,
    name: "str | None" = None,
    hostkey: "str | None" = None,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Mount":
    """Mount the wheel, source archive, repository or ``.py`` module at *source*, with the dependencies it declares.

    *source* is a path, a URL (https, s3, sftp, …) or ``github:owner/name@ref``; docs/how-to has a page for each.
    *sha256* (or ``#sha256=…`` in the URL) is enforced before anything is used. ``deps=False`` mounts it alone.
    *subdirectory* is the folder of a source archive that the project is in, *name* what a single module is to be
    called, *hostkey* the fingerprint (``SHA256:…``) that an SSH server's key must have. Raises RemoteWheelError as
    require does, and MustBeBuilt for a source tree that is not usable as it is.
    """
    from os import fspath

    from remote_wheel.api.handle import Mount

    own = {
        "sha256": sha256,
        "deps": None if deps else False,
        "subdirectory": subdirectory,
        "name": name,
        "hostkey": hostkey,
    }
    record, roots = boot_record("mount", (fspath(source),), options, cache_dir, own=own)
    return Mount(roots, record["subjects"][0]["choices"])


def environment(
    *requirements: str,
    lock: "str | PathLike[str] | None" = None,
    extras: "Sequence[str]" = (),
    groups: "Sequence[str] | None" = None,
    isolated: bool = False,
    cache_dir: "str | PathLike[str] | None" = None,
    **options: "Unpack[Options]",
) -> "Environment":
    """Return an environment of *requirements*, of a *lock* file (PEP 751), or of both, to be entered with ``with``.

    *extras* and *groups* are the lock's, as load_lock takes them. An *isolated* one is seen by its own code alone, and
    through its import_module(): two versions of a project can be in use at once. Nothing is resolved before it is
    entered, or its plan asked for. Raises UsageError where it is of nothing.
    """
    from remote_wheel.api.environments import Environment

    if requirements:
        check_requirements(requirements, None)
    extras = _listed("extras", extras)
    groups = None if groups is None else _listed("groups", groups)
    if lock is not None and not _is_text(lock):
        raise TypeError(f"lock is the path of a lock file, not {lock!r}")
    return Environment(requirements, lock, extras, groups, cache_dir, checked(options), isolated=isolated)


def lock_subjects(
    path: "str | PathLike[str]", extras: "Sequence[str]" = (), groups: "Sequence[str] | None" = None
) -> "tuple[str, str, str, str, str]":
    """Return the subjects of a request about a lock file: text, name, folder, extras, groups (by comma, - for default).

    Raises InvalidLock.
    """
    from os import fspath
    from os.path import dirname

    extras = _listed("extras", extras)
    groups = None if groups is None else _listed("groups", groups)
    name = fspath(path)
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        from remote_wheel.errors import InvalidLock

        raise InvalidLock(lock=name, reason=getattr(error, "strerror", None) or "it is no UTF-8 text") from error
    return text, name, dirname(boot.absolute(name)), ",".join(extras), "-" if groups is None else ",".join(groups)


def explain(module: "ModuleType | str") -> str:
    """Say where an imported module came from: distribution, source, hash, in memory or unpacked and why."""
    if not isinstance(module, (str, type(sys))):
        raise TypeError(f"a module or its name, not {module!r}")
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
        *([f"  commit  {facts['commit']}"] if facts.get("commit") else []),
        f"  sha256  {facts['sha256']}",
        *([f"  index   {facts['index']}"] if facts.get("index") else []),
        *(f"  wanted  {text} by {who}" for who, text in facts.get("wanted_by", ())),
        *([f"  ignored {', '.join(facts['ignored'])}"] if facts.get("ignored") else []),
        f"  mount   {root.path}",
        f"  {where}",
    ]
    return "\n".join(lines)


def boot_record(
    action: str,
    subjects: "Sequence[str]",
    options: "Mapping[str, Any]",
    cache_dir: "str | PathLike[str] | None" = None,
    *,
    own: "Mapping[str, Any] | None" = None,
    tell: "Callable[[Sequence[str]], None] | None" = None,
    mount: "Callable[[Sequence[dict[str, Any]]], list[Root]]" = registry.add,
    keeps_mounted: bool = True,
    hints: "Callable[[], Sequence[str]]" = list,
) -> "tuple[dict[str, Any], list[Root]]":
    """Find or make the boot record of a request and *mount* what it says. *tell* gets the notes of a new plan.

    *own* are options of the verb alone. Where it *keeps_mounted*, versions that this process has mounted are preferred.
    *hints* gives names among which are those of the modules that will be imported first.
    """
    cache, options = cache_folder(cache_dir), {**(own or {}), **checked(options)}
    preferred = _preferred() if keeps_mounted else []
    request = _Asked(action, subjects, options, cache, hints, tell or _warn, mount)
    refused: "Exception | None" = None
    for _ in range(_MOST_LOADED):
        try:
            return _found_or_made(request, preferred)
        except Exception as error:
            if type(error).__name__ != "AlreadyImported":  # errors are not loaded before there is one
                from remote_wheel.errors import ResolutionError

                if refused is not None and isinstance(error, ResolutionError):
                    raise refused from error  # nothing fits what is loaded
                raise
            refused = error
            kept = (str(vars(error)["project"]), str(vars(error)["loaded"]))
            if not keeps_mounted or not all(kept) or kept in preferred:
                raise
            preferred = sorted((*preferred, kept))  # another version of it is loaded: a plan that keeps that one may do
    assert refused is not None  # a programming error: the loop ended without an answer
    raise refused


class _Asked:
    """What boot_record was asked for, and how."""

    __slots__ = ("action", "cache", "hints", "mount", "options", "subjects", "tell")

    def __init__(
        self,
        action: str,
        subjects: "Sequence[str]",
        options: "Mapping[str, Any]",
        cache: str,
        hints: "Callable[[], Sequence[str]]",
        tell: "Callable[[Sequence[str]], None]",
        mount: "Callable[[Sequence[dict[str, Any]]], list[Root]]",
    ) -> None:
        self.action, self.subjects, self.options, self.cache = action, subjects, options, cache
        self.hints, self.tell, self.mount = hints, tell, mount

    def mounted(self, record: "Mapping[str, Any]") -> "list[Root]":
        """Return the roots of what a *record* says, mounted."""
        if self.mount is registry.add and self.action == "require":
            registry.check_not_mounted(record["mounts"])
        return self.mount(record["mounts"])


def _found_or_made(asked: _Asked, preferred: "list[tuple[str, str]]") -> "tuple[dict[str, Any], list[Root]]":
    """Find or make the record of a request in which versions of *preferred* are kept, and mount what it says."""
    action, subjects, options, cache = asked.action, asked.subjects, asked.options, asked.cache
    path = search_path()
    keys = [boot.record_key(action, subjects, options, cache=cache, path=path)]
    if preferred:  # a plan that keeps what is mounted has a record of its own
        keys.append(boot.record_key(action, subjects, options, cache=cache, path=path, preferred=preferred))
    is_damaged = False
    if not boot.is_on("refresh", options) and not boot.is_on("no_cache", options):
        is_offline = boot.is_on("offline", options)
        for key in keys:
            record = boot.read_record(boot.record_path(cache, key), is_offline=is_offline, now_s=time.time())
            if record is not None and _fits(record, preferred):
                try:
                    return record, asked.mounted(record)
                except DamagedImage:
                    is_damaged = True
    from remote_wheel.api.cold import ask

    request = {**request_of(action, subjects, options, cache, keys[-1], preferred), "may_be_lean": True}
    request["hints"] = list(asked.hints())
    for is_rebuilt in (is_damaged, True):
        answer = ask({**request, "rebuild": is_rebuilt})
        record = record_of(answer, boot.record_path(cache, keys[-1]))
        if record is None:
            continue
        asked.tell(answer["plan"]["notes"])  # it may raise, and nothing is mounted yet
        try:
            return record, asked.mounted(record)
        except DamagedImage:
            continue
    from remote_wheel.errors import StoreError

    raise StoreError(path=cache, reason="what is written there does not read back")


def record_of(answer: "Mapping[str, Any]", path: str) -> "dict[str, Any] | None":
    """Return the record that was made: from its *path*, or from the *answer* where nothing is kept, with its images."""
    blobs = answer.get("blobs")
    if not blobs:
        return boot.read_record(path)
    record = boot.load_record(blobs["record"])
    for entry in record["mounts"] if record else ():
        if entry["image"] in blobs:
            entry["data"] = memoryview(blobs[entry["image"]])
    return record


def only(choices: "Sequence[str]", requirement: str) -> str:
    """Return the one choice; raise AmbiguousModule where there is none, or more."""
    if len(choices) == 1:
        return choices[0]
    from remote_wheel.errors import AmbiguousModule

    raise AmbiguousModule(requirement=requirement, modules=tuple(choices))


def _import_planned(name: str, subject: "Mapping[str, Any]", record: "Mapping[str, Any]") -> "ModuleType":
    """Import module *name* and make sure that it is the distribution the plan has for *subject*."""
    for entry in record["mounts"]:
        if entry["name"] == subject["name"]:
            (root,) = registry.opened([entry])
            return import_from(name, root)
    module = import_module(name)
    mounted = registry.root_of(module)
    if mounted is not None and mounted.facts["version"] != subject["version"]:
        from remote_wheel.errors import AlreadyImported

        raise AlreadyImported(
            module=name,
            project=subject["name"],
            wanted=f"{subject['version']} (installed)",
            loaded=mounted.facts["version"],
            loaded_from=f"{mounted.facts['source']} (mounted)",
        )
    return module


def _warn(notes: "Sequence[str]") -> None:
    """Warn of what is odd about a new plan, at the line outside of this library that asked for it."""
    if not notes:
        return
    import warnings

    from remote_wheel.errors.visible import visible

    depth, frame = 2, sys._getframe(1)  # noqa: SLF001  # skip_file_prefixes came with 3.12
    here = __file__.rpartition("api")[0]
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        depth, frame = depth + 1, frame.f_back
    for note in notes:
        warnings.warn(visible(note), stacklevel=depth)


def request_of(
    action: str,
    subjects: "Sequence[str]",
    options: "Mapping[str, Any]",
    cache: str,
    key: str = "",
    preferred: "Sequence[tuple[str, str]] | None" = None,
) -> "dict[str, Any]":
    """Return the fields of a request.Request, but for the optimisation level, which cold.ask adds."""
    return {
        "action": action,
        "subjects": list(subjects),
        "options": {name: value for name, value in options.items() if value is not None},
        "cache": cache,
        "key": key,
        "preferred": _preferred() if preferred is None else preferred,
        "search_path": search_path(),
    }


def bound_by(record: "Mapping[str, Any]", options: "Mapping[str, Any]") -> "dict[str, Any]":
    """Return *options* with the versions of a record as constraints: what is added to a lock keeps to it."""
    locked = [f"{entry['name']}=={entry['version']}" for entry in record["mounts"] if entry["name"]]
    return {**options, "constraints": [*(options.get("constraints") or ()), *locked]}


def search_path() -> "list[str]":
    roots = {root.path for root in registry.mounted()}
    return [entry for entry in boot.search_path() if entry not in roots]


def _preferred() -> "list[tuple[str, str]]":
    """Return (name, version) of what is mounted; of two versions, the one that imports find."""
    mounted = {root.facts["name"]: root.facts["version"] for root in reversed(registry.mounted())}
    return sorted((name, version) for name, version in mounted.items() if name)


def _fits(record: "Mapping[str, Any]", preferred: "Sequence[tuple[str, str]]") -> bool:
    """Whether a record mounts no other version of what is mounted."""
    mounted = dict(preferred)
    return all(mounted.get(entry["name"], entry["version"]) == entry["version"] for entry in record["mounts"])


def check_requirements(requirements: "Sequence[str]", module: "str | None") -> None:
    for requirement in requirements:
        if not isinstance(requirement, str):
            raise TypeError(f"a requirement is a string, not {type(requirement).__name__}")
    if not requirements or (module and len(requirements) > 1):
        from remote_wheel.errors import UsageError

        what = "module= goes with exactly one requirement" if requirements else "no requirement given"
        raise UsageError(message=what, way_out="As in require('flask>=3').")


def checked(options: "Mapping[str, Any]") -> "dict[str, Any]":
    """Return the options that are given, as JSON values; raise TypeError for one that does not exist."""
    given = {}
    for name, value in options.items():
        if name not in OPTION_KINDS:
            raise TypeError(f"unexpected option {name!r}; options are {', '.join(OPTION_KINDS)}")
        if value is not None:
            value = _once(value)
            if not any(_has_form(value, form) for form in OPTION_KINDS[name]):
                raise TypeError(f"{name} is {' or '.join(OPTION_KINDS[name])}, not {value!r}")
            given[name] = _as_json(value)
    return given


def _listed(name: str, value: "Any") -> "list[str]":
    """Return a list of strings that was given as *name*, read once. Raises TypeError for anything else."""
    found = _once(value)
    if not _has_form(found, _LIST):
        raise TypeError(f"{name} is {_LIST}, not {value!r}")
    return [_as_json(item) for item in found]


def _once(value: "Any") -> "Any":
    """Return what can be read only once (an iterator, a generator) as a list: a second look would find it empty."""
    return list(value) if hasattr(value, "__next__") else value


def _has_form(value: "Any", form: str) -> bool:
    if form == _LIST:  # a mapping's keys are not what somebody means by it
        is_other = isinstance(value, (str, bytes, bytearray, bool)) or hasattr(value, "keys")
        return not is_other and _is_list_of_text(value)
    if form == _NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if form == _AUTO:
        return bool(value == "auto")
    return _is_text(value) if form == _TEXT else isinstance(value, bool)


def _is_list_of_text(value: "Any") -> bool:
    try:
        return all(_is_text(item) for item in value)
    except TypeError:
        return False


def _is_text(value: "Any") -> bool:
    return isinstance(value, str) or hasattr(value, "__fspath__")


def _as_json(value: "Any") -> "Any":
    if isinstance(value, (str, bool, int, float)):
        return value
    return value.__fspath__() if hasattr(value, "__fspath__") else [_as_json(item) for item in value]


class _Names(dict):  # type: ignore[type-arg]  # it takes the place of a module's builtins
    """The built-in names, and those in annotations of the verbs, which are much to import, when they are evaluated."""

    def __missing__(self, name: str) -> "Any":
        from remote_wheel.api.options import names_in_annotations

        return names_in_annotations()[name]


# What evaluates an annotation (typing.get_type_hints) looks here for what this module has not. Functions that are
# defined above have the usual ones.
annotation_names = _Names(vars(builtins))
globals()["__builtins__"] = annotation_names
