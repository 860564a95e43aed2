"""The interpreter and platform a plan is for: this machine (the one place that asks it), or one that the user names."""

import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Final

from packaging.markers import default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, platform_tags, sys_tags
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import UsageError

# PEP 600: each legacy name is a glibc version.
_LEGACY_GLIBC: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_PLATFORM: Final = (
    r"(?P<kind>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)_(?P<machine>\w+)"
    r"|macosx_(?P<mac_major>\d+)_(?P<mac_minor>\d+)_(?P<mac_machine>\w+)"
    r"|win_(?P<win_machine>amd64|arm64)|(?P<win32>win32)|linux_(?P<linux_machine>\w+)"
)
# Names that mean a sensible default, as uv has them.
_SHORT: Final = {
    "linux": "manylinux_2_28_x86_64",
    "macos": "macosx_14_0_arm64",
    "windows": "win_amd64",
    "manylinux2014_x86_64": "manylinux_2_17_x86_64",
    "manylinux2014_aarch64": "manylinux_2_17_aarch64",
}
_WINDOWS_MACHINES: Final = {"amd64": "AMD64", "arm64": "ARM64"}


class Target:
    """Python version and marker environment (PEP 508); *make_tags* gives the compatible tags from best to worst.

    There are a thousand, and only who reads a page needs them. Targets of the same `key` have the same ones.
    """

    def __init__(
        self, *, python: Version, environment: dict[str, str], key: str, make_tags: Callable[[], Iterable[Tag]]
    ) -> None:
        self.python, self.environment, self.key, self._make_tags = python, environment, key, make_tags

    @cached_property
    def tag_ranks(self) -> dict[Tag, int]:
        """The compatible tags (PEP 425) with their ranks, 0 the best."""
        return {tag: rank for rank, tag in enumerate(dict.fromkeys(self._make_tags()))}

    def admits_python(self, requires_python: str) -> bool:
        """Whether a ``Requires-Python`` is met; raises packaging's InvalidSpecifier where it is none."""
        return admits_python(requires_python, self.python)

    def rank(self, tags: frozenset[Tag]) -> int | None:
        """Return the best rank of *tags*, 0 the best; None where none fits."""
        ranks = [rank for tag in tags if (rank := self.tag_ranks.get(tag)) is not None]
        return min(ranks, default=None)

    @property
    def best_tags(self) -> tuple[str, ...]:
        """A few of the fitting tags, best first, for messages."""
        return tuple(str(tag) for tag in list(self.tag_ranks)[:4])


@lru_cache(maxsize=1024)
def admits_python(requires_python: str, python: Version) -> bool:
    """Whether a ``Requires-Python`` is met by *python*; a pre-release counts as its release, as in pip."""
    return SpecifierSet(requires_python).contains(python.base_version, prereleases=True)


def target_of_this_machine() -> Target:
    """Ask this interpreter and platform."""
    environment = {key: str(value) for key, value in default_environment().items()}
    # Not sysconfig's variables: reading them takes longer than most resolutions.
    abi = f"{sys.version} {EXTENSION_SUFFIXES} {sysconfig.get_platform()}"
    return Target(
        python=Version(environment["python_full_version"].rstrip("+")),
        environment=environment,
        key=f"{abi} {' '.join(platform_tags())}",
        make_tags=sys_tags,
    )


def target_elsewhere(here: Target, python_version: str = "", platform: str = "") -> Target:
    """Return a CPython of *python_version* (X.Y or X.Y.Z) on *platform*, what is not stated as *here*.

    *platform* is a platform tag (``manylinux_2_28_x86_64``, ``musllinux_1_2_aarch64``, ``macosx_11_0_arm64``,
    ``win_amd64``), or linux, macos or windows. Raises UsageError.
    """
    python = _parse_python(python_version) if python_version else here.python
    if platform:
        platforms, facts = _read_platform(_SHORT.get(platform, platform))
    else:
        platforms, facts = list(dict.fromkeys(tag.platform for tag in here.tag_ranks if tag.platform != "any")), {}
    release = (python.major, python.minor)

    def make_tags() -> Iterator[Tag]:
        # Without its ABIs, those of the interpreter that runs this would be taken.
        yield from cpython_tags(release, [f"cp{release[0]}{release[1]}"], platforms)
        yield from compatible_tags(release, f"cp{release[0]}{release[1]}", platforms)

    version = {"python_version": f"{python.major}.{python.minor}", "python_full_version": str(python)}
    cpython = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return Target(
        python=python,
        key=f"{python} {' '.join(platforms)}",
        make_tags=make_tags,
        environment={**here.environment, **facts, **version, **cpython, "implementation_version": str(python)},
    )


def _parse_python(text: str) -> Version:
    try:
        version = Version(text)
    except InvalidVersion:
        version = None
    if version is None or len(version.release) not in (2, 3):
        raise UsageError(message=f"python_version={text!r} is no Python version", way_out="Write it as 3.12 or 3.12.4.")
    return version if len(version.release) == 3 else Version(f"{version}.0")


def _read_platform(text: str) -> tuple[list[str], dict[str, str]]:
    """Return the platform tags that *text* can use, best first, and what its markers are."""
    found = re.fullmatch(_PLATFORM, text)
    if not found:
        way = "Write a platform tag (manylinux_2_28_x86_64, macosx_11_0_arm64, win_amd64), or linux, macos, windows."
        raise UsageError(message=f"platform={text!r} is not known", way_out=way)
    if found["kind"]:
        tags = list(_linux_tags(found["kind"], int(found["major"]), int(found["minor"]), found["machine"]))
        return tags, _facts("posix", "linux", "Linux", found["machine"])
    if found["linux_machine"]:
        return [text], _facts("posix", "linux", "Linux", found["linux_machine"])
    if found["mac_machine"]:
        version, machine = (int(found["mac_major"]), int(found["mac_minor"])), found["mac_machine"]
        return list(mac_platforms(version, machine)), _facts("posix", "darwin", "Darwin", machine)
    machine = "x86" if found["win32"] else _WINDOWS_MACHINES[found["win_machine"]]
    return [text], _facts("nt", "win32", "Windows", machine)


def _linux_tags(kind: str, major: int, minor: int, machine: str) -> Iterator[str]:
    """Yield the tags of a C library and the older ones that it can run (PEP 600, PEP 656)."""
    lowest = 5 if kind == "manylinux" else 0
    for each in range(minor, lowest - 1, -1):
        yield f"{kind}_{major}_{each}_{machine}"
        if kind == "manylinux" and each in _LEGACY_GLIBC:
            yield f"{_LEGACY_GLIBC[each]}_{machine}"
    yield f"linux_{machine}"


def _facts(os_name: str, sys_platform: str, system: str, machine: str) -> dict[str, str]:
    empty: Sequence[str] = ("platform_release", "platform_version")  # nobody can know; no marker should ask
    named = {"os_name": os_name, "sys_platform": sys_platform, "platform_system": system, "platform_machine": machine}
    return {**named, **dict.fromkeys(empty, "")}
