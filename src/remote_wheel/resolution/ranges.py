"""Sets of releases as bits of an integer, so that PEP 440's membership is exact and set algebra is one machine word.

A project's listing is finite, which is all a resolution ever needs: bit *n* stands for its *n*-th usable release.
Python's integers are two's complement of unlimited width, so -1 holds every release of every listing.
"""

from typing import Any

from nab_resolver.types import RangeRelation

from remote_wheel.index.listing import Release


class ReleaseSet:
    """An immutable set of one project's releases; nab-resolver's RangeProtocol."""

    __slots__ = ("mask",)

    def __init__(self, mask: int) -> None:
        self.mask = mask

    @classmethod
    def empty(cls) -> "ReleaseSet":
        """Return the set of no release."""
        return cls(0)

    @classmethod
    def full(cls) -> "ReleaseSet":
        """Return the set of every release."""
        return cls(-1)

    @classmethod
    def singleton(cls, version: Release) -> "ReleaseSet":
        """Return the set of one release."""
        return cls(1 << version.bit)

    @property
    def is_empty(self) -> bool:
        """Whether no release is in it."""
        return self.mask == 0

    def __contains__(self, version: Release, /) -> bool:
        """Whether *version* is in it."""
        return bool(self.mask >> version.bit & 1)

    def __and__(self, other: Any) -> "ReleaseSet":
        """Return what is in both."""
        return ReleaseSet(self.mask & other.mask)

    def __or__(self, other: Any) -> "ReleaseSet":
        """Return what is in either."""
        return ReleaseSet(self.mask | other.mask)

    def __invert__(self) -> "ReleaseSet":
        """Return what is not in it."""
        return ReleaseSet(~self.mask)

    def __sub__(self, other: Any) -> "ReleaseSet":
        """Return what is in this and not in *other*."""
        return ReleaseSet(self.mask & ~other.mask)

    def is_subset(self, other: "ReleaseSet") -> bool:
        """Whether all of it is in *other*."""
        return self.mask & ~other.mask == 0

    def is_superset(self, other: "ReleaseSet") -> bool:
        """Whether it holds all of *other*."""
        return other.mask & ~self.mask == 0

    def is_disjoint(self, other: "ReleaseSet") -> bool:
        """Whether no release is in both."""
        return self.mask & other.mask == 0

    def relation(self, other: "ReleaseSet") -> RangeRelation:
        """Return how it lies to *other*."""
        if not self.mask:
            return RangeRelation.EMPTY
        if not self.mask & other.mask:
            return RangeRelation.DISJOINT
        return RangeRelation.OVERLAPPING if self.mask & ~other.mask else RangeRelation.SUBSET

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same releases; the resolver also compares with None."""
        return isinstance(other, ReleaseSet) and self.mask == other.mask

    def __hash__(self) -> int:
        """Hash by the bits."""
        return hash(self.mask)

    def __repr__(self) -> str:
        return f"ReleaseSet({self.mask:#b})"
