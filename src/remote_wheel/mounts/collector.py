"""The garbage collector, told what is known of imports: what they make stays.

While modules of mounts are executed it looks for garbage more seldom. What is there when a program has done nothing yet
but import counts as old from then on, and of the looks that the interpreter takes at the end of a short program one
less is taken at all that. docs/decisions/0017-the-collector.md has what that is worth, and what was not done.
"""

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SELDOM = 200_021  # new objects between two looks at the young ones; an odd number, that nobody else has
_FEW = 2_000  # fewer are frozen by nobody but the interpreter, at its start (3.12: some 400)
_MOST = 100  # imports at the top of a program; more of them are no program's beginning
_NOT_PROGRAM = (os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep, "<frozen importlib")
_IMPORTED = (type(sys), type, type(os.fspath), type(lambda: None))
_IMPORTED_FROM = ("typing", "__future__")  # where values are from that many programs import

_running: "list[None]" = []  # one for each module; threads append and pop in one step
_gc: "Any" = None  # stays so in interpreters that collect in other ways
_usual = 0
_looks = -1  # how many looks at more than the youngest there had been when all there was were imports
_left = _MOST


def prepare() -> None:
    """Have what the others need; a second call does nothing."""
    global _gc  # the interpreter has one collector
    if _gc is None:
        import atexit  # both are parts of the interpreter
        import gc

        if hasattr(gc, "freeze"):
            _gc = gc
            atexit.register(_at_end)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_in_child)


def begin() -> None:
    """Say that a module of a mount is about to be executed."""
    global _usual
    _running.append(None)
    if len(_running) == 1 and _gc:
        young, *older = _gc.get_threshold()
        if 0 < young < _SELDOM:
            _usual = young
            _gc.set_threshold(_SELDOM, *older)


def end() -> None:
    """Say that it was executed, or has failed."""
    if len(_running) <= 1 and _gc:
        _as_usual()
        if _left and _has_only_imported(sys._getframe(1)):  # noqa: SLF001  # who imports decides
            _count_as_old()
    if _running:
        _running.pop()


def _as_usual() -> None:
    young, *older = _gc.get_threshold()
    if young == _SELDOM and _usual:
        _gc.set_threshold(_usual, *older)


def _in_child() -> None:
    """Forget imports of threads that the child does not have."""
    _running.clear()
    _as_usual()


def _count_as_old() -> None:
    global _looks, _left
    if _gc.get_freeze_count() < _FEW:  # what somebody else has frozen stays so
        _left -= 1
        try:
            _gc.freeze()
        finally:
            _gc.unfreeze()  # what was frozen is old, without a look at any of it
        _looks = _looks_so_far()


def _looks_so_far() -> int:
    return sum(each["collections"] for each in _gc.get_stats()[1:])


def _at_end() -> None:
    """Look at all that a short program has made; through what it has imported the interpreter looks twice from here.

    It would do so once more before, were the collector not off. After one more look nothing that the program has made
    is old.
    """
    if _looks == _looks_so_far() and _gc.isenabled():
        _gc.collect(1)
        _gc.disable()


def _has_only_imported(frame: "Any") -> bool:
    """Whether the import that ends was asked for at the top of the program, and all that has made so far is imports."""
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_PROGRAM):
        frame = frame.f_back
    names: dict[str, Any] = frame.f_globals
    if frame.f_code.co_name != "<module>" or names is not getattr(sys.modules.get("__main__"), "__dict__", None):
        return False
    made = [value for name, value in list(names.items()) if not name.startswith("__")]
    # What threads have made is not imported.
    return _thread._count() == 0 and all(map(_is_imported, filter(_gc.is_tracked, made)))  # noqa: SLF001


def _is_imported(value: object) -> bool:
    if not isinstance(value, _IMPORTED):
        return type(value).__module__ in _IMPORTED_FROM
    return isinstance(value, type(sys)) or value.__module__ != "__main__"
