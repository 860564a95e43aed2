"""Requirements as the user writes them (PEP 508), read by `packaging`."""

from collections.abc import Mapping

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import InvalidRequirement
from remote_wheel.spec.mending import environment_for
from remote_wheel.spec.source import redact_text
from remote_wheel.spec.version import check_versions

__all__ = ["NormalizedName", "Requirement", "applies", "parse_requirement", "project_of", "shown"]


def parse_requirement(text: str) -> Requirement:
    """Parse *text*; raise InvalidRequirement with the place and the reason."""
    try:
        requirement = Requirement(text)
        check_versions(requirement.specifier)
    except ValueError as error:  # packaging's InvalidRequirement, and numbers too long for Python
        reason = str(error).splitlines()[0]
        raise InvalidRequirement(requirement=redact_text(text), reason=redact_text(reason)) from error
    return requirement


def applies(requirement: Requirement, environment: Mapping[str, str]) -> bool:
    """Whether the requirement's marker, if it has one, is true. Raises InvalidRequirement where it has no meaning."""
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate(environment_for(str(requirement.marker), dict(environment)))
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError) as error:
        reason = f"its marker can't be evaluated: {error}"
        raise InvalidRequirement(requirement=shown(requirement), reason=reason) from error


def shown(requirement: Requirement) -> str:
    """Return the requirement as text fit for messages and files: what may be secret in its URL is redacted."""
    return redact_text(str(requirement)) if requirement.url else str(requirement)


def project_of(requirement: Requirement) -> NormalizedName:
    """Return the project's normalised name (PEP 503)."""
    return canonicalize_name(requirement.name)
