"""Requirements as the user writes them (PEP 508), read by `packaging`."""

from packaging.requirements import InvalidRequirement as PackagingInvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidRequirement
from remote_wheel.spec.source import redact_text

__all__ = ["NormalizedName", "Requirement", "parse_requirement", "project_of", "shown"]


def parse_requirement(text: str) -> Requirement:
    """Parse *text*; raise InvalidRequirement with the place and the reason."""
    try:
        return Requirement(text)
    except PackagingInvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidRequirement(requirement=redact_text(text), reason=redact_text(reason)) from error


def shown(requirement: Requirement) -> str:
    """Return the requirement as text fit for messages and files: what may be secret in its URL is redacted."""
    return redact_text(str(requirement)) if requirement.url else str(requirement)


def project_of(requirement: Requirement) -> NormalizedName:
    """Return the project's normalised name (PEP 503)."""
    return canonicalize_name(requirement.name)
