"""Points in time as users write them."""

from datetime import UTC, datetime

import pytest
from packaging.utils import canonicalize_name

from remote_wheel.errors import UsageError
from remote_wheel.spec.cutoff import parse_cutoffs, parse_moment

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-02-01T00:00:00+00:00"),  # the day counts whole
        ("2026-01-31T12:30:00Z", "2026-01-31T12:30:00+00:00"),
        ("2026-01-31T12:30:00+02:00", "2026-01-31T12:30:00+02:00"),
        ("2026-01-31T12:30:00", "2026-01-31T12:30:00+00:00"),
        ("7d", "2026-06-08T12:00:00+00:00"),
        ("P7D", "2026-06-08T12:00:00+00:00"),
        ("2 weeks", "2026-06-01T12:00:00+00:00"),
        ("36h", "2026-06-14T00:00:00+00:00"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    moment = parse_cutoffs([text], NOW).moment
    assert moment is not None
    assert moment.isoformat() == expected


def test_projects_have_their_own() -> None:
    cutoffs = parse_cutoffs(["7d", "My_Thing=none", "other=2026-01-01"], NOW)
    assert cutoffs.of(canonicalize_name("my-thing")) is None
    assert cutoffs.of(canonicalize_name("third")) == cutoffs.moment
    assert cutoffs.of(canonicalize_name("other")) == datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("text", ["soon", "7", "7 parsecs", "2026-13-01", "x=", ""])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no point in time"):
        parse_cutoffs([text], NOW)


def test_upload_times() -> None:
    assert parse_moment("2024-11-08T17:25:46.184412Z") == datetime(2024, 11, 8, 17, 25, 46, 184412, tzinfo=UTC)
    assert parse_moment("yesterday") is None
