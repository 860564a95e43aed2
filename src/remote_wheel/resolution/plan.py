"""A plan: the exact files that satisfy the requirements, who asked for each, and nothing that needs a network."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from remote_wheel.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One distribution of a plan. `version` is PEP 440's normal form, `name` PEP 503's.

    `wanted_by` has (who, requirement) for each that asked; who is "you" for the caller. `rejected` has (version, why)
    of newer versions that were not taken, newest first. `needs` are names of other pins. A single module has no name
    and no version. `repository` is where a source archive was made of `commit`, which `revision` was when it was asked
    for; `content_sha256` is the digest of such an archive's names and contents, whatever it is packed with,
    `subdirectory` the project's folder in it. `installed_at` is the dist-info folder of an installed distribution that
    is used as it is. `upload_time` is RFC 3339, as the index states it, `provenance` the URL of attestations (PEP 740).
    """

    name: str
    version: str
    filename: str = ""
    url: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int | None = None
    upload_time: str = ""
    provenance: str = ""
    requires_python: str = ""
    index: str = ""
    repository: str = ""
    revision: str = ""
    commit: str = ""
    content_sha256: str = ""
    subdirectory: str = ""
    installed_at: str = ""
    needs: tuple[str, ...] = ()
    wanted_by: tuple[tuple[str, str], ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.name else self.filename

    def __hash__(self) -> int:
        """Hash what is fixed of it: its digests are a mapping."""
        return hash((self.name, self.version, self.filename, self.url, self.installed_at))

    @property
    def key(self) -> str:
        """What tells it apart in a plan: the project's name, or where a module without one comes from."""
        return self.name or f"{self.url} {self.filename}"

    @property
    def source(self) -> str:
        """Where it comes from, for people: the repository with its reference, the URL, or where it is installed."""
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{at}" if self.repository else self.url or self.installed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Pins, roots first, then breadth first what they need."""

    requirements: tuple[str, ...]
    pins: tuple[Pin, ...]
    notes: tuple[str, ...] = ()  # what is not wrong but may surprise: an extra that a version does not have
    skipped: tuple[str, ...] = ()  # what could not be read and did not matter: old files, broken metadata
    python_version: str = ""  # of the machine that it is for, as it was asked for; empty: this one's
    platform: str = ""  # the same

    def __iter__(self) -> Iterator[Pin]:
        """Yield the pins, roots first."""
        return iter(self.pins)

    def __len__(self) -> int:
        return len(self.pins)

    def __contains__(self, project: object) -> bool:
        """Whether a pin is of *project*, however its name is spelled, or is *project* itself."""
        if not isinstance(project, str):
            return project in self.pins
        return any(pin.name == _normalised(project) for pin in self.pins)

    def __getitem__(self, name: str) -> Pin:
        """Return the pin of project *name* (normalised); raise UsageError where the plan has none."""
        for pin in self.pins:
            if pin.name == name:
                return pin
        have = ", ".join(pin.name for pin in self.pins)
        raise UsageError(message=f"the plan has no {name!r}", way_out=f"It has {have}.")

    def find(self, name: str) -> Pin:
        """Return the pin of project *name*, however it is spelled; raise UsageError where the plan has none."""
        return self[_normalised(name)]

    @property
    def roots(self) -> tuple[Pin, ...]:
        """The pins that the caller asked for, in that order."""
        return tuple(pin for pin in self.pins if any(who == "you" for who, _ in pin.wanted_by))

    @property
    def size_bytes(self) -> int:
        """The sum of the wheels' sizes as far as the index states them."""
        return sum(pin.size_bytes or 0 for pin in self.pins if not pin.installed_at)

    def tree(self) -> str:
        """Return the dependency tree as text; a repeated branch is drawn once."""
        return "\n".join(self._tree_lines())

    def explain(self, name: str) -> str:
        """Return why project *name* is in the plan, at this version, from where."""
        pin = self.find(name)
        origin = f"installed at {pin.installed_at}" if pin.installed_at else f"{pin.filename} from {pin.index}"
        if not pin.index and not pin.installed_at:
            origin = f"{pin.source}, commit {pin.commit}" if pin.commit else pin.source
        lines = [f"{pin} ({origin})"]
        lines += [f"  {who} {'require' if who == 'you' else 'requires'} {text}" for who, text in pin.wanted_by]
        for why, group in groupby(pin.rejected, key=lambda each: each[1]):
            versions = [version for version, _ in group]
            span = versions[0] if len(versions) == 1 else f"{versions[-1]} to {versions[0]}"
            lines.append(f"  not {span}: {why}")
        return "\n".join(lines)

    def _tree_lines(self) -> Iterator[str]:
        seen: set[str] = set()
        for root in self.roots:
            yield f"{_labelled(root)}{' (above)' if root.name in seen and root.needs else ''}"
            yield from self._branches(root, "", seen)

    def _branches(self, pin: Pin, indent: str, seen: set[str]) -> Iterator[str]:
        if pin.name in seen:
            return
        seen.add(pin.name)
        by_name = {each.name: each for each in self.pins}
        for at, name in enumerate(pin.needs, 1):
            is_last = at == len(pin.needs)
            again = " (above)" if name in seen and by_name[name].needs else ""
            yield f"{indent}{'└── ' if is_last else '├── '}{_labelled(by_name[name])}{again}"
            yield from self._branches(by_name[name], indent + ("    " if is_last else "│   "), seen)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _labelled(pin: Pin) -> str:
    return f"{pin} (installed)" if pin.installed_at else str(pin)


_Plan = TypeVar("_Plan", bound=Plan)


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values, for the helper process and the boot record."""
    pins = [{name: getattr(pin, name) for name in Pin.__slots__} for pin in plan.pins]
    return {
        "requirements": list(plan.requirements),
        "pins": pins,
        "notes": list(plan.notes),
        "skipped": list(plan.skipped),
        "python_version": plan.python_version,
        "platform": plan.platform,
    }


def plan_from_json(value: Mapping[str, Any], kind: "type[_Plan]") -> "_Plan":
    """Undo plan_to_json, into a Plan of class *kind*."""
    pins = []
    for raw in value["pins"]:
        lists = {
            "needs": tuple(raw["needs"]),
            "wanted_by": tuple((who, text) for who, text in raw["wanted_by"]),
            "rejected": tuple((version, why) for version, why in raw["rejected"]),
        }
        pins.append(Pin(**{**raw, **lists}))
    texts: dict[str, Any] = {name: tuple(value[name]) for name in ("requirements", "notes", "skipped")}
    target: dict[str, Any] = {name: str(value.get(name, "")) for name in ("python_version", "platform")}
    return kind(pins=tuple(pins), **texts, **target)
