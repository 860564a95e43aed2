"""What a release or the user depends on, in pieces of text: read once, and nothing of it parsed to compare it."""

from typing import Final, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from remote_wheel.spec.requirement import shown
from remote_wheel.spec.source import redact
from remote_wheel.spec.version import check_versions, parse_clause

_SHOWN: Final = 80  # characters of a requirement that a message has


class Dependency(NamedTuple):
    """A requirement (PEP 508), normalised, as it is planned with and kept: its text may be shown, and so may its URL.

    `clauses` are those of its specifier (PEP 440), sorted, `marker` is empty where there is none.
    """

    text: str
    project: NormalizedName
    extras: tuple[NormalizedName, ...] = ()
    clauses: tuple[str, ...] = ()
    marker: str = ""
    url: str = ""

    @classmethod
    def parse(cls, text: str) -> "Dependency":
        """Read a requirement; raise packaging's InvalidRequirement, which names it."""
        try:
            requirement = Requirement(text)
            check_versions(requirement.specifier)
        except ValueError as error:  # InvalidRequirement, and numbers too long for Python
            named = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            raise InvalidRequirement(f"{named!r}: {str(error).splitlines()[0]}") from error
        return cls.of(requirement)

    @classmethod
    def of(cls, requirement: Requirement) -> "Dependency":
        """Take a requirement that was read apart."""
        return cls(
            text=shown(requirement),
            project=canonicalize_name(requirement.name),
            extras=tuple(sorted(map(canonicalize_name, requirement.extras))),
            clauses=tuple(sorted(map(str, requirement.specifier))),
            marker=str(requirement.marker or ""),
            url=(redact(requirement.url) or "***") if requirement.url else "",  # one that is all secret is one, too
        )

    @property
    def specifier(self) -> SpecifierSet:
        """The clauses as one value; each look makes another."""
        return SpecifierSet(",".join(self.clauses))

    def admits(self, version: Version) -> bool:
        """Whether each clause contains *version*, which may be a pre-release."""
        return all(parse_clause(clause).contains(version, prereleases=True) for clause in self.clauses)
