"""The laws of sets, which the solver relies on."""

from hypothesis import given
from hypothesis import strategies as st

from remote_wheel.resolution.ranges import ReleaseSet

sets = st.integers(min_value=-(2**12), max_value=2**12).map(ReleaseSet)


@given(sets, sets)
def test_the_law_conflict_resolution_needs(x: ReleaseSet, y: ReleaseSet) -> None:
    assert x.is_subset((x - y) | y)


@given(sets, sets)
def test_de_morgan(x: ReleaseSet, y: ReleaseSet) -> None:
    assert ~(x & y) == ~x | ~y


@given(sets, sets)
def test_relation_agrees_with_its_parts(x: ReleaseSet, y: ReleaseSet) -> None:
    relation = x.relation(y)
    assert relation.is_subset == x.is_subset(y) == y.is_superset(x)
    assert relation.is_disjoint == x.is_disjoint(y)


def test_full_and_empty() -> None:
    assert ReleaseSet.empty().is_empty
    assert ~ReleaseSet.empty() == ReleaseSet.full()
    assert ReleaseSet.full() != None  # noqa: E711  # the solver compares with None
    assert hash(ReleaseSet(5)) == hash(ReleaseSet(5))
