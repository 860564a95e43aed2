"""Masks: bisection gives what asking each release gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from remote_wheel.index.listing import Releases, Row
from remote_wheel.resolution.masks import Masks

RELEASE = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
SUFFIX = st.sampled_from(("", "", "", "a1", "rc2", ".post1", ".dev3", "a1.dev2", ".post1.dev1", "rc1.post2"))
PUBLIC = st.builds("{}{}".format, RELEASE, SUFFIX)
VERSION = st.builds(
    "{}{}{}".format, st.sampled_from(("", "", "1!")), PUBLIC, st.sampled_from(("", "", "", "+local", "+2"))
)
CLAUSE = st.one_of(
    st.builds("{}{}".format, st.sampled_from((">=", "<=", ">", "<", "==", "!=")), PUBLIC),
    st.builds("{}{}".format, st.sampled_from(("==", "!=", "===")), VERSION),
    st.builds("{}{}.*".format, st.sampled_from(("==", "!=")), RELEASE),
    st.builds("~={}.{}{}".format, st.integers(0, 3), st.integers(0, 3), SUFFIX),
    st.builds("{}1!{}".format, st.sampled_from((">=", "<", "==", "~=")), st.just("1.0")),
)


def releases_of(versions: list[str]) -> Releases:
    ordered = sorted({Version(text) for text in versions})
    pre = sum(1 << bit for bit, version in enumerate(ordered) if version.is_prerelease)
    return Releases(canonicalize_name("x"), [Row(str(version), None) for version in ordered], pre=pre)


@settings(max_examples=1500, deadline=None)
@given(st.lists(VERSION, max_size=25), st.lists(CLAUSE, max_size=3).map(",".join))
@pytest.mark.slow
def test_bisection_is_right(versions: list[str], text: str) -> None:
    releases, specifiers = releases_of(versions), SpecifierSet(text)
    masks = Masks(releases, preferred="", prefers_installed=False)
    expected = [release.bit for release in releases if specifiers.contains(release.version, prereleases=True)]
    mask = masks.fitting(map(str, specifiers))
    assert [bit for bit in range(len(releases)) if mask >> bit & 1] == expected


def test_what_is_preferred() -> None:
    releases = releases_of(["1", "2", "3", "4rc1"])
    plain = Masks(releases, preferred="", prefers_installed=False)
    assert plain.prefer(0b1111, pre=False) == 2
    assert plain.prefer(0b1111, pre=True) == 3
    assert plain.prefer(0b1000, pre=False) == 3
    kept = Masks(releases, preferred="2", prefers_installed=False)
    assert kept.prefer(0b1111, pre=True) == 1
    assert kept.prefer(0b1101, pre=True) == 3
