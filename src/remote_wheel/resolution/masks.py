"""Which releases of a listing fit: PEP 440's answers as bits, found by bisection where versions are in order."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from remote_wheel.index.candidates import Release

_PLAIN: Final = re.compile(r"\d+(\.\d+)*")


class Masks:
    """Bits over one listing's *releases*, oldest lowest: `all`, `yanked`, `pre` (pre-releases that are not installed).

    `opened` are the yanked ones that the user pinned. *preferred* is the version that is to be kept.
    """

    def __init__(self, releases: Sequence[Release], *, preferred: str, prefers_installed: bool) -> None:
        self._releases = releases
        self._fitting: dict[str, int] = {}
        self.all = (1 << len(releases)) - 1
        self.yanked = self._mask_of(lambda release: release.yanked is not None)
        self.pre = self._mask_of(lambda release: release.version.is_prerelease and not release.installed_at)
        kept = self._mask_of(lambda release: str(release.version) == preferred) if preferred else 0
        installed = self._mask_of(lambda release: bool(release.installed_at)) if prefers_installed else 0
        self._kept = tuple(mask for mask in (kept, installed) if mask)
        self.opened = 0

    def fitting(self, specifiers: SpecifierSet) -> int:
        """Return the releases that *specifiers* contain, pre-releases included."""
        mask = self.all
        for specifier in specifiers:
            text = str(specifier)
            if text not in self._fitting:
                self._fitting[text] = self._fit(specifier)
            mask &= self._fitting[text]
        return mask

    def prefer(self, mask: int, pre: bool) -> int:
        """Return the place of the release to take of *mask*, which has one: kept, installed, newest final, newest."""
        for kept in self._kept:
            if mask & kept:
                return (mask & kept).bit_length() - 1
        return (mask if pre else mask & ~self.pre or mask).bit_length() - 1

    def _mask_of(self, holds: Callable[[Release], bool]) -> int:
        return sum(1 << release.bit for release in self._releases if holds(release))

    def _fit(self, specifier: Specifier) -> int:
        """Return the releases that one clause contains.

        The bounds of a plain release cut the order of versions in two (PEP 440: what "<" leaves out, pre-releases of
        its version, and ">", post-releases, lie at the cut). For everything else the releases are asked one by one.
        """
        if _PLAIN.fullmatch(specifier.version):
            if specifier.operator in (">=", ">"):
                return self.all & ~((1 << self._cut(lambda version: not specifier.contains(version, True))) - 1)
            if specifier.operator in ("<=", "<"):
                return (1 << self._cut(lambda version: specifier.contains(version, True))) - 1
        return self._mask_of(lambda release: specifier.contains(release.version, True))

    def _cut(self, is_before: Callable[[Version], bool]) -> int:
        """Return how many releases, from the oldest on, are before the cut."""
        low, high = 0, len(self._releases)
        while low < high:
            middle = (low + high) // 2
            if is_before(self._releases[middle].version):
                low = middle + 1
            else:
                high = middle
        return low
