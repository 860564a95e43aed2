"""Plans as users have them, which can be mounted and written down, and the verbs that make them."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

from remote_wheel import api
from remote_wheel.api.cold import ask
from remote_wheel.api.kept import answer_of
from remote_wheel.api.options import Options
from remote_wheel.mounts import boot
from remote_wheel.resolution import plan as pure

if TYPE_CHECKING:
    from remote_wheel.api.handle import Mount


# What of a record's entry is about how it is kept, not about the distribution.
_INSIDE: Final = frozenset(
    (
        "archive",
        "data",
        "format",
        "image",
        "image_crc",
        "is_lean",
        "is_packed",
        "lock",
        "problems",
        "root",
        "tokens",
        "wanted_by",
    )
)


class Plan(pure.Plan):
    """Pins, roots first, then breadth first what they need: the exact files that satisfy the requirements."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values: requirements, pins with all their fields, notes."""
        return pure.plan_to_json(self)

    def mount(self, *, cache_dir: "str | os.PathLike[str] | None" = None, **options: Unpack[Options]) -> "Mount":
        """Fetch, verify and mount exactly these files. Raises as require does, but for ResolutionError.

        Raises UsageError for a plan of another machine (`python_version`, `platform`).
        """
        if not (_is_this_python(self.python_version) and _is_this_platform(self.platform)):
            from remote_wheel.errors import UsageError

            python = self.python_version and f"Python {self.python_version}"
            machine = " with ".join(filter(None, (self.platform, python)))
            way = "Resolve it without python_version and platform, or write a lock of it (to_pylock) for that machine."
            raise UsageError(message=f"this plan is for {machine}, and what it lacks here would be missed", way_out=way)
        record, roots = api.boot_record("plan", (self.dumped(),), options, cache_dir)
        choices = [choice for subject in record["subjects"] for choice in subject["choices"]]
        from remote_wheel.api.handle import Mount

        return Mount(roots, choices, f"the plan for {', '.join(str(pin) for pin in self.roots)}")

    def to_pylock(
        self,
        folder: "str | os.PathLike[str] | None" = None,
        *,
        cache_dir: "str | os.PathLike[str] | None" = None,
        **options: Unpack[Options],
    ) -> str:
        """Return the text of a lock file (PEP 751); local files are named relative to *folder*, by default this one.

        A wheel whose index states no SHA-256 is fetched for it. Raises UsageError where the plan has installed
        distributions, which no lock can hold.
        """
        where = boot.absolute(os.fspath(folder) if folder is not None else os.curdir)
        given = {**api.checked(options), "python_version": self.python_version, "platform": self.platform}
        request = api.request_of("plan", (self.dumped(),), given, api.cache_folder(cache_dir))
        return str(ask({**request, "lock_folder": where})["lock"])

    def alone(self) -> "Plan":
        """Return the plan of just what was asked for first."""
        pins = (replace(self.roots[0], needs=()),)
        return Plan(
            requirements=self.requirements[:1], pins=pins, python_version=self.python_version, platform=self.platform
        )

    def dumped(self) -> str:
        """Return the plan as one line of JSON, the same for the same plan; the subject of a request for it."""
        raw: dict[str, Any] = pure.plan_to_json(self)
        return json.dumps(raw, sort_keys=True)


def _is_this_python(version: str) -> bool:
    """Whether a version of Python that a plan is for, X.Y or X.Y.Z, is this one; without any it is."""
    own = ".".join(map(str, sys.version_info[:3]))
    return not version or f"{own}.".startswith(f"{version}.")


def _is_this_platform(name: str) -> bool:
    """Whether a platform that a plan is for may be this one: by its system and, where a tag names it, its machine."""
    systems = {"linux": ("linux", "manylinux", "musllinux"), "darwin": ("macos", "macosx"), "win32": ("win",)}
    own = systems.get(sys.platform, ())
    if not name or name in (*own, "windows" if sys.platform == "win32" else ""):
        return True
    machine = (os.uname().machine if hasattr(os, "uname") else os.environ.get("PROCESSOR_ARCHITECTURE", "")).lower()
    return name.startswith(own) and name.endswith((machine, "universal2"))


def resolve(
    *requirements: str,
    python_version: str | None = None,
    platform: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Find the plan for *requirements* without fetching wheels or mounting anything. Raises as require does.

    ``-r FILE`` among them stands for the requirements of a file. *python_version* (X.Y) and *platform* (a platform tag,
    or linux, macos, windows) are of the machine that the plan is for, by default this one.
    """
    api.check_requirements(requirements, None)
    given = {**api.checked(options), "python_version": python_version, "platform": platform}
    # What is mounted here is nothing to another machine.
    preferred: list[tuple[str, str]] | None = [] if python_version or platform else None
    cache = api.cache_folder(cache_dir)
    return _plan_of(answer_of(api.request_of("require", requirements, given, cache, preferred=preferred)))


def prefetch(
    *requirements: str,
    lock: str | os.PathLike[str] | None = None,
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Fill the store with all that ``require(*requirements)`` needs, mount nothing, and return the plan.

    Of a *lock* file instead, with what of its *extras* and *groups* load_lock takes. Raises as these do.
    """
    action, subjects = _of_lock_or_requirements(requirements, lock, extras, groups)
    cache, given = api.cache_folder(cache_dir), api.checked(options)
    _check_is_kept("prefetch fills the cache", given)
    key = boot.record_key(action, subjects, given, cache=cache, path=api.search_path())
    request = api.request_of(action, subjects, given, cache, key, preferred=[])
    return _plan_of(ask({**request, "must_be_kept": True}))


def bundle(
    *requirements: str,
    folder: str | os.PathLike[str],
    lock: str | os.PathLike[str] | None = None,
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    python_version: str | None = None,
    platform: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Write a new *folder* that has all wheels that *requirements*, or a *lock*, need: an index, the files and a lock.

    *python_version* and *platform* are of the machine that it is for, as resolve() takes them. Raises as require() and
    load_lock() do, and UsageError where the folder is there or something is no wheel.
    """
    from remote_wheel.api.bundling import BundledFile, check_is_new, write_bundle

    where = _place_of(folder)
    check_is_new(where)
    action, subjects = _of_lock_or_requirements(requirements, lock, extras, groups)
    _check_is_kept("bundle takes its wheels from the cache", options)
    target = {"python_version": python_version, "platform": platform}
    given = {**api.checked(options), **target, "prefer_installed": False}
    request = api.request_of(action, subjects, given, api.cache_folder(cache_dir), preferred=[])
    answer = ask({**request, "bundles": True, "lock_folder": str(where), "must_be_kept": True})
    named = {name: value for name, value in target.items() if value}
    write_bundle(
        where,
        [BundledFile(**file) for file in answer["files"]],
        answer["lock"],
        requirements=answer["plan"]["requirements"] if requirements else (),
        environment=", ".join(f"{name} {value}" for name, value in named.items()) or "the machine it was made on",
    )
    return _plan_of(answer)


def unpack(
    *requirements: str,
    folder: str | os.PathLike[str],
    lock: str | os.PathLike[str] | None = None,
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Unpack all that *requirements*, or a *lock*, need into *folder*, as a plain site-packages.

    The folder is new, empty or one that was unpacked before, which is replaced. Raises as bundle does.
    """
    from remote_wheel.api.bundling import BundledFile
    from remote_wheel.api.unpacking import check_may_be_written, unpack_wheels

    where = _place_of(folder).resolve()  # a link is followed
    check_may_be_written(where)
    action, subjects = _of_lock_or_requirements(requirements, lock, extras, groups)
    _check_is_kept("unpack takes its wheels from the cache", options)
    given = {**api.checked(options), "prefer_installed": False}
    request = api.request_of(action, subjects, given, api.cache_folder(cache_dir), preferred=[])
    answer = ask({**request, "bundles": True, "must_be_kept": True})
    unpack_wheels(where, [BundledFile(**file) for file in answer["files"]])
    return _plan_of(answer)


def _place_of(folder: str | os.PathLike[str]) -> Path:
    """Return a folder to be written as an absolute path. Raises UsageError."""
    try:
        return Path(folder).absolute()
    except OSError as error:
        from remote_wheel.errors import UsageError

        named = os.fspath(folder)
        what = f"{named!r} is relative to the working folder, which" if named else "the working folder"
        what = f"{what} was deleted"
        raise UsageError(message=what, way_out="Name a place by an absolute path.") from error


def _check_is_kept(what: str, options: Mapping[str, Any]) -> None:
    if boot.is_on("no_cache", options):
        from remote_wheel.errors import UsageError

        raise UsageError(message=f"{what}, and no_cache leaves it alone", way_out="Leave one of them out.")


def _of_lock_or_requirements(
    requirements: Sequence[str],
    lock: str | os.PathLike[str] | None,
    extras: Sequence[str],
    groups: Sequence[str] | None,
) -> tuple[str, Sequence[str]]:
    """Return the action and the subjects of a request. Raises UsageError for both, or neither."""
    if lock is None:
        api.check_requirements(requirements, None)
        return "require", requirements
    if requirements:
        from remote_wheel.errors import UsageError

        way = "Lock them together, or ask twice."
        raise UsageError(message="a lock has all there is, and requirements are given beside it", way_out=way)
    return "lock", api.lock_subjects(lock, extras, groups)


def inspect(
    target: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Return what is in the distribution of a requirement or source, verified, without mounting or importing it.

    Facts by name: name, version, filename, sha256, source, tops, namespaces, scripts, reasons (to unpack it), left_out,
    ignored (what an installed environment would run at its start), protected (modules that have Python's names).
    """
    options["prefer_installed"] = False  # of what is installed there is no archive to look into
    plan = resolve(os.fspath(target), cache_dir=cache_dir, **options)
    cache, given, subjects = api.cache_folder(cache_dir), api.checked(options), (plan.alone().dumped(),)
    key = boot.record_key("plan", subjects, given, cache=cache)
    answer = ask(api.request_of("plan", subjects, given, cache, key))
    record = api.record_of(answer, boot.record_path(cache, key))
    if record is None:
        from remote_wheel.errors import StoreError

        raise StoreError(path=cache, reason="what is written there does not read back")
    facts: dict[str, Any] = record["mounts"][0]
    return {name: value for name, value in facts.items() if name not in _INSIDE}


def lock(
    requirements: Sequence[str],
    *,
    script: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] = "",
    python_version: str | None = None,
    platform: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> str:
    """Resolve *requirements* from the indexes alone and return the text of a lock file for *folder*.

    With a *script*, what its inline metadata (PEP 723) says it needs is resolved, too. Raises RemoteWheelError.
    """
    action, subjects = "require", list(requirements)
    if script is not None:
        action, subjects = "script", [*_block_in(script), *subjects]
    else:
        api.check_requirements(requirements, None)
    target = {"python_version": python_version, "platform": platform}
    given = {**api.checked(options), **target, "prefer_installed": False}
    request = api.request_of(action, subjects, given, api.cache_folder(cache_dir), preferred=[])
    return str(answer_of({**request, "lock_folder": str(_place_of(folder))})["lock"])


def _block_in(script: str | os.PathLike[str]) -> list[str]:
    """Return the block of a script file, and its path. Raises UsageError where it has none."""
    from remote_wheel.api.program import block_of
    from remote_wheel.errors import UsageError

    path = os.fspath(script)
    try:
        block = block_of(Path(path).read_bytes(), path)
    except OSError as error:
        raise UsageError(message=f"the script {path!r} can't be read: {error.strerror}") from error
    if not block:
        way = "Write down what it needs: # /// script, # dependencies = […], # /// (PEP 723)."
        raise UsageError(message=f"{path} has no script block", way_out=way)
    return [block, boot.absolute(path)]


def load_lock(
    path: str | os.PathLike[str],
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> Plan:
    """Read a lock file (PEP 751) of any tool and return what it has for this interpreter, for Plan.mount().

    *extras* and dependency *groups* are of those the lock was made with; by default its default groups. Nothing is
    fetched. Raises InvalidLock where it is none, has nothing for this machine, or lacks a hash; UsageError for an extra
    or group that it does not have.
    """
    given = api.checked(options)
    subjects = api.lock_subjects(path, extras, groups)
    return _plan_of(ask(api.request_of("lock", subjects, given, api.cache_folder(cache_dir))))


def _plan_of(answer: Mapping[str, Any]) -> Plan:
    return pure.plan_from_json(answer["plan"], Plan)


globals()["__builtins__"] = api.annotation_names  # for who evaluates annotations
