"""The interpreter and platform a plan is for; the one place that asks the machine."""

from dataclasses import dataclass

from packaging.markers import default_environment
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, sys_tags
from packaging.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Python version, compatible tags from best to worst (PEP 425) and marker environment (PEP 508)."""

    python: Version
    tag_ranks: dict[Tag, int]
    environment: dict[str, str]

    def admits_python(self, requires_python: SpecifierSet) -> bool:
        """Whether a ``Requires-Python`` is met; a pre-release interpreter counts as its release, as in pip."""
        return requires_python.contains(self.python.base_version, prereleases=True)

    def rank(self, tags: frozenset[Tag]) -> int | None:
        """Return the best rank of *tags*, 0 the best; None where none fits."""
        ranks = [rank for tag in tags if (rank := self.tag_ranks.get(tag)) is not None]
        return min(ranks, default=None)

    @property
    def best_tags(self) -> tuple[str, ...]:
        """A few of the fitting tags, best first, for messages."""
        return tuple(str(tag) for tag in list(self.tag_ranks)[:4])


def target_of_this_machine() -> Target:
    """Ask this interpreter and platform."""
    environment = {key: str(value) for key, value in default_environment().items()}
    return Target(
        python=Version(environment["python_full_version"].rstrip("+")),
        tag_ranks={tag: rank for rank, tag in enumerate(sys_tags())},
        environment=environment,
    )
