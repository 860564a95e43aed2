"""Versions as text that sorts."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from remote_wheel.spec.version import sort_key

NUMBER = st.sampled_from(("0", "1", "2", "9", "10", "11", "100", "1" * 70, "1" * 71, "1" * 200))
VERSION = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(("", "", "1!")),
    st.lists(NUMBER, min_size=1, max_size=4).map(".".join),
    st.just("") | st.builds("{}{}".format, st.sampled_from(("a", "b", "rc")), NUMBER),
    st.just("") | NUMBER.map(".post{}".format),
    st.just("") | NUMBER.map(".dev{}".format),
    st.just("") | st.lists(NUMBER | st.sampled_from(("a", "ab")), min_size=1).map(lambda parts: f"+{'.'.join(parts)}"),
).map(Version)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(VERSION, VERSION)
@example(Version("1+a.1"), Version("1+ab"))
@example(Version(f"1.post1.dev{'1' * 200}"), Version("1.post1"))
def test_keys_sort_as_versions_do(one: Version, other: Version) -> None:
    assert (sort_key(one) < sort_key(other)) == (one < other)
    assert (sort_key(one) == sort_key(other)) == (one == other)


@given(VERSION)
def test_a_key_is_one_line(version: Version) -> None:
    assert sort_key(version).splitlines() == [sort_key(version)]
