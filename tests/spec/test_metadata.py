"""Metadata that is kept: what comes back is what was read."""

import pytest
from packaging.requirements import Requirement

from remote_wheel.spec.metadata import Dependency


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a>=1",
        "A.b-c<2,>=1",
        "a==1.*",
        "a==1+local",
        "a[x]>1",
        "a===1",
        "a~=1.4,!=1.5",
        "a @ https://h/x.whl",
        "a!=1rc1",
    ],
)
def test_a_kept_requirement_is_the_one_that_was_read(text: str) -> None:
    kept = Dependency.of(text)
    assert str(kept.requirement) == str(Requirement(text)) == kept.text
    assert kept.requirement == Requirement(text)
