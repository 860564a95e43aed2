"""Requirements as the user writes them (PEP 508), read by `packaging`."""

from packaging.requirements import InvalidRequirement as PackagingInvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidRequirement

__all__ = ["NormalizedName", "Requirement", "parse_requirement", "project_of"]


def parse_requirement(text: str) -> Requirement:
    """Parse *text*; raise InvalidRequirement with the place and the reason."""
    try:
        return Requirement(text)
    except PackagingInvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidRequirement(requirement=text, reason=reason) from error


def project_of(requirement: Requirement) -> NormalizedName:
    """Return the project's normalised name (PEP 503)."""
    return canonicalize_name(requirement.name)
