"""Why a set of requirements can't be satisfied: the leaves of the solver's proof, in the user's terms."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from nab_resolver.errors import ResolutionError as SolverError
from nab_resolver.types import Incompatibility, IncompatibilityCause
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from remote_wheel.errors import Unsatisfiable
from remote_wheel.index.listing import Listing, Release
from remote_wheel.resolution.provider import Node, Provider, is_refusal
from remote_wheel.spec.dependency import Dependency

_FEW: Final = 3  # ways in which the releases of one project depend on another
_Edges = dict[tuple[Node, Node], dict[Release, None]]


def explain_unsatisfiable(error: SolverError, provider: Provider, required: Sequence[Dependency]) -> Unsatisfiable:
    """Turn the proof in *error* into sentences: what you require, what each release depends on, what there is."""
    proof = error.incompatibility
    leaves = [leaf for leaf in proof.walk() if leaf.cause_left is None] if proof else []
    asked = {str(leaf.origin): leaf for leaf in leaves if leaf.cause is IncompatibilityCause.ROOT}
    edges: _Edges = defaultdict(dict)
    for leaf in leaves:
        if leaf.cause is IncompatibilityCause.DEPENDENCY:
            parent, child, ruled_out = _edge(leaf, provider)
            edges[parent, child].update(dict.fromkeys(ruled_out))
    roots = dict.fromkeys(
        term.package.project for leaf in asked.values() for term in leaf.terms if isinstance(term.package, Node)
    )
    reasons = [
        sentence
        for (parent, child) in _from_the_roots(edges, roots, provider)
        for sentence in _sentences(parent, child, list(edges[parent, child]), provider)
    ]
    concerned = [*roots, *(child.project for _, child in edges if not is_refusal(child))]
    concerned += [leaf.terms[0].package.project for leaf in leaves if _is_no_versions(leaf)]
    parents = {parent.project for parent, _ in edges}
    known = [
        project
        for project in dict.fromkeys(concerned)
        # Of a project in the middle of a chain, what exists is of interest only where something was left out.
        if project in provider.listings and (project not in parents or _left_out(provider.listings[project], provider))
    ]
    taking_part = [each for each in required if each.text in asked]
    wanted = _wanted(edges, taking_part, provider)
    return Unsatisfiable(
        requirements=tuple(each.text for each in taking_part or required),
        reasons=tuple(dict.fromkeys(reasons)),
        notes=tuple(_what_exists(provider.listings[project], provider, wanted[project]) for project in known),
    )


def _wanted(edges: _Edges, asked: Iterable[Dependency], provider: Provider) -> dict[NormalizedName, list[SpecifierSet]]:
    """Return by project the versions that the requirements of a proof ask for."""
    wanted = dict.fromkeys(asked)
    for (parent, child), releases in edges.items():
        wanted |= {each: None for release in releases for each in provider.reasons(parent, child, release)}
    found: dict[NormalizedName, list[SpecifierSet]] = defaultdict(list)
    for each in wanted:
        found[each.project].append(each.specifier)
    return found


def _is_no_versions(leaf: Incompatibility[Any, Any]) -> bool:
    return leaf.cause is IncompatibilityCause.NO_VERSIONS and isinstance(leaf.terms[0].package, Node)


def _edge(leaf: Incompatibility[Any, Any], provider: Provider) -> tuple[Node, Node, Iterator[Release]]:
    parent = next(term for term in leaf.terms if term.is_positive())
    child = next((term for term in leaf.terms if not term.is_positive()), parent)
    releases = provider.listings[parent.package.project].releases
    return parent.package, child.package, (r for r in releases if r in parent.constraint)


def _from_the_roots(edges: _Edges, roots: Iterable[NormalizedName], provider: Provider) -> list[tuple[Node, Node]]:
    """Return the edges in the order in which somebody follows them who starts at what they asked for."""
    reached = dict.fromkeys(roots)
    ordered: dict[tuple[Node, Node], None] = {}
    while len(ordered) < len(edges):
        found = [edge for edge in edges if edge not in ordered and edge[0].project in reached]
        found = found or [edge for edge in edges if edge not in ordered]  # nothing leads there: the rest as it comes
        ordered |= dict.fromkeys(sorted(found, key=provider.order))
        reached |= dict.fromkeys(child.project for _, child in found)
    return list(ordered)


def _sentences(parent: Node, child: Node, releases: list[Release], provider: Provider) -> Iterator[str]:
    if is_refusal(child):
        by_reason: dict[str, list[Release]] = defaultdict(list)
        for release in releases:
            by_reason[provider.unusable.get(release, "its metadata is not known")].append(release)
        for reason, group in by_reason.items():
            yield f"{_subject(Node(parent.project, None), group, provider)} can't be used ({reason})"
        return
    by_text: dict[str, list[Release]] = defaultdict(list)
    for release in releases:
        if reasons := provider.reasons(parent, child, release):  # an extra's tie to its own project needs no words
            texts = dict.fromkeys(each.text.partition(";")[0].strip() for each in reasons)  # but for their markers
            by_text[" and ".join(texts)].append(release)
    if len(by_text) > _FEW:  # one by one they say less
        told = [release for release in releases if provider.reasons(parent, child, release)]
        example = next(reversed(by_text))
        yield f"{_subject(parent, told, provider)} depend on {child}, each in other versions ({example}, …)"
        return
    for text, group in by_text.items():
        yield f"{_subject(parent, group, provider)} depend{'s' if len(group) == 1 else ''} on {text}"


def _subject(node: Node, group: list[Release], provider: Provider) -> str:
    """Return the releases of one project as a reader would call them: all of them, a range, or a few."""
    listed = provider.listings[node.project].releases
    first, last = group[0], group[-1]
    if len(group) == 1:
        return f"{node} {first.version}"
    if len(group) == len(listed):
        return f"all versions of {node}"
    if last.bit - first.bit == len(group) - 1:  # no hole
        if first.bit == 0:
            return f"{node} {last.version} and older"
        if last.bit == len(listed) - 1:
            return f"{node} {first.version} and newer"
        return f"{node} {first.version} to {last.version}"
    return f"{node} {_versions(group)}"


def _versions(releases: Sequence[Release], most: int = 4) -> str:
    shown = ", ".join(str(release.version) for release in releases[-most:])
    return shown if len(releases) <= most else f"{shown} and {len(releases) - most} older"


def _what_exists(listing: Listing, provider: Provider, wanted: Sequence[SpecifierSet]) -> str:
    if not listing.releases and not listing.left_out:
        return f"{listing.project} was not found on {', '.join(listing.searched) or 'any index'}"
    admitted = [release for release in listing.releases if provider.admits(release)]
    usable = _versions(admitted) if admitted else "none"
    left_out = _left_out(listing, provider)
    # What a requirement would have taken says more than what is newest; it sorts stably.
    left_out.sort(key=lambda each: not all(specifier.contains(each[0], True) for specifier in wanted))
    named = ", ".join(f"{version} ({reason})" for version, reason in left_out[:4])
    rest = f" and {len(left_out) - 4} more" if len(left_out) > 4 else ""
    return f"usable versions of {listing.project}: {usable}{f'; left out: {named}{rest}' if left_out else ''}"


def _left_out(listing: Listing, provider: Provider) -> list[tuple[Version, str]]:
    """Return the versions that are there and don't count, with the reason, newest first."""
    found = [(release.version, "yanked") for release in listing.releases if release.yanked is not None]
    found += [
        (release.version, "a pre-release")
        for release in listing.releases
        if release.yanked is None and not provider.admits(release)
    ]
    return sorted([*found, *listing.left_out.items()], reverse=True)
