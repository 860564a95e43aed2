"""Requirements in, plan out: PubGrub by nab-resolver, its answer checked before anyone relies on it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Final

from nab_resolver.errors import ResolutionError as SolverError
from nab_resolver.errors import ResolutionTerminatedError
from nab_resolver.resolver import Resolver
from nab_resolver.types import RootRequirement
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from remote_wheel.errors import FetchError, NotCached, ProjectNotFound, ResolutionError, ResolutionLimit, Unsatisfiable
from remote_wheel.index.candidates import explain_no_match
from remote_wheel.index.listing import Release, Row
from remote_wheel.index.target import Target
from remote_wheel.resolution.explain import explain_unsatisfiable
from remote_wheel.resolution.plan import Pin, Plan
from remote_wheel.resolution.provider import Catalog, Node, OutOfTime, Policy, Provider
from remote_wheel.resolution.ranges import ReleaseSet
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.requirement import applies, parse_requirement

_FEW_ROUNDS: Final = 5_000  # for a second look, which hardly ever finds anything
_SKIPPED: Final = 20  # files of one project that are told
_REJECTED: Final = 8  # of newer versions, as many are told why they were not taken


def solve(
    requirements: Sequence[Requirement],
    catalog: Catalog,
    target: Target,
    policy: Policy,
    *,
    max_rounds: int,
    is_out_of_time: Callable[[], bool] = lambda: False,
    explains: bool = True,
) -> Plan:
    """Find the plan for *requirements* on *target*; requirements whose marker is false there are left out.

    Unless it *explains*, what is raised is not the whole reason. *is_out_of_time* is asked at each decision,
    *max_rounds* bounds them. Raises ResolutionError with the reason, or the catalogue's FetchError.
    """
    asked = [Dependency.of(each) for each in requirements if applies(each, target.environment)]
    provider = Provider(catalog, target, policy, is_out_of_time)
    try:
        return solve_once(asked, provider, max_rounds)
    except Unsatisfiable:  # proven, but the proof lacks what was passed over: once more, every clause told
        if plan := _solve_loosened(asked, provider, max_rounds):
            return plan
        if not explains:
            raise
        try:
            return solve_once(asked, Provider(catalog, target, policy, is_out_of_time, prunes=False), max_rounds)
        except (ResolutionLimit, NotCached, FetchError) as limit:
            note = "the whole reason takes too long to tell"
            texts = tuple(dependency.text for dependency in asked)
            raise Unsatisfiable(requirements=texts, reasons=(), notes=(note,)) from limit


def solve_once(asked: Sequence[Dependency], provider: Provider, max_rounds: int) -> Plan:
    """Find the plan for requirements that apply; where *provider* prunes, the reason why there is none is not whole."""
    wanted = [each for dependency in asked for each in provider.policy.overridden(dependency)]
    clauses = provider.register_roots(wanted)
    for node, releases, dependency in clauses:
        if releases.is_empty:
            raise _no_match(provider, node, dependency)
    nowhere = Release(canonicalize_name("root"), Version("0"), 0, Row("0"))
    solver: Resolver[Node, Release] = Resolver(
        provider, max_iterations=max_rounds, range_type=ReleaseSet, root_version=nowhere
    )
    texts = tuple(dependency.text for dependency in wanted)
    try:
        solution = solver.solve([RootRequirement(node, releases, origin=each.text) for node, releases, each in clauses])
    except ResolutionTerminatedError as error:
        raise ResolutionLimit(requirements=texts, reason=str(error).splitlines()[0]) from error
    except OutOfTime as error:
        reason = "it takes too long; that there is no solution is not proven"
        raise ResolutionLimit(requirements=texts, reason=reason) from error
    except SolverError as error:
        raise explain_unsatisfiable(error, provider, wanted) from error
    return _make_plan(solution.pins, wanted, provider)


def _solve_loosened(asked: Sequence[Dependency], failed: Provider, max_rounds: int) -> Plan | None:
    """Find a plan in which one release's requirement on a pre-release admits it for all others, as pip has it."""
    while not failed.named_pre <= failed.loosened:
        failed = failed.loosen()
        try:
            plan = solve_once(asked, failed, min(max_rounds, _FEW_ROUNDS))
        except Unsatisfiable:
            continue
        except (ResolutionLimit, NotCached, FetchError):
            return None
        loose = [pin for pin in plan.pins if pin.name in failed.loosened and Version(pin.version).is_prerelease]
        return plan if all(map(_names_pre, loose)) else None
    return None


def _names_pre(pin: Pin) -> bool:
    """Whether somebody asks for a pre-release of what is pinned."""
    return any(parse_requirement(text.partition(";")[0]).specifier.prereleases for _, text in pin.wanted_by)


def _no_match(provider: Provider, node: Node, dependency: Dependency) -> ResolutionError:
    listing = provider.listings[node.project]
    if not listing.releases and not listing.left_out and not listing.unusable_files:
        return ProjectNotFound(project=node.project, indexes=listing.searched)
    return explain_no_match(listing, dependency.text, dependency.specifier, provider.target)


def _make_plan(pins: Mapping[Node, Release], wanted: Sequence[Dependency], provider: Provider) -> Plan:
    releases = {node.project: release for node, release in pins.items()}
    needs: dict[NormalizedName, dict[NormalizedName, None]] = {project: {} for project in releases}
    notes = [
        f"{pins[node]} has no extra {node.extra!r}"
        for node in pins
        if node.extra and node.extra not in provider.metadata_of(pins[node]).extras
    ]
    notes += [note for project in releases for note in provider.listings[project].notes]
    notes += [f"{each}: {text}" for each in releases.values() for text in provider.metadata_of(each).oddities]
    notes += [
        f"{each} is yanked{f': {each.yanked}' if each.yanked else ''}"
        for each in releases.values()
        if each.yanked is not None
    ]
    wishes: dict[NormalizedName, list[tuple[str, Dependency]]] = {project: [] for project in releases}
    for who, node, dependency in _asked(pins, wanted, provider):
        project = dependency.project
        release = releases.get(project)
        if release is None or not (dependency.url or dependency.admits(release.version)):
            reason = f"the resolver's answer breaks a requirement of {who} (a bug)"  # nothing unproven is mounted
            raise ResolutionLimit(requirements=(dependency.text,), reason=reason)
        wishes[project].append((who, dependency))
        if node and project != node.project:
            needs[node.project][project] = None
    order = _root_first([dependency.project for dependency in wanted], needs)
    return Plan(
        requirements=tuple(dependency.text for dependency in wanted),
        pins=tuple(_make_pin(releases[name], provider, tuple(needs[name]), wishes[name]) for name in order),
        notes=tuple(notes),
        skipped=tuple(_skipped(provider)),
    )


def _skipped(provider: Provider) -> Iterator[str]:
    """Yield what was passed over because it can't be read, and why."""
    for project, listing in sorted(provider.listings.items()):
        for name, why in listing.unusable_files[:_SKIPPED]:
            yield f"{project}: {name}: {why}"
        if len(listing.unusable_files) > _SKIPPED:
            yield f"{project}: and {len(listing.unusable_files) - _SKIPPED} more files like these"
    for release, why in provider.unusable.items():
        yield f"{release}: {why}"


def _asked(
    pins: Mapping[Node, Release], wanted: Sequence[Dependency], provider: Provider
) -> Iterator[tuple[str, Node | None, Dependency]]:
    """Yield (who, of what, requirement) for every requirement that counts in the answer."""
    for dependency in wanted:
        yield "you", None, dependency
    for node, release in pins.items():
        who = str(release)
        for dependency in provider.applicable(provider.metadata_of(release), node.extra):
            yield who, node, dependency


def _root_first(
    roots: Sequence[NormalizedName], needs: Mapping[NormalizedName, Mapping[NormalizedName, None]]
) -> list[NormalizedName]:
    order = list(dict.fromkeys(roots))
    for project in order:  # grows while it is walked: breadth first
        order += [name for name in needs[project] if name not in order]
    return order


def _make_pin(
    release: Release, provider: Provider, needs: tuple[str, ...], wishes: Sequence[tuple[str, Dependency]]
) -> Pin:
    file = release.file
    return Pin(
        name=release.project,
        version=release.row.version,
        filename=file.filename if file else "",
        url=file.url if file else "",
        digests=dict(file.digests) if file else {},
        size_bytes=file.size_bytes if file else None,
        upload_time=file.upload_time if file else "",
        provenance=file.provenance if file else "",
        requires_python=provider.metadata_of(release).requires_python,
        index=release.row.origin,
        installed_at=release.row.installed_at,
        needs=needs,
        wanted_by=tuple((who, dependency.text) for who, dependency in wishes),
        rejected=tuple(islice(_rejected(release, provider, wishes), _REJECTED)),
    )


def _rejected(
    taken: Release, provider: Provider, wishes: Sequence[tuple[str, Dependency]]
) -> Iterator[tuple[str, str]]:
    """Yield (version, why not) of the versions that are newer than the one taken, newest first."""
    listing = provider.listings[taken.project]
    releases = listing.releases
    usable = ((releases.version_at(place), place) for place in reversed(range(taken.bit + 1, len(releases))))
    omitted = listing.left_out.newer_than(taken.version)
    found: Iterable[tuple[Version, int | str]] = merge(usable, omitted, key=itemgetter(0), reverse=True)
    for version, place in found:
        if isinstance(place, str):
            yield str(version), place
            continue
        bound = next((f"{who} requires {wish.text}" for who, wish in wishes if not wish.admits(version)), "")
        release = releases[place]
        if bound:
            yield str(version), bound.replace("you requires", "you require")
        elif not provider.admits(release):
            yield str(version), "it is yanked" if release.yanked is not None else "it is a pre-release"
        elif release in provider.unusable:
            yield str(version), provider.unusable[release]
        elif taken.row.installed_at:
            yield str(version), "an installed version satisfies"
        elif provider.is_mounted(taken):
            yield str(version), "the version that is mounted satisfies"
        else:
            yield str(version), "its own requirements conflict with others"
