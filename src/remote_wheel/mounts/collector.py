"""The garbage collector, told what is known of imports: what they make stays.

While modules of mounts are executed it looks for garbage more seldom; behind that, all there is counts as old, which
is looked through most seldom; and of the looks that the interpreter takes at its end, one less is taken at all of it.
docs/decisions/0017-the-collector.md has what that is worth, and what was not done.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SELDOM = 200_021  # new objects between two looks at the young ones; an odd number, that nobody else has
_FEW = 2_000  # fewer are frozen by nobody but the interpreter, at its start (3.12: some 400)

_running: "list[None]" = []  # one for each module; threads append and pop in one step
_gc: "Any" = None  # where it is another interpreter's, that collects in other ways
_usual = 0
_has_imported = False


def prepare() -> None:
    """Have what the others need; a second call does nothing."""
    global _gc  # the interpreter has one collector
    if _gc is None:
        import atexit  # both are parts of the interpreter
        import gc

        if hasattr(gc, "freeze"):
            _gc = gc
            atexit.register(_at_end)


def begin() -> None:
    """Say that a module of a mount is about to be executed."""
    global _usual, _has_imported
    _running.append(None)
    if len(_running) == 1 and _gc:
        _has_imported = True
        young, *older = _gc.get_threshold()
        if 0 < young < _SELDOM:
            _usual = young
            _gc.set_threshold(_SELDOM, *older)


def end() -> None:
    """Say that it was executed, or has failed."""
    _running.pop()
    if not _running and _gc:
        young, *older = _gc.get_threshold()
        if young == _SELDOM:
            _gc.set_threshold(_usual, *older)
        if _gc.get_freeze_count() < _FEW:  # what somebody else has frozen stays so
            _gc.freeze()
            _gc.unfreeze()  # what was frozen is old, without a look at any of it


def _at_end() -> None:
    """Look for what the program has thrown away lately; the interpreter looks through all there is twice from here.

    It would do so once more before, were the collector not off.
    """
    if _has_imported and _gc.isenabled():
        _gc.collect(1)
        _gc.disable()
