"""Points in time as the user writes them: a date, a moment, or an age."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.errors import UsageError
from remote_wheel.spec.empty import EMPTY

_AGE: Final = r"(?i)P?(\d+)\s*(h|hours?|d|days?|w|weeks?)"
_HOURS: Final = {"h": 1, "d": 24, "w": 168}
_DATE: Final = r"\d{4}-\d{2}-\d{2}"
_NEVER: Final = ("none", "false")


class Cutoffs(NamedTuple):
    """Up to when files count: `moment` for every project but those of `projects`; None is no bound."""

    moment: datetime | None = None
    projects: Mapping[NormalizedName, datetime | None] = EMPTY

    def of(self, project: NormalizedName) -> datetime | None:
        """Return the bound of *project*."""
        return self.projects.get(project, self.moment)


def parse_cutoffs(texts: Iterable[str], now: datetime) -> Cutoffs:
    """Read ``2026-01-31``, ``2026-01-31T12:00:00Z``, ``7d``, or ``PROJECT=`` one of these or ``none``.

    A date counts whole, in UTC, as in uv. Raises UsageError.
    """
    moment: datetime | None = None
    projects: dict[NormalizedName, datetime | None] = {}
    for text in texts:
        project, equals, value = text.partition("=")
        if equals:
            projects[canonicalize_name(project.strip())] = _parse(value.strip(), now)
        else:
            moment = _parse(text.strip(), now)
    return Cutoffs(moment=moment, projects=projects)


def is_age(text: str) -> bool:
    """Whether a cutoff is an age, and so another moment each time."""
    return bool(re.fullmatch(_AGE, text.rpartition("=")[2].strip()))


def parse_moment(text: str) -> datetime | None:
    """Read an index's upload time (RFC 3339); None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse(text: str, now: datetime) -> datetime | None:
    if text.lower() in _NEVER:
        return None
    if age := re.fullmatch(_AGE, text):
        return now - timedelta(hours=int(age[1]) * _HOURS[age[2][0].lower()])
    moment = parse_moment(text)
    if moment is None:
        way = "Write a date (2026-01-31), a moment (2026-01-31T12:00:00Z) or an age (7d), alone or as PROJECT=…"
        raise UsageError(message=f"exclude_newer={text!r} is no point in time", way_out=way)
    return moment + timedelta(days=1) if re.fullmatch(_DATE, text) else moment
