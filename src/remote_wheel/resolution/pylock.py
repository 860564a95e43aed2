"""Plans as pylock.toml (PEP 751), and back: the exact files for one environment, each with its hash.

What the standard has no field for stands in ``[packages.tool.remote-wheel]``, which other tools ignore.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import tomli_w
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import InvalidLock, UsageError
from remote_wheel.index.target import Target
from remote_wheel.resolution.plan import Pin, Plan
from remote_wheel.spec.digest import is_strong, stated_digests
from remote_wheel.spec.repository import is_commit, parse_repository
from remote_wheel.spec.source import redact
from remote_wheel.toml import load_toml

if TYPE_CHECKING:
    from packaging.markers import Environment

_TOOL: Final = "remote-wheel"
# Places that only hold files: fsspec has others that lead to any place, or load what they are told to.
_SCHEMES: Final = frozenset(
    ("", "abfs", "abfss", "adl", "az", "file", "ftp", "gcs", "gs", "hdfs", "hf", "http", "https", "oci", "s3", "sftp",
     "smb", "ssh", "webhdfs")
)  # fmt: skip
_ENVIRONMENT: Final = ("implementation_name", "python_version", "sys_platform", "platform_machine")


# --- reading -------------------------------------------------------------------------------------------------------


def parse_pylock(
    text: str,
    target: Target,
    *,
    shown: str,
    locate: Callable[[str], str],
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
) -> Plan:
    """Return what a lock file has for *target*. *shown* names the file, *locate* finds a path that it states.

    *extras* and *groups* are taken, of the groups the lock's default ones where it is None. Raises InvalidLock, and
    UsageError where the lock has no such extra or group.
    """
    try:
        lock = Pylock.from_dict(load_toml(text))
        _check_known("extra", extras, lock.extras or (), shown)
        _check_known("dependency group", groups or (), lock.dependency_groups or (), shown)
        environment = cast("Environment", target.environment)
        selected = lock.select(
            environment=environment,
            tags=list(target.tag_ranks),
            extras=[canonicalize_name(extra) for extra in extras],
            dependency_groups=None if groups is None else [canonicalize_name(group) for group in groups],
        )
        chosen = list(selected)
    except (
        PylockValidationError,
        PylockUnsupportedVersionError,
        PylockSelectError,
        RecursionError,
        ValueError,  # numbers too long for Python
    ) as error:
        raise InvalidLock(lock=shown, reason=str(error)) from error
    try:
        pins = [_pin_of(package, file, shown, locate) for package, file in chosen]
    except ValueError as error:  # a URL or a digest that is none
        raise InvalidLock(lock=shown, reason=str(error)) from error
    names = {pin.name for pin in pins}
    needs: dict[NormalizedName, tuple[str, ...]] = {
        package.name: tuple(_needed(package, names)) for package, _ in chosen
    }
    roots = _roots(lock, needs)
    wanted_by: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for pin in pins:
        for name in needs.get(NormalizedName(pin.name), ()):
            wanted_by[name].append((str(pin), name))
    complete = {
        package.name: replace(
            pin,
            needs=needs.get(package.name, ()) if pin.name else (),
            wanted_by=(
                *((("you", f"{pin.name or pin.filename} (locked)"),) if package.name in roots else ()),
                *wanted_by.get(pin.name, ()),
            ),
        )
        for pin, (package, _) in zip(pins, chosen, strict=True)
    }
    asked = {name: complete[name] for name in roots}
    return Plan(requirements=tuple(pin.key for pin in asked.values()), pins=tuple((asked | complete).values()))


def _roots_in_circles(plan: Plan) -> list[str]:
    """Return the packages that were asked for and that nothing leads to but what they need themselves."""
    needs = {pin.name: pin.needs for pin in plan.pins}
    needed = {name for each in needs.values() for name in each}
    reached = set(_reached(needs, [name for name in needs if name not in needed]))
    return sorted(pin.name for pin in plan.roots if pin.name not in reached)


def _reached(needs: Mapping[str, Sequence[str]], start: Iterable[str]) -> list[str]:
    """Return *start* and all that it needs, directly or not."""
    reached = dict.fromkeys(start)
    ahead = list(reached)
    for name in ahead:  # grows while it is walked
        ahead += [each for each in needs.get(name, ()) if each not in reached]
        reached |= dict.fromkeys(needs.get(name, ()))
    return list(reached)


def _roots(lock: Pylock, needs: Mapping[NormalizedName, Sequence[str]]) -> list[NormalizedName]:
    """Return the packages that somebody asked for: what the lock says, and what nothing else leads to."""
    named = _texts_of(lock.tool, "roots")
    roots = sorted((name for name in needs if name in named), key=named.index)
    needed = {name for each in needs.values() for name in each}
    reached: set[str] = set()
    # Of a circle that nothing leads to, the first has to do.
    for name in (*roots, *(name for name in needs if name not in needed), *needs):
        if name in reached:
            continue
        roots += [] if name in roots else [name]
        reached.update(_reached(cast("Mapping[str, Sequence[str]]", needs), [name]))
    return roots


def _texts_of(tools: object, key: str) -> list[str]:
    """Return a list of strings of our table below tool, empty for anything else."""
    stated = tools.get(_TOOL) if isinstance(tools, Mapping) else None
    found = stated.get(key) if isinstance(stated, Mapping) else None
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else []


def requirements_of(text: str) -> list[str]:
    """Return the requirements that a lock of ours was made for, as far as it says so. Raises ValueError for no TOML."""
    return _texts_of(load_toml(text).get("tool"), "requirements")


def _check_known(kind: str, asked: Sequence[str], known: Sequence[str], shown: str) -> None:
    names = {canonicalize_name(name) for name in known}
    for name in asked:
        if canonicalize_name(name) not in names:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise UsageError(message=f"{shown} has no {kind} {name!r}", way_out=has)


def _needed(package: Package, names: set[str]) -> Iterator[str]:
    for dependency in package.dependencies or ():
        name = str(dependency.get("name", ""))
        if name in names and name != package.name:
            yield name


_File = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist


def _pin_of(package: Package, file: _File, shown: str, locate: Callable[[str], str]) -> Pin:
    tool = (package.tool or {}).get(_TOOL, {})
    if not isinstance(tool, Mapping):
        raise InvalidLock(lock=shown, reason=f"{package.name}: tool.{_TOOL} is no table")
    version = str(package.version) if package.version is not None else ""
    if isinstance(file, PackageDirectory):
        raise InvalidLock(lock=shown, reason=f"{package.name} is a folder ({file.path}), and folders are not mounted")
    if isinstance(file, PackageVcs):
        return _pin_of_repository(package, file, tool, shown)
    digests = stated_digests(file.hashes)
    if not is_strong(digests):
        raise InvalidLock(lock=shown, reason=f"{package.name} has no SHA-256 or better")
    scheme = urlsplit(file.url or "").scheme
    if scheme not in _SCHEMES:
        raise InvalidLock(lock=shown, reason=f"{package.name} is at a {scheme}: URL, which no lock may ask for")
    url = _without_trust(file.url) if file.url else locate(file.path or "")
    filename = _filename_of(file, url)
    if filename.endswith(".whl"):
        try:
            name, wheel_version, *_ = parse_wheel_filename(filename)
        except (InvalidWheelFilename, InvalidVersion) as error:
            raise InvalidLock(lock=shown, reason=f"{package.name}: {error}") from error
        if name != package.name or (version and wheel_version != Version(version)):
            raise InvalidLock(lock=shown, reason=f"{package.name} {version} is locked to {filename}")
        version = str(wheel_version)
    return Pin(
        name="" if "file" in tool else package.name,
        version=version,
        filename=str(tool.get("file", filename)),
        url=url,
        digests=digests,
        size_bytes=file.size,
        upload_time=file.upload_time.isoformat() if file.upload_time else "",
        requires_python=str(package.requires_python or ""),
        index=package.index or "",
        subdirectory=getattr(file, "subdirectory", None) or "",
    )


def _without_trust(url: str) -> str:
    """Return a lock's URL without what would have the lock vouch for its own server: credentials, a host key."""
    parts = urlsplit(url)
    if parts.scheme in ("sftp", "ssh"):
        return redact(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _filename_of(file: PackageArchive | PackageWheel | PackageSdist, url: str) -> str:
    if isinstance(file, PackageArchive):
        path = urlsplit(url).path if "://" in url else url.replace("\\", "/")
        return unquote(path.rpartition("/")[2])
    return file.filename


def _pin_of_repository(package: Package, file: PackageVcs, tool: Mapping[str, Any], shown: str) -> Pin:
    if file.type != "git" or not file.url:
        raise InvalidLock(lock=shown, reason=f"{package.name} comes from {file.type}, of which no archive can be had")
    if not is_commit(file.commit_id):
        raise InvalidLock(lock=shown, reason=f"{package.name}: {file.commit_id!r} is no full commit id")
    if archive := tool.get("archive"):
        place = parse_repository(str(archive), {})
        if place is None or place.ref != file.commit_id or place.url != file.url.removesuffix(".git"):
            raise InvalidLock(lock=shown, reason=f"{package.name}: its archive is not of its repository and commit")
    return Pin(
        name=package.name,
        version=str(package.version or ""),
        filename=f"{package.name}-{file.commit_id}.zip",
        url=str(tool.get("archive") or f"git+{file.url.removeprefix('git+')}@{file.commit_id}"),
        digests=stated_digests({"sha256": tool["sha256"]}) if "sha256" in tool else {},
        requires_python=str(package.requires_python or ""),
        repository=file.url,
        revision=file.requested_revision or "",
        commit=file.commit_id,
        content_sha256=str(tool.get("content-sha256", "")),
        subdirectory=file.subdirectory or "",
    )


# --- writing ---------------------------------------------------------------------------------------------------------


def dump_pylock(plan: Plan, target: Target, *, locate: Callable[[str], str]) -> str:
    """Return *plan* as a lock file for *target*; the same plan gives the same text. *locate* writes a local path.

    Every pin must have a strong digest, and none be of an installed distribution: who calls has seen to both.
    """
    marker = " and ".join(f'{name} == "{target.environment[name]}"' for name in _ENVIRONMENT)
    packages = [_package_of(pin, locate) for pin in sorted(plan.pins, key=lambda pin: (pin.name, pin.filename))]
    lock: dict[str, Any] = {
        "lock-version": "1.0",
        "environments": [marker],
        "requires-python": f">={target.environment['python_version']}",
        "created-by": _TOOL,
        "packages": packages,
    }
    own: dict[str, Any] = {}
    if roots := _roots_in_circles(plan):  # who reads the others sees that nothing needs them
        own["roots"] = roots
    if any("[" in text or "@" in text or "://" in text for text in plan.requirements):  # what pins don't tell
        own["requirements"] = list(plan.requirements)
    if own:
        lock["tool"] = {_TOOL: own}
    Pylock.from_dict(lock).validate()  # a programming error if it raises
    return tomli_w.dumps(lock)


def _package_of(pin: Pin, locate: Callable[[str], str]) -> dict[str, Any]:
    place = {"url": pin.url} if "://" in pin.url and not pin.url.startswith("file:") else {"path": locate(pin.url)}
    hashes = {name: pin.digests[name] for name in sorted(pin.digests)}
    sizes = {"upload-time": _time(pin.upload_time), "size": pin.size_bytes}
    file = {**place, **{key: value for key, value in sizes.items() if value is not None}, "hashes": hashes}
    package: dict[str, Any] = {"name": _package_name(pin)}
    if pin.version:
        package["version"] = pin.version
    if pin.requires_python:
        package["requires-python"] = pin.requires_python
    if pin.needs:
        package["dependencies"] = [{"name": name} for name in sorted(pin.needs)]
    if pin.index:
        package["index"] = pin.index
        package["wheels"] = [{"name": pin.filename, **file}]
    elif pin.commit:
        package["vcs"] = _without_empty(
            {
                "type": "git",
                "url": pin.repository,
                "requested-revision": pin.revision,
                "commit-id": pin.commit,
                "subdirectory": pin.subdirectory,
            }
        )
        own = {"archive": pin.url, "sha256": pin.digests["sha256"], "content-sha256": pin.content_sha256}
        package["tool"] = {_TOOL: own}
    else:
        package["archive"] = _without_empty({**file, "subdirectory": pin.subdirectory})
        if not pin.name:
            package["tool"] = {_TOOL: {"file": pin.filename}}  # it says no name of its own
    return package


def _package_name(pin: Pin) -> str:
    return pin.name or canonicalize_name(pin.filename.rpartition(".")[0])


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # an index may leave it out or write what it likes; a lock does without
        return None


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value != ""}
