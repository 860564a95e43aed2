"""The targets, by hypothesis: anything, and right input with something changed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.hostile import METADATA
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


@pytest.mark.parametrize("name", ["lock", "requirements", "metadata", "record", "requirement", "script", "settings"])
@EXAMPLES
@given(text=st.text(max_size=500))
def test_any_text(name: str, text: str) -> None:
    TARGETS[name][0](text.encode("utf-8", "surrogatepass"))


NESTED = {
    "requirement": b"a; " + b"(" * 1500 + b"os_name=='x'" + b")" * 1500,
    "script": b"x = " + b"[" * 3000 + b"]" * 3000,
    "settings": b"x = " + b"[" * 3000 + b"]" * 3000,
    "lock": b"x = " + b"[" * 3000 + b"]" * 3000,
    "metadata": METADATA + b"Requires-Dist: a; " + b"(" * 1500 + b"os_name=='x'" + b")" * 1500 + b"\n",
    "requirements": b"a; " + b"(" * 1500 + b"os_name=='x'" + b")" * 1500 + b"\n",
    "page": b"[" * 100_000,
}


@pytest.mark.parametrize("name", NESTED)
def test_what_is_nested_deeply(name: str) -> None:
    TARGETS[name][0](NESTED[name])


@pytest.mark.parametrize(
    "text", ["tool.uv.index = 5", "tool.uv.sources.a.git = 5", "tool.uv = 5", "tool = 5", "x = 1" + "0" * 5000]
)
def test_tables_of_other_kinds(text: str) -> None:
    for name in ("script", "settings", "lock"):
        TARGETS[name][0](text.encode())
