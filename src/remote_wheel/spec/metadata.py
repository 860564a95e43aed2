"""Core metadata of a distribution: the fields that planning and mounting need, strictly read."""

from dataclasses import dataclass

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from remote_wheel.errors import InvalidMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMetadata:
    """What a METADATA file (core metadata specification) says about one distribution."""

    name: NormalizedName
    version: Version
    requires: tuple[Requirement, ...] = ()
    requires_python: SpecifierSet | None = None
    extras: frozenset[NormalizedName] = frozenset()


def parse_metadata(data: bytes, *, subject: str) -> CoreMetadata:
    """Parse a METADATA file; raise InvalidMetadata, naming *subject*, where a needed field can't be read."""
    raw, _unparsed = parse_email(data)
    if "name" not in raw or "version" not in raw:
        raise InvalidMetadata(subject=subject, reason="it states no Name or no Version")
    try:
        return CoreMetadata(
            name=canonicalize_name(raw["name"]),
            version=Version(raw["version"]),
            requires=tuple(Requirement(text) for text in raw.get("requires_dist", ())),
            requires_python=SpecifierSet(raw["requires_python"]) if raw.get("requires_python") else None,
            extras=frozenset(canonicalize_name(extra) for extra in raw.get("provides_extra", ())),
        )
    except (InvalidVersion, InvalidRequirement, InvalidSpecifier) as error:
        raise InvalidMetadata(subject=subject, reason=str(error).splitlines()[0]) from error


def check_identity(metadata: CoreMetadata, name: NormalizedName, version: Version, *, subject: str) -> None:
    """Raise InvalidMetadata unless *metadata* is of the project and version that led to it."""
    if metadata.name != name or metadata.version != version:
        raise InvalidMetadata(
            subject=subject,
            reason=f"it says {metadata.name} {metadata.version} where {name} {version} was expected",
        )
