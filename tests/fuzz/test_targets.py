"""The targets, by hypothesis: anything, and right input with something changed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

EXAMPLES = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# (where, how many bytes go, what comes in their place)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4)


def changed(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for place, gone, new in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + gone :]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_right_input_is_read(name: str) -> None:
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)


@pytest.mark.parametrize("name", TARGETS)
@EXAMPLES
@given(data=st.binary(max_size=2000))
def test_anything(name: str, data: bytes) -> None:
    TARGETS[name][0](data)


@pytest.mark.parametrize("name", TARGETS)
@EXAMPLES
@given(changes=CHANGES, at=st.integers(0, 9))
def test_right_input_with_something_changed(name: str, changes: list[tuple[float, int, bytes]], at: int) -> None:
    target, seeds = TARGETS[name]
    target(changed(seeds[at % len(seeds)], changes))


@pytest.mark.parametrize("name", ["lock", "requirements", "metadata", "record"])
@EXAMPLES
@given(text=st.text(max_size=500))
def test_any_text(name: str, text: str) -> None:
    TARGETS[name][0](text.encode("utf-8", "surrogatepass"))
