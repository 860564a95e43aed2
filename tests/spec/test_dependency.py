"""Dependencies in pieces: what is kept of a requirement is all of it."""

import pytest
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from remote_wheel.spec.dependency import Dependency


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a>=1",
        "A.b-c<2,>=1",
        "a==1.*",
        "a==1+local",
        "a[Y,x]>1",
        "a===1",
        "a~=1.4,!=1.5",
        "a @ https://h/x.whl",
        "a!=1rc1",
        'a[x]<3; python_version < "3.13" and extra == "dev"',
    ],
)
def test_a_dependency_is_the_requirement_that_was_read(text: str) -> None:
    dependency, requirement = Dependency.parse(text), Requirement(text)
    assert Requirement(dependency.text) == requirement
    assert dependency.specifier == requirement.specifier
    assert dependency.marker == str(requirement.marker or "")
    assert dependency.url == (requirement.url or "")


def test_names_are_normal_and_in_order() -> None:
    assert Dependency.parse("A.b_c[Y_y,x]>=1,<2") == (
        "A.b_c[Y_y,x]<2,>=1", "a-b-c", ("x", "y-y"), ("<2", ">=1"), "", ""
    )  # fmt: skip


def test_what_is_secret_in_a_url_is_not_kept() -> None:
    dependency = Dependency.parse("a @ https://me:secret@h/x.whl")
    assert "secret" not in repr(dependency)
    assert Dependency.parse("a @ //me:secret@").url == "***"


def test_a_dependency_admits_what_each_clause_contains() -> None:
    dependency = Dependency.parse("a>=1,!=1.5")
    assert [text for text in ("0.9", "1", "1.5", "2rc1") if dependency.admits(Version(text))] == ["1", "2rc1"]


def test_numbers_too_long_for_python_are_named() -> None:
    with pytest.raises(InvalidRequirement, match="'a>=1111"):
        Dependency.parse("a>=" + "1" * 5000)
