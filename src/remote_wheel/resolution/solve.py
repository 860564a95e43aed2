"""Requirements in, plan out: PubGrub by nab-resolver, its answer checked before anyone relies on it."""

from collections.abc import Iterator, Mapping, Sequence

from nab_resolver.errors import ResolutionError as SolverError
from nab_resolver.errors import ResolutionTerminatedError
from nab_resolver.resolver import Resolver
from nab_resolver.types import RootRequirement
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from remote_wheel.errors import ProjectNotFound, ResolutionError, ResolutionLimit
from remote_wheel.index.candidates import Listing, Release, explain_no_match
from remote_wheel.index.target import Target
from remote_wheel.resolution.explain import explain_unsatisfiable
from remote_wheel.resolution.plan import Pin, Plan
from remote_wheel.resolution.provider import Catalog, Node, Policy, Provider
from remote_wheel.resolution.ranges import ReleaseSet
from remote_wheel.spec.requirement import project_of, shown


def solve(
    requirements: Sequence[Requirement], catalog: Catalog, target: Target, policy: Policy, *, max_rounds: int
) -> Plan:
    """Find the plan for *requirements* on *target*; requirements whose marker is false there are left out.

    Raises ResolutionError with the reason, or the catalogue's FetchError.
    """
    provider = Provider(catalog, target, policy)
    asked = [r for r in requirements if r.marker is None or r.marker.evaluate(target.environment)]
    wanted = [each for requirement in asked for each in provider.wanted_of(requirement)]
    clauses = provider.register_roots(wanted)
    for node, releases, requirement in clauses:
        if releases.is_empty:
            raise _no_match(provider, node, requirement, target)
    nowhere = Release(project=canonicalize_name("root"), version=Version("0"), bit=0)
    solver: Resolver[Node, Release] = Resolver(
        provider, max_iterations=max_rounds, range_type=ReleaseSet, root_version=nowhere
    )
    texts = tuple(shown(requirement) for requirement in wanted)
    try:
        solution = solver.solve([RootRequirement(node, rel, origin=shown(req)) for node, rel, req in clauses])
    except ResolutionTerminatedError as error:
        raise ResolutionLimit(requirements=texts, reason=str(error).splitlines()[0]) from error
    except SolverError as error:
        raise explain_unsatisfiable(error, provider, texts) from error
    return _make_plan(solution.pins, wanted, provider)


def _no_match(provider: Provider, node: Node, requirement: Requirement, target: Target) -> ResolutionError:
    listing = provider.listings[node.project]
    if not listing.releases and not listing.left_out and not listing.unusable_files:
        return ProjectNotFound(project=node.project, indexes=listing.searched)
    return explain_no_match(listing, shown(requirement), requirement.specifier, target)


def _make_plan(pins: Mapping[Node, Release], wanted: Sequence[Requirement], provider: Provider) -> Plan:
    releases = {node.project: release for node, release in pins.items()}
    asked: dict[NormalizedName, list[tuple[str, str]]] = {project: [] for project in releases}
    needs: dict[NormalizedName, dict[NormalizedName, None]] = {project: {} for project in releases}
    notes = [
        f"{pins[node]} has no extra {node.extra!r}"
        for node in pins
        if node.extra and node.extra not in provider.metadata_of(pins[node]).extras
    ]
    notes += [note for project in releases for note in _notes_of(provider.listings[project])]
    for requirement in wanted:
        _check(releases, requirement, "you")
        asked[project_of(requirement)].append(("you", shown(requirement)))
    for node, release in pins.items():
        metadata = provider.metadata_of(release)
        for requirement in provider.applicable(metadata, node.extra):
            _check(releases, requirement, str(release))
            project = project_of(requirement)
            asked[project].append((str(release), shown(requirement)))
            if project != node.project:
                needs[node.project][project] = None
    order = _root_first([project_of(requirement) for requirement in wanted], needs)
    return Plan(
        requirements=tuple(shown(requirement) for requirement in wanted),
        pins=tuple(_make_pin(releases[name], provider, tuple(needs[name]), tuple(asked[name])) for name in order),
        notes=tuple(notes),
    )


def _notes_of(listing: Listing) -> Iterator[str]:
    """Yield what the index says of a project that is no reason to refuse it (PEP 792)."""
    for page in listing.pages:
        if page.status != "active":
            yield f"{listing.project} is {page.status}{f': {page.status_reason}' if page.status_reason else ''}"


def _check(releases: Mapping[NormalizedName, Release], requirement: Requirement, who: str) -> None:
    """Refuse an answer of the solver that breaks a requirement: nothing unproven is mounted."""
    release = releases.get(project_of(requirement))
    if release is None or not (requirement.url or requirement.specifier.contains(release.version, True)):
        raise ResolutionLimit(
            requirements=(shown(requirement),),
            reason=f"the resolver's answer breaks a requirement of {who} (a bug)",
        )


def _root_first(
    roots: Sequence[NormalizedName], needs: Mapping[NormalizedName, Mapping[NormalizedName, None]]
) -> list[NormalizedName]:
    order = list(dict.fromkeys(roots))
    for project in order:  # grows while it is walked: breadth first
        order += [name for name in needs[project] if name not in order]
    return order


def _make_pin(
    release: Release, provider: Provider, needs: tuple[str, ...], wanted_by: tuple[tuple[str, str], ...]
) -> Pin:
    file = release.file
    return Pin(
        name=release.project,
        version=str(release.version),
        filename=file.filename if file else "",
        url=file.url if file else "",
        digests=dict(file.digests) if file else {},
        size_bytes=file.size_bytes if file else None,
        upload_time=file.upload_time if file else "",
        requires_python=str(provider.metadata_of(release).requires_python or ""),
        index=release.index,
        installed_at=release.installed_at,
        needs=needs,
        wanted_by=wanted_by,
    )
