"""Errors are records: they cross a process, and tell themselves without failing."""

import inspect
import json
import pickle

import pytest

from remote_wheel import errors
from remote_wheel.errors import RemoteWheelError, rebuild_error

CONCRETE = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, RemoteWheelError) and cls.__str__ is not RemoteWheelError.__str__
]


def _example(cls: type[RemoteWheelError]) -> RemoteWheelError:
    values: dict[str, object] = {}
    for name in cls._facts:
        values[name] = ("one", "two") if name.endswith("s") and name not in ("reason",) else f"the {name}"
    values.update({"problems": (("a.py", "gone"),)} if "problems" in values else {})
    values.update({"wanted_by": (("app", "lib<2"),)} if cls is errors.AlreadyImported else {})
    return cls(**values)


@pytest.mark.parametrize("cls", CONCRETE, ids=lambda cls: cls.__name__)
def test_an_error_tells_itself_and_crosses_a_process(cls: type[RemoteWheelError]) -> None:
    error = _example(cls)
    assert "\n" not in str(error)
    assert str(error)
    assert isinstance(error.hint, str)
    assert isinstance(error.detail, str)
    crossed = rebuild_error(cls.__name__, json.loads(json.dumps(error.facts())))
    pickled = pickle.loads(pickle.dumps(error))
    for other in (crossed, pickled):
        assert type(other) is cls
        assert other.facts() == error.facts()
        assert str(other) == str(error)


@pytest.mark.parametrize("cls", CONCRETE, ids=lambda cls: cls.__name__)
def test_an_error_says_when_it_is_raised(cls: type[RemoteWheelError]) -> None:
    assert cls.__doc__
    assert cls.__doc__.startswith(("Raised", "Base"))


def test_facts_are_checked() -> None:
    with pytest.raises(TypeError, match="missing facts"):
        errors.NotFound(url="x")  # type: ignore[call-arg]  # that is the point
    with pytest.raises(TypeError, match="unknown facts"):
        errors.NotFound(url="x", reason="y", colour="z")  # type: ignore[call-arg]  # that is the point


def test_nothing_from_elsewhere_reaches_a_terminal_raw() -> None:
    """An error that nobody catches is shown by the interpreter, not by a printer of ours."""
    bad = "a\x1b]0;title\x07\u202eb\u200bc\udc80\nerror: no"
    for error in (
        errors.InvalidIndexPage(url=f"https://index.example/{bad}", reason=bad),
        errors.UnsafeArchive(subject=bad, member=bad, rule="it is no zip"),
        errors.NoMatchingVersion(requirement=bad, available=(bad,), excluded=(bad,)),
        errors.DigestMismatch(subject=bad, stated_by=bad, expected=bad, actual=bad),
        errors.ContentChanged(url=bad, recorded="a", recorded_at="b", actual="c"),
    ):
        for text in (str(error), *error.__notes__):
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert "\n" not in text
            text.encode()
        assert rebuild_error(type(error).__name__, error.facts()).facts() == error.facts()
