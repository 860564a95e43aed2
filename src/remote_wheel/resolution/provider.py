"""What the PubGrub core asks while it decides: versions, dependencies and the order of decisions."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple, Protocol

from nab_resolver.resolver import BaseProvider
from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidMetadata
from remote_wheel.index.listing import Listing, Release
from remote_wheel.index.target import Target
from remote_wheel.resolution.masks import Masks
from remote_wheel.resolution.ranges import ReleaseSet
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.empty import EMPTY
from remote_wheel.spec.mending import environment_for
from remote_wheel.spec.metadata import CoreMetadata

_PATIENCE: Final = 3  # releases of one project that are asked for one by one
_MOST_AHEAD: Final = 64  # as many older ones are asked for at once
_OF_EXTRA: Final = re.compile(r'extra == "([\w.-]+)"')
_MANY: Final = 256  # markers between two looks at the clock
_LETTER: Final = re.compile("[a-z]", re.IGNORECASE)
_UNUSABLE: Final = "<unusable>"  # no extra is called that: names of extras have no angle brackets


class Catalog(Protocol):
    """Where a resolution gets its facts. Network failures raise FetchError; they never look like an empty answer."""

    def listings(self, projects: Sequence[NormalizedName]) -> list[Listing]:
        """Return the listings of *projects*, fetched at once; an unknown project's has no releases."""

    def metadata(self, release: Release) -> CoreMetadata:
        """Return the core metadata of *release*. Raises InvalidMetadata."""

    def is_at_hand(self, release: Release) -> bool:
        """Whether the metadata of *release* can be had without waiting."""

    def expect(self, release: Release) -> None:
        """Take note that the metadata of *release* will probably be asked for next."""


class Node(NamedTuple):
    """What the solver decides about: a project, or one extra of it (a virtual project of the same version)."""

    project: NormalizedName
    extra: str | None

    def __str__(self) -> str:
        return f"{self.project}[{self.extra}]" if self.extra else self.project


class Policy(NamedTuple):
    """Which releases are taken among those that fit.

    `pre` admits pre-releases of every project, or of those named. What `constraints` exclude the listings have left out
    already; here they opt in to what they name. `overrides` replace every requirement on their project; there are none
    for one whose overrides all have a marker that is false.
    """

    pre: bool | frozenset[NormalizedName] = False
    prefer_installed: bool = True
    preferred: Mapping[NormalizedName, str] = EMPTY  # versions this process has mounted, or loaded
    holds_preferred: bool = False  # no other version of these projects will do
    constraints: Mapping[NormalizedName, SpecifierSet] = EMPTY
    overrides: Mapping[NormalizedName, tuple[Dependency, ...]] = EMPTY
    places: Mapping[NormalizedName, frozenset[str]] = EMPTY  # URLs, redacted

    def overridden(self, dependency: Dependency) -> tuple[Dependency, ...]:
        """Return what stands for *dependency*: itself, or what the user wants in its place."""
        return self.overrides.get(dependency.project, (dependency,))


class OutOfTime(Exception):
    """Raised through the solver when the caller's patience is over; solve() tells it."""


class Provider(BaseProvider[Node, Release]):
    """Answer the solver from a catalogue, for one resolution; raise OutOfTime once *is_out_of_time* says so."""

    def __init__(
        self,
        catalog: Catalog,
        target: Target,
        policy: Policy,
        is_out_of_time: Callable[[], bool] = lambda: False,
        *,
        prunes: bool = True,
        loosened: Set[NormalizedName] = frozenset(),
    ) -> None:
        self._is_out_of_time = is_out_of_time
        self._prunes = prunes
        self.loosened = loosened  # projects whose pre-releases every requirement admits, behind the final releases
        self.named_pre: set[NormalizedName] = set()  # those that some requirement names a pre-release of
        self._catalog, self.target, self.policy = catalog, target, policy
        self.listings: dict[NormalizedName, Listing] = {}
        self.unusable: dict[Release, str] = {}
        self._order: dict[Node, int] = {}
        self._masks: dict[NormalizedName, Masks] = {}
        self._admitted: dict[tuple[NormalizedName, tuple[str, ...]], int] = {}
        self._dependencies: dict[tuple[Node, Release], dict[Node, ReleaseSet]] = {}
        self._needs: dict[str, tuple[tuple[Node, ReleaseSet], ...]] = {}  # by the text of a dependency
        self._markers: dict[tuple[str, str], bool] = {}
        self._applicable: dict[tuple[int, str | None], tuple[CoreMetadata, tuple[Dependency, ...]]] = {}
        self._by_extra: dict[int, tuple[CoreMetadata, dict[str | None, list[int]]]] = {}
        self._expected: set[tuple[Node, int]] = set()
        self._misses: dict[NormalizedName, int] = {}
        self._alive: dict[Node, int] = {}  # what the roots leave of a node; a release that is not in it is in no answer
        self._dead: dict[NormalizedName, int] = {}  # how many were found to be in no answer
        self._pre_named: set[NormalizedName] = set(policy.pre) if isinstance(policy.pre, frozenset) else set()

    def loosen(self) -> "Provider":
        """Return a provider for another try, in which the projects of `named_pre` are loosened, too."""
        loosened = self.loosened | self.named_pre
        return Provider(self._catalog, self.target, self.policy, self._is_out_of_time, loosened=loosened)

    # --- roots ---------------------------------------------------------------------------------------------

    def register_roots(self, wanted: Sequence[Dependency]) -> list[tuple[Node, ReleaseSet, Dependency]]:
        """Load the roots' listings, note what they opt in to, and return the solver's root clauses in order."""
        self._load([dependency.project for dependency in wanted])
        for dependency in wanted:
            self._opt_in(dependency.project, dependency.clauses)
        clauses = [
            (node, releases, dependency) for dependency in wanted for node, releases in self._needs_of(dependency)
        ]
        if self._prunes:
            for node, releases, _ in clauses:
                self._alive[node] = self._alive_of(node) & releases.mask
        return clauses

    def _opt_in(self, project: NormalizedName, clauses: Iterable[str]) -> None:
        """Admit what the user names: pre-releases by PEP 440's rule, a yanked release by an exact pin (PEP 592)."""
        if _names_pre(clauses):
            self._pre_named.add(project)
        if _is_pin(clauses):
            masks = self._masks[project]
            masks.opened |= masks.fitting(clauses) & masks.yanked

    # --- nab-resolver's provider protocol ------------------------------------------------------------------

    def choose_version(self, package: Node, version_range: Any) -> Release | None:
        """Pick the preferred release: mounted, installed, newest final, newest pre-release.

        A release that no answer can have is passed over here, before the solver learns why, clause by clause: a range
        of a thousand that all need what the roots forbid costs it a thousand conflicts, and this a loop.
        """
        while release := self._preferred(package, version_range.mask):
            if not self._prunes or not self._is_dead(package, release):
                return release
            self._bury(package, release)
        return None

    def has_satisfying_version(self, package: Node, version_range: Any) -> bool:
        """Whether choose_version would find one."""
        return bool(version_range.mask & self._alive_of(package))

    def get_dependencies(self, package: Node, version: Release) -> dict[Node, ReleaseSet]:
        """Return what *version* of *package* needs; an unusable release needs the impossible."""
        key = (package, version)
        if key not in self._dependencies:
            self._dependencies[key] = self._find_dependencies(package, version)
        return self._dependencies[key]

    def prioritize(
        self,
        package: Node,
        version_range: Any,
        conflict_counts: Mapping[Node, int],
        culprit_counts: Mapping[Node, int] | None = None,
    ) -> tuple[int, int, int]:
        """Decide troubled packages first, culprits last, then the closest pinned, then breadth first."""
        if self._is_out_of_time():
            raise OutOfTime
        left = (version_range.mask & self._alive_of(package)).bit_count()
        bucket = -1 if left <= 1 else (left.bit_length() - 1) // 5
        if conflict_counts.get(package, 0) >= 5:
            tier = 0
        else:
            tier = 2 if culprit_counts and culprit_counts.get(package, 0) >= 5 else 1
        return tier, bucket, self._order[package]

    def widen_decision(self, package: Node, version: Release) -> None:
        """Keep the exact release: bits leave no holes to merge."""

    # --- how ------------------------------------------------------------------------------------------------

    def _preferred(self, package: Node, mask: int) -> Release | None:
        mask &= self._alive_of(package)
        if not mask:
            return None
        place = self._masks[package.project].prefer(mask, self._pre_of(package.project))
        return self.listings[package.project].releases[place]

    def _alive_of(self, node: Node) -> int:
        """Return the releases of *node* that may be in an answer, as far as is known."""
        alive = self._alive.get(node)
        if alive is None:
            alive = self._alive[node] = self._held(node.project)
        return alive if node.extra is None else alive & self._alive_of(Node(node.project, None))

    def _held(self, project: NormalizedName) -> int:
        """Return the releases of *project*; where one is to be kept, that one alone."""
        masks = self._masks[project]
        return masks.preferred if self.policy.holds_preferred and project in self.policy.preferred else masks.all

    def _bury(self, package: Node, release: Release) -> None:
        self._alive[package] &= ~(1 << release.bit)
        self._dead[package.project] = self._dead.get(package.project, 0) + 1

    def _is_dead(self, package: Node, release: Release, *, looks_further: bool = True) -> bool:
        """Whether *release* needs a project of which no release is left.

        Where many of its project or of the needed one were in vain, a need that one release is left for is judged by
        that one: the solver would decide it next.
        """
        for node, releases in self.get_dependencies(package, release).items():
            if is_refusal(node):
                return True
            left = releases.mask & self._alive_of(node)
            tried = max(self._dead.get(project, 0) for project in (package.project, node.project))
            if looks_further and tried >= _PATIENCE and left.bit_count() == 1:
                needed = self.listings[node.project].releases[left.bit_length() - 1]
                if self._is_dead(node, needed, looks_further=False):
                    self._bury(node, needed)
                    return True
            if not left:
                return True
        return False

    def _load(self, projects: Iterable[NormalizedName]) -> None:
        missing = [project for project in dict.fromkeys(projects) if project not in self.listings]
        for listing in self._catalog.listings(missing) if missing else ():
            self.listings[listing.project] = listing
            self._masks[listing.project] = Masks(
                listing.releases,
                preferred=self.policy.preferred.get(listing.project, ""),
                prefers_installed=self.policy.prefer_installed,
            )
            if listing.project in self.policy.constraints:
                self._opt_in(listing.project, tuple(map(str, self.policy.constraints[listing.project])))

    def _needs_of(self, dependency: Dependency) -> tuple[tuple[Node, ReleaseSet], ...]:
        """Return what a dependency asks of the solver: of the project and of each extra, the same releases."""
        known = self._needs.get(dependency.text)
        if known is None:
            project, releases = dependency.project, ReleaseSet(self._mask(dependency.project, dependency.clauses))
            nodes = [Node(project, extra) for extra in (None, *dependency.extras)]
            for node in nodes:
                self._order.setdefault(node, len(self._order))
            known = self._needs[dependency.text] = tuple((node, releases) for node in nodes)
        return known

    def _mask(self, project: NormalizedName, clauses: tuple[str, ...]) -> int:
        known = self._admitted.get((project, clauses))
        if known is None:
            known = self._admitted[project, clauses] = self._admit(project, clauses)
        return known

    def _admit(self, project: NormalizedName, clauses: tuple[str, ...]) -> int:
        masks = self._masks[project]
        fitting = masks.fitting(clauses)
        if masks.yanked and not _is_pin(clauses):  # PEP 592: a yanked release is used only where it is pinned exactly
            fitting &= ~(masks.yanked & ~masks.opened)
        if self._pre_of(project) or project in self.loosened:
            return fitting
        if _names_pre(clauses):
            self.named_pre.add(project)
            return fitting
        # PEP 440: pre-releases count only where nothing else satisfies; what is installed is there anyway.
        return fitting & ~masks.pre or fitting

    def _pre_of(self, project: NormalizedName) -> bool:
        """Whether the user admits pre-releases of *project*."""
        return self.policy.pre is True or project in self._pre_named

    def _find_dependencies(self, package: Node, release: Release) -> dict[Node, ReleaseSet]:
        try:
            metadata = self.metadata_of(release)
            dependencies = self.applicable(metadata, package.extra)
        except InvalidMetadata as error:
            return self._refuse(package, release, str(error))
        # What the index said of the file was looked at when it was listed.
        is_other = release.file is None or release.file.requires_python != metadata.requires_python
        if is_other and not self.target.admits_python(metadata.requires_python):
            return self._refuse(package, release, f"requires Python {metadata.requires_python}")
        for dependency in dependencies:
            if dependency.url and not self._is_direct(dependency):
                is_other = dependency.project in self.policy.places
                why = "and you ask for another one" if is_other else "which only you may ask for"
                return self._refuse(package, release, f"depends on {dependency.project} by URL, {why}")
        self._load(dependency.project for dependency in dependencies)
        result: dict[Node, ReleaseSet] = {}
        if package.extra is not None:
            result[Node(package.project, None)] = ReleaseSet.singleton(release)
        for dependency in dependencies:
            for node, releases in self._needs_of(dependency):
                result[node] = result[node] & releases if node in result else releases
        self._expect(result)
        return result

    def reasons(self, parent: Node, child: Node, release: Release) -> tuple[Dependency, ...]:
        """Return what makes *release* as *parent* need *child*, as far as it was looked at."""
        found = self._dependencies.get((parent, release))
        if found is None or any(map(is_refusal, found)):
            return ()
        dependencies = self.applicable(self.metadata_of(release), parent.extra)
        return tuple(each for each in dependencies if child in (node for node, _ in self._needs_of(each)))

    def applicable(self, metadata: CoreMetadata, extra: str | None) -> tuple[Dependency, ...]:
        """Return the dependencies whose markers hold here for *extra*; an extra has only what it adds."""
        known = self._applicable.get((id(metadata), extra))
        if known is None:  # the metadata is held, so that its identity stays its own
            known = self._applicable[id(metadata), extra] = metadata, tuple(self._find_applicable(metadata, extra))
        return known[1]

    def _find_applicable(self, metadata: CoreMetadata, extra: str | None) -> Iterator[Dependency]:
        """Yield the dependencies that count, in order; of those that are of one extra alone, this one's are read."""
        found = self._by_extra.get(id(metadata))
        if found is None:
            found = self._by_extra[id(metadata)] = metadata, _sorted_by_extra(metadata.requires)
        places = [*found[1].get(None, ()), *(found[1].get(extra, ()) if extra is not None else ())]
        for count, place in enumerate(sorted(places)):
            if count % _MANY == _MANY - 1 and self._is_out_of_time():
                raise OutOfTime
            dependency = metadata.requires[place]
            holds = self._holds(dependency.marker, "")
            if extra is not None:
                holds = not holds and self._holds(dependency.marker, extra)
            if holds:
                yield from self.policy.overridden(dependency)

    def _holds(self, marker: str, extra: str) -> bool:
        if not marker:
            return True
        key = (marker, extra)
        holds = self._markers.get(key)
        if holds is None:
            holds = self._markers[key] = self._evaluate(marker, extra)
        return holds

    def _evaluate(self, marker: str, extra: str) -> bool:
        """Evaluate a marker; raise InvalidMetadata where it has no meaning (an order of names, an unknown variable)."""
        environment = environment_for(marker, {**self.target.environment, "extra": extra})
        try:
            return Marker(marker).evaluate(environment)
        except (UndefinedComparison, UndefinedEnvironmentName, ValueError) as error:
            reason = f"the marker {marker!r} can't be evaluated ({error})"
            raise InvalidMetadata(subject="a requirement of it", reason=reason) from error

    def order(self, nodes: Iterable[Node]) -> tuple[int, ...]:
        """Return when each of *nodes* was first met, to sort by."""
        return tuple(self._order[node] for node in nodes)

    def is_mounted(self, release: Release) -> bool:
        """Whether *release* is what this process has mounted of its project."""
        return self.policy.preferred.get(release.project) == str(release.version)

    def admits(self, release: Release) -> bool:
        """Whether a requirement that names no version would take *release* where it fits."""
        is_left_out = release.project in self.loosened and release.version.is_prerelease
        return not is_left_out and bool(self._mask(release.project, ()) >> release.bit & 1)

    def metadata_of(self, release: Release) -> CoreMetadata:
        """Return the metadata of *release*, known beforehand or from the catalogue."""
        if release.metadata:
            return release.metadata
        if not self._catalog.is_at_hand(release):
            self._look_ahead(release)
        return self._catalog.metadata(release)

    def _look_ahead(self, release: Release) -> None:
        """Ask for the next older releases too, where one after the other has failed: twice as many each time."""
        misses = self._misses[release.project] = self._misses.get(release.project, 0) + 1
        if misses > _PATIENCE:
            count = min(2 ** (misses - _PATIENCE), _MOST_AHEAD)
            for older in reversed(self.listings[release.project].releases[max(0, release.bit - count) : release.bit]):
                if older.metadata is None:
                    self._catalog.expect(older)

    def _is_direct(self, dependency: Dependency) -> bool:
        """Whether the URL of a dependency is one that the user asks for, too."""
        return dependency.url in self.policy.places.get(dependency.project, ())

    def _refuse(self, package: Node, release: Release, reason: str) -> dict[Node, ReleaseSet]:
        self.unusable[release] = reason
        impossible = Node(package.project, _UNUSABLE)
        self._order.setdefault(impossible, len(self._order))
        return {impossible: ReleaseSet.empty()}

    def _expect(self, dependencies: Mapping[Node, ReleaseSet]) -> None:
        for node, releases in dependencies.items():
            if (node, releases.mask) in self._expected:
                continue
            self._expected.add((node, releases.mask))
            release = self._preferred(node, releases.mask)
            if release and release.metadata is None:
                self._catalog.expect(release)


def _sorted_by_extra(requires: Sequence[Dependency]) -> dict[str | None, list[int]]:
    """Return the places of dependencies by the one extra that they are for; under None, of all others."""
    found: dict[str | None, list[int]] = {}
    for place, dependency in enumerate(requires):
        found.setdefault(_extra_of(dependency.marker), []).append(place)
    return found


def _extra_of(marker: str) -> str | None:
    """Return the extra without which a marker is false, as its last clause says; None where it may hold otherwise."""
    before, _, last = marker.rpartition(" and ")
    needed = _OF_EXTRA.fullmatch(last)
    return canonicalize_name(needed[1]) if needed and " or " not in before else None


def _is_pin(clauses: Iterable[str]) -> bool:
    return any(clause.startswith("==") and not clause.endswith(".*") for clause in clauses)


def _names_pre(clauses: Iterable[str]) -> bool:
    """Whether *clauses* name a pre-release (PEP 440); what has no letter in it names none, and need not be parsed."""
    text = ",".join(clauses)
    return bool(_LETTER.search(text) and SpecifierSet(text).prereleases)


def is_refusal(node: Any) -> bool:
    """Whether *node* stands for the impossible need of an unusable release."""
    return isinstance(node, Node) and node.extra == _UNUSABLE
