"""Old forms of requirements: those that uv reads are read, with a note; what it passes over is passed over.

The table is what uv 0.13.9 made of each, for a project whose newest release has it (``uv pip compile``).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from remote_wheel.errors import InvalidMetadata
from remote_wheel.spec.mending import mend, mend_specifier
from remote_wheel.spec.metadata import dump_metadata, load_metadata, parse_metadata
from remote_wheel.spec.requirement import applies, parse_requirement
from tests.conftest import Python
from tests.loopback import LoopbackIndex

HEAD = b"Metadata-Version: 2.1\nName: x\nVersion: 1\n"
READ = [
    ("foo (>=1.*)", "foo>=1", "9"),
    ("foo>=1.0.*,<2", "foo<2,>=1.0", "1.5"),
    ("foo (>=1.0<2.0)", "foo<2.0,>=1.0", "1.5"),
    ("foo (>dev)", "foo>0.0.0.dev0", "9"),
    ("foo (>='1.0')", "foo>=1.0", "9"),
    ("foo>='1.0'", "foo>=1.0", "9"),
    ('foo>="1.0"', "foo>=1.0", "9"),
    ("foo >= 1.0.0.*", "foo>=1.0.0", "9"),
    ("foo (>=2.7,!=3.0*,!=3.1*)", "foo!=3.0.*,!=3.1.*,>=2.7", "9"),
    ("foo !=~1.0", "foo!=1.0.*", "9"),
    ("foo (>=1.0,)", "foo>=1.0", "9"),
    ("foo>1.0.*", "foo>1.0", "9"),
    ("foo<2.*", "foo<2", "1.5"),
    ("foo<=2.*", "foo<=2", "1.5"),
    ("foo; python_version >= '3.6.*'", 'foo; python_version >= "3.6"', "9"),
    ("foo; python_version > '3.6.*'", 'foo; python_version > "3.6"', "9"),
    ("foo>=1.0;python_version>='3.6.*' and python_version<'4'", None, "9"),
    ("foo; platform_release >= '2'", 'foo; platform_release >= "2"', "9"),
    ("foo (>=1.0);python_version<='3.*'", 'foo>=1.0; python_version <= "3"', ""),
    ("foo; python_version in '3.6 3.7'", 'foo; python_version in "3.6 3.7"', ""),
    ("foo; os_name >= 'a'", 'foo; os_name == "<"', ""),
]
PASSED_OVER = [
    "foo (~=1)", "foo~=1", "foo ==1.0.dev-r1", "foo (=>1.0)", "foo!=1.*.0", "foo>=1.0.post*", "foo (>=0.8.0>)",
    "foo >=1.0,)", "foo ^1.0", "foo =1.0", "foo (1.0)", "foo 1.0", "foo~=1.0.*", "foo; sys_platform == win32",
]  # fmt: skip


@pytest.mark.parametrize(("old", "meant", "_taken"), READ, ids=[old for old, _, _ in READ])
def test_what_is_read(old: str, meant: str | None, _taken: str) -> None:
    metadata = parse_metadata(HEAD + f"Requires-Dist: {old}\n".encode(), subject="x")
    (dependency,) = metadata.requires
    if meant is not None:
        assert dependency.text == str(Requirement(meant))
    assert load_metadata(dump_metadata(metadata)) == metadata
    if "in '3.6" not in old and "platform_release" not in old:
        ((told),) = metadata.oddities
        assert told.startswith(f"it requires {old!r}, which is read as ")


@pytest.mark.parametrize("old", PASSED_OVER)
def test_what_is_passed_over(old: str) -> None:
    with pytest.raises(InvalidMetadata):
        parse_metadata(HEAD + f"Requires-Dist: {old}\n".encode(), subject="x")


@pytest.mark.parametrize(("old", "_meant", "taken"), READ, ids=[old for old, _, _ in READ])
def test_the_newest_release_is_taken_and_told(
    index: LoopbackIndex, python: Python, old: str, _meant: str | None, taken: str
) -> None:
    index.add("foo", "1.5")
    index.add("foo", "9")
    index.add("top", "2", requires=[old])
    index.add("top", "1")
    code = """
        import remote_wheel
        plan = remote_wheel.resolve("top")
        print(plan["top"].version, plan["foo"].version if "foo" in plan else "")
        print(*plan.notes, sep="\\n")
    """
    first, *notes = python(code).stdout.splitlines()
    assert first.strip() == f"2 {taken}".strip()
    if "in '3.6" not in old and "platform_release" not in old:
        assert any(note.startswith(f"top 2: it requires {old!r}, which is read as") for note in notes)


def test_requires_python_is_mended() -> None:
    metadata = parse_metadata(HEAD + b"Requires-Python: >=3.5.*\n", subject="x")
    assert metadata.requires_python == ">=3.5"
    assert metadata.oddities == ("it requires Python '>=3.5.*', which is read as '>=3.5'",)
    assert parse_metadata(HEAD + b"Requires-Python: nonsense\n", subject="x").requires_python == ""


@pytest.mark.parametrize("release", ["6.18.44-fc-v782", "5.15.0-1057-azure", "not a number", ""])
def test_a_kernels_release_has_an_order(release: str) -> None:
    environment = {"platform_release": release, "platform_version": "#1 SMP"}
    expected = release[:1].isdigit()
    assert applies(parse_requirement("x; platform_release >= '2'"), environment) == expected
    assert not applies(parse_requirement("x; platform_release >= '20'"), environment)


VALID = st.from_regex(
    r"\A[a-z]{1,5}( ?(\[[a-z]{1,3}\])?)((>=|<|==|!=|~=|>|<=)[0-9]{1,2}\.[0-9]{1,2}(\.\*)?(,(>=|<)[0-9]{1,2})?)?"
    r"(; ?(python_version (>=|<) '3\.[0-9]'|os_name == '[a-z]{1,5}'))?\Z"
)


@given(VALID)
def test_what_is_right_is_left_alone(text: str) -> None:
    try:
        right = Requirement(text)
    except ValueError:
        return
    assert str(Requirement(mend(text))) == str(right)
    assert mend_specifier(str(right.specifier)) == str(right.specifier)
