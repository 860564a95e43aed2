"""Why a set of requirements can't be satisfied: the leaves of the solver's proof, in the user's terms."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from nab_resolver.errors import ResolutionError as SolverError
from nab_resolver.types import Incompatibility, IncompatibilityCause

from remote_wheel.errors import Unsatisfiable
from remote_wheel.index.candidates import Listing, Release
from remote_wheel.resolution.provider import Node, Provider, is_refusal


def explain_unsatisfiable(error: SolverError, provider: Provider, requirements: Sequence[str]) -> Unsatisfiable:
    """Turn the proof in *error* into sentences: what you asked, what each release asks, what exists."""
    proof = error.incompatibility
    leaves = [leaf for leaf in proof.walk() if leaf.cause_left is None] if proof else []
    chains = [f"you require {leaf.origin}" for leaf in leaves if leaf.cause is IncompatibilityCause.ROOT]
    edges: dict[tuple[Node, Node], dict[Release, None]] = defaultdict(dict)
    for leaf in leaves:
        if leaf.cause is IncompatibilityCause.DEPENDENCY:
            parent, child, ruled_out = _edge(leaf, provider)
            edges[parent, child].update(dict.fromkeys(ruled_out))
    for (parent, child), releases in edges.items():
        chains += _sentences(parent, child, list(releases), provider)
    concerned = dict.fromkeys(child.project for _, child in edges if not is_refusal(child))
    concerned |= dict.fromkeys(leaf.terms[0].package.project for leaf in leaves if _is_no_versions(leaf))
    notes = [_what_exists(provider.listings[project]) for project in concerned if project in provider.listings]
    return Unsatisfiable(requirements=tuple(requirements), chains=(*dict.fromkeys(chains), *notes))


def _is_no_versions(leaf: Incompatibility[Any, Any]) -> bool:
    return leaf.cause is IncompatibilityCause.NO_VERSIONS and isinstance(leaf.terms[0].package, Node)


def _edge(leaf: Incompatibility[Any, Any], provider: Provider) -> tuple[Node, Node, Iterator[Release]]:
    parent = next(term for term in leaf.terms if term.is_positive())
    child = next((term for term in leaf.terms if not term.is_positive()), parent)
    releases = provider.listings[parent.package.project].releases
    return parent.package, child.package, (r for r in releases if r in parent.constraint)


def _sentences(parent: Node, child: Node, releases: list[Release], provider: Provider) -> Iterator[str]:
    if is_refusal(child):
        for release in releases:
            yield f"{release} can't be used ({provider.unusable.get(release, 'its metadata is not known')})"
        return
    texts = provider.reasons.get((parent, child), {})
    by_text: dict[str, list[Release]] = defaultdict(list)
    for release in releases:
        if release in texts:  # an extra's tie to its own project needs no words
            by_text[texts[release].partition(";")[0].strip()].append(release)
    for text, group in by_text.items():
        is_every = len(group) == len(provider.listings[parent.project].releases) > 1
        subject = f"every usable version of {parent}" if is_every else f"{parent} {_versions(group)}"
        yield f"{subject} depends on {text}"


def _versions(releases: list[Release], most: int = 4) -> str:
    shown = ", ".join(str(release.version) for release in releases[-most:])
    return shown if len(releases) <= most else f"{shown} and {len(releases) - most} older"


def _what_exists(listing: Listing) -> str:
    if not listing.releases and not listing.left_out:
        return f"{listing.project} was not found on {', '.join(listing.searched) or 'any index'}"
    usable = _versions(list(listing.releases)) if listing.releases else "none"
    left_out = [f"{version} ({reason})" for version, reason in sorted(listing.left_out.items(), reverse=True)]
    left_out += [f"{r.version} (yanked)" for r in listing.releases if r.yanked is not None]
    rest = f"; left out: {', '.join(left_out[:4])}" if left_out else ""
    return f"usable versions of {listing.project}: {usable}{rest}"
