"""Which releases of a listing fit: PEP 440's answers as bits, found by bisection where versions are in order."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from packaging.specifiers import Specifier
from packaging.version import Version

from remote_wheel.index.listing import Releases
from remote_wheel.spec.version import parse_clause, parse_version

_PLAIN: Final = re.compile(r"\d+(\.\d+)*")


class Masks:
    """Bits over one listing's *releases*, oldest lowest: `all`, `yanked`, `pre` (pre-releases that are not installed).

    `opened` are the yanked ones that the user pinned, `preferred` is the one of the version *preferred*.
    """

    def __init__(self, releases: Releases, *, preferred: str, prefers_installed: bool) -> None:
        self._releases = releases
        self._fitting: dict[str, int] = {}
        self.all = (1 << len(releases)) - 1
        self.yanked, self.pre = releases.yanked, releases.pre
        place, is_there = releases.place_of(parse_version(preferred)) if preferred else (0, False)
        self.preferred = is_there << place  # none where it is not there
        self._kept = tuple(mask for mask in (self.preferred, releases.installed * prefers_installed) if mask)
        self.opened = 0

    def fitting(self, clauses: Iterable[str]) -> int:
        """Return the releases that each of *clauses* (PEP 440, normalised) contains, pre-releases included."""
        mask = self.all
        for clause in clauses:
            fitting = self._fitting.get(clause)
            if fitting is None:
                fitting = self._fitting[clause] = self._fit(clause)
            mask &= fitting
        return mask

    def prefer(self, mask: int, pre: bool) -> int:
        """Return the place of the release to take of *mask*, which has one: kept, installed, newest final, newest."""
        for kept in self._kept:
            if mask & kept:
                return (mask & kept).bit_length() - 1
        return (mask if pre else mask & ~self.pre or mask).bit_length() - 1

    def _fit(self, clause: str) -> int:
        """Return the releases that one clause contains.

        A bound cuts the order of versions in two (PEP 440: what "<" leaves out beside, pre-releases of its version, and
        ">", post-releases, lie at the cut where that is a plain release); a prefix, and a version with its local ones,
        are one run of it, from its first development release on. For everything else the releases are asked one by one.
        """
        specifier = parse_clause(clause)
        operator, text = specifier.operator, specifier.version
        if operator == "!=":
            return self.all & ~self._fit(f"=={text}")
        if operator == "~=":  # PEP 440: "~= V.N" is ">= V.N, == V.*", whatever suffix V.N has
            lowest = Version(text)
            return self._fit(f">={text}") & self._prefixed(lowest.epoch, lowest.release[:-1])
        if operator == "==" and text.endswith(".*"):
            prefix = Version(text[:-2])
            return self._prefixed(prefix.epoch, prefix.release)
        if operator == "==":
            return self._same(parse_version(text), specifier)
        if operator == ">=":
            return self.all & ~self._before(text)
        if operator == "<" and _PLAIN.fullmatch(text):
            return self._before(f"{text}.dev0")
        if operator == ">" and _PLAIN.fullmatch(text):
            return self.all & ~self._while(lambda version: not specifier.contains(version, True))
        if operator == "<=":
            return self._while(lambda version: specifier.contains(version, True))
        return sum(1 << release.bit for release in self._releases if specifier.contains(release.version, True))

    def _prefixed(self, epoch: int, prefix: tuple[int, ...]) -> int:
        """Return the releases whose version starts with *prefix*; PEP 440 pads with zeros to compare."""
        head = ".".join(map(str, prefix[:-1]))
        first, after = (f"{epoch}!{head}{'.' * bool(head)}{last}.dev0" for last in (prefix[-1], prefix[-1] + 1))
        return self._before(after) & ~self._before(first)

    def _same(self, version: Version, specifier: Specifier) -> int:
        mask, (place, _) = 0, self._releases.place_of(version)
        while place < len(self._releases) and specifier.contains(self._releases.version_at(place), True):
            mask |= 1 << place
            place += 1
        return mask

    def _before(self, text: str) -> int:
        """Return the releases that are older than a version."""
        return (1 << self._releases.place_of(parse_version(text))[0]) - 1

    def _while(self, holds: Callable[[Version], bool]) -> int:
        """Return the releases, from the oldest on, of which *holds* is true."""
        places = range(len(self._releases))
        return (1 << bisect_left(places, True, key=lambda place: not holds(self._releases.version_at(place)))) - 1
