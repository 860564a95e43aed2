"""What the user's files say: requirements, constraints, overrides; read once, and watched by the boot record."""

import codecs
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidRequirement, UsageError
from remote_wheel.index.candidates import NOTHING_LEFT_OUT, Filter
from remote_wheel.index.target import Target
from remote_wheel.resolution.provider import Policy
from remote_wheel.settings import Settings
from remote_wheel.spec.cutoff import Cutoffs, parse_cutoffs
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.requirement import applies, parse_requirement, project_of, shown
from remote_wheel.spec.requirements_file import RequirementsFile, parse_requirements_file
from remote_wheel.spec.source import is_source, redact

_FILE: Final = "-r "  # in front of a requirements file's path where requirements stand
_ENDINGS: Final = (".txt", ".in")


class Wishes(NamedTuple):
    """What is wanted of a resolution beside its requirements."""

    policy: Policy
    cutoffs: Cutoffs
    cutoff_origin: str = ""  # where they were set
    hashes: Mapping[NormalizedName, frozenset[str]] = EMPTY
    source_hashes: Mapping[str, frozenset[str]] = EMPTY  # by the text of a URL or path
    places: Mapping[NormalizedName, Requirement] = EMPTY  # where a project is to come from
    needs_hashes: bool = False  # everything must have one of its own, not only those that are stated

    def filter_of(self, project: NormalizedName) -> Filter:
        """Return what is left out of *project*'s listing; NOTHING_LEFT_OUT itself where that is nothing."""
        constraint, cutoff = self.policy.constraints.get(project), self.cutoffs.of(project)
        digests = self.hashes.get(project, frozenset())
        if constraint is None and cutoff is None and not digests:
            return NOTHING_LEFT_OUT
        origin = self.cutoff_origin if cutoff else ""
        return Filter(constraint=constraint, cutoff=cutoff, cutoff_origin=origin, digests=digests)


class Inputs:
    """The subjects of a request with requirements files put in their place. `files` are all that were read."""

    def __init__(
        self, subjects: Sequence[str], environ: Mapping[str, str], fetch: Callable[[str], bytes] | None = None
    ) -> None:
        """Take *subjects* apart. *fetch* gets a requirements file by its URL; without it, there is none."""
        self._environ, self._fetch = environ, fetch
        self.urls: list[str] = []  # of files that were fetched
        self.no_binary: set[str] = set()  # normalised names, or ":all:"
        self.only_binary: set[str] = set()  # the same
        self.files: list[str] = []
        self.options: dict[str, Any] = {}
        self._constraints: list[str] = []
        self._hashes: dict[str, frozenset[str]] = {}  # by the requirement or source that they stand behind
        self._needs_hashes = False
        self.of_files: set[str] = set()  # requirements that stood in files
        self.requirements: list[str] = []
        for subject in subjects:
            if subject.startswith(_FILE):
                self._take(self._read(subject.removeprefix(_FILE).strip()))
            else:
                self.requirements.append(subject)

    def wishes(self, settings: Settings, target: Target, preferred: Mapping[NormalizedName, str]) -> Wishes:
        """Return what *settings* and the files ask for. Raises UsageError, InvalidRequirement."""
        constraints: dict[NormalizedName, SpecifierSet] = {}
        places: dict[NormalizedName, Requirement] = {}
        for requirement in self._applicable((*settings.constraints, *self._constraints), "constraint", target):
            if requirement.extras:
                what = f"the constraint {shown(requirement)!r} has an extra"
                raise UsageError(message=what, way_out="State extras where you require it.")
            if requirement.url:
                places[project_of(requirement)] = requirement
                continue
            bound = constraints.get(project_of(requirement), SpecifierSet())
            constraints[project_of(requirement)] = bound & requirement.specifier
        overrides: dict[NormalizedName, tuple[Dependency, ...]] = {}
        for requirement in self._expanded(settings.overrides, "override"):
            known = overrides.setdefault(project_of(requirement), ())
            if _applies(requirement, "override", target):
                overrides[project_of(requirement)] = (*known, Dependency.of(requirement))
                if requirement.url:
                    places[project_of(requirement)] = requirement
        pre = settings.pre if isinstance(settings.pre, bool) else frozenset(map(canonicalize_name, settings.pre))
        return Wishes(
            policy=Policy(
                pre=pre,
                prefer_installed=settings.prefer_installed,
                preferred=preferred,
                constraints=constraints,
                overrides=overrides,
            ),
            cutoffs=parse_cutoffs(settings.exclude_newer, datetime.now(UTC)),
            cutoff_origin=settings.origins.get("exclude_newer", ""),
            hashes=self._hashes_of_projects(target),
            source_hashes=self._hashes,
            places=places,
            needs_hashes=self._needs_hashes,
        )

    def _hashes_of_projects(self, target: Target) -> dict[NormalizedName, frozenset[str]]:
        """Return the hashes of the requirements that apply on *target*: a file may have a line for each of many."""
        found: dict[NormalizedName, frozenset[str]] = {}
        for text, hashes in self._hashes.items():
            if not is_source(text) and applies(requirement := parse_requirement(text), target.environment):
                found[project_of(requirement)] = found.get(project_of(requirement), frozenset()) | hashes
        return found

    def _take(self, file: RequirementsFile) -> None:
        for text in (*file.requirements, *file.constraints):
            self._check(text, file.places[text])
        self.of_files.update(file.requirements)
        self.requirements += file.requirements
        self._constraints += file.constraints
        self._hashes |= file.hashes
        self.no_binary |= file.no_binary
        self.only_binary |= file.only_binary
        # As in pip: one hash, and all must have one.
        self._needs_hashes = self._needs_hashes or bool(file.hashes) or "require_hashes" in file.options
        for name, values in file.options.items():
            if name == "require_hashes":
                continue
            if name == "index_url":
                self.options[name] = values[-1]
            elif name in ("no_index", "pre"):
                self.options[name] = True
            else:
                self.options[name] = (*self.options.get(name, ()), *values)

    def _check(self, text: str, place: str) -> None:
        """Name the file and line of a requirement that is none."""
        if not is_source(text):
            try:
                parse_requirement(text)
            except InvalidRequirement as error:
                raise UsageError(message=f"{place}: {error}", way_out=error.hint) from error

    def _expanded(self, texts: Iterable[str], what: str) -> list[Requirement]:
        found = []
        for text in texts:
            inner = self._read(text).requirements if text.endswith(_ENDINGS) else [text]
            for each in inner:
                try:
                    found.append(parse_requirement(each))
                except InvalidRequirement as error:
                    raise UsageError(message=f"the {what} {error}", way_out=error.hint) from error
        return found

    def _applicable(self, texts: Iterable[str], what: str, target: Target) -> list[Requirement]:
        return [each for each in self._expanded(texts, what) if _applies(each, what, target)]

    def _read(self, path: str) -> RequirementsFile:
        file = parse_requirements_file(path, self._text_of, _beside, self._environ)
        self.files += (each for each in file.files if "://" not in each)
        self.urls += (each for each in file.files if "://" in each)
        return file

    def _text_of(self, path: str) -> str:
        """Return the text of a file, or of what is at a URL."""
        if "://" not in path:
            return _read_text(path)
        if self._fetch is None:
            raise UsageError(message=f"the requirements file {redact(path)} can't be fetched here")
        return _decoded(self._fetch(path), redact(path))


def _applies(requirement: Requirement, what: str, target: Target) -> bool:
    try:
        return applies(requirement, target.environment)
    except InvalidRequirement as error:
        raise UsageError(message=f"the {what} {error}", way_out=error.hint) from error


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return _decoded(file.read(), path)
    except OSError as error:
        raise UsageError(message=f"the requirements file {path!r} can't be read: {error.strerror}") from error


def _decoded(data: bytes, shown: str) -> str:
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's ">" writes that
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(message=f"the requirements file {shown!r} can't be read: it is no UTF-8 text") from error


def _beside(path: str, named: str) -> str:
    if "://" in named or "://" in path:
        return urljoin(path, named)
    return os.path.normpath(os.path.join(os.path.dirname(path), named))  # so that a circle of files closes
