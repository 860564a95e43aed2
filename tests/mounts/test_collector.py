"""The garbage collector while mounts are imported, and behind it."""

import os
import textwrap
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex


@pytest.fixture
def thing(index: LoopbackIndex) -> LoopbackIndex:
    """An index with a project whose modules say what the collector does while they are executed."""
    files = {
        "thing/__init__.py": "import gc\nDURING = gc.get_threshold()\nclass Kind:\n    pass\n",
        "thing/forks.py": "import gc, os\nPID = os.fork()\nDURING = gc.get_threshold()\n",
        "thing/waits.py": "import sys\nsys.there.set()\nsys.go_on.wait()\n",
        "thing/classes.py": "".join(f"class C{at}:\n    pass\n" for at in range(60)),
        "thing/sub.py": "import gc\nDURING = gc.get_threshold()\nimport thing.deep\nBEHIND = gc.get_threshold()\n",
        "thing/other.py": "import gc\nDURING = gc.get_threshold()\n",
        "thing/deep.py": "class Node:\n    pass\n",
        "thing/sets.py": "import gc\ngc.set_threshold(123, 4, 5)\n",
        "thing/fails.py": "raise ValueError\n",
    }
    index.add("thing", "1", files)
    return index


@pytest.mark.usefixtures("thing")
def test_thresholds(remote_wheel: Python) -> None:
    code = """
        import gc
        gc.set_threshold(700, 11, 12)
        import thing.sub
        assert thing.DURING[0] > 100_000 and thing.DURING[1] == 11, thing.DURING
        assert thing.sub.DURING == thing.sub.BEHIND == thing.DURING
        assert gc.get_threshold()[:2] == (700, 11)
        try:
            import thing.fails
        except ValueError:
            pass
        assert gc.get_threshold()[:2] == (700, 11)
        import thing.sets
        assert gc.get_threshold()[:2] == (123, 4)
        gc.set_threshold(0, 11, 12)
        import thing.other
        assert thing.other.DURING[:2] == gc.get_threshold()[:2] == (0, 11)
        gc.set_threshold(900_000, 11, 12)
        del __import__("sys").modules["thing.sub"]
        import thing.sub
        assert thing.sub.DURING[0] == 900_000
        print("fine")
    """
    assert remote_wheel("run", "--with", "thing", "-c", textwrap.dedent(code)).stdout == "fine\n"


@pytest.mark.parametrize(
    ("program", "is_old"),
    [
        ("import thing", True),
        ("from __future__ import annotations\nfrom typing import Any, Optional\nfrom thing.deep import Node", True),
        ("VERSION, DEBUG = '1', None\nimport os, json as j\nfrom os.path import join\nimport thing", True),
        ("made = []\nimport thing", False),
        ("def main():\n    pass\nimport thing", False),
        ("class Own:\n    pass\nimport thing", False),
        ("import contextlib\nnull = contextlib.nullcontext()\nimport thing", False),
        ("exec('import thing', {})", False),
        ("def main():\n    import thing\nmain()", False),
        ("(lambda: __import__('thing'))()", False),
        ("import importlib\nimportlib.import_module('thing')", False),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(1,)).start()\nimport thing", False),
    ],
)
@pytest.mark.usefixtures("thing")
def test_imports_at_the_top_are_old(remote_wheel: Python, python: Python, program: str, is_old: bool) -> None:
    shown = """
import gc, sys
young = {id(each) for at in (0, 1) for each in gc.get_objects(generation=at)}
print(id(sys.modules["thing"].Kind) not in young, gc.get_freeze_count() < 1000, gc.isenabled())
"""
    off = "import gc\ngc.set_threshold(100_000)\n"  # nothing gets old by itself
    first, rest = program.split("\n", 1) if program.startswith("from __future__") else ("", program)
    for _ in range(2):  # as it comes, and warm
        said = remote_wheel("run", "--with", "thing", "-c", f"{first}\n{off}{rest}{shown}").stdout
        assert said == f"{is_old} True True\n"
    mounted = f"{first}\nimport remote_wheel\nremote_wheel.require('thing', module='os')\n{off}{rest}{shown}"
    assert python(mounted).stdout == f"{is_old} True True\n"


@pytest.mark.usefixtures("thing")
def test_require_at_the_top(python: Python, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    code = """
        import remote_wheel, gc
        gc.set_threshold(100_000)
        remote_wheel.require("thing")
        from thing import Kind
        print(any(each is Kind for each in gc.get_objects(generation=2)))
    """
    script.write_text(textwrap.dedent(code))
    assert python("", str(script)).stdout == "True\n"


@pytest.mark.parametrize("at_the_top", [True, False])
@pytest.mark.usefixtures("thing")
def test_garbage_of_repeated_imports_goes(remote_wheel: Python, at_the_top: bool) -> None:
    code = """
        import gc, sys, thing
        for _ in range(300):
            del sys.modules["thing.classes"]
            import thing.classes
        print(sum(isinstance(each, type) and each.__module__ == "thing.classes" for each in gc.get_objects()) < 15_000)
    """
    code = textwrap.dedent(code).replace("for _", "import thing.classes\nfor _")
    if not at_the_top:
        code = f"def main():\n{textwrap.indent(code, '    ')}\nmain()"
    assert remote_wheel("run", "--with", "thing", "-c", code).stdout == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is none")
@pytest.mark.usefixtures("thing")
def test_a_child_that_is_forked_while_something_is_imported(remote_wheel: Python) -> None:
    code = """
        import gc, os
        before = gc.get_threshold()
        import thing.forks
        assert gc.get_threshold() == before
        if thing.forks.PID == 0:
            import thing.other
            os._exit(thing.forks.DURING != before or thing.other.DURING[0] < 100_000 or gc.get_threshold() != before)
        print(os.waitpid(thing.forks.PID, 0)[1])
    """
    assert remote_wheel("run", "--with", "thing", "-c", textwrap.dedent(code)).stdout == "0\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is none")
@pytest.mark.usefixtures("thing")
def test_a_child_that_is_forked_while_another_thread_imports(remote_wheel: Python) -> None:
    code = """
        import gc, os, sys, threading, warnings
        warnings.simplefilter("ignore")  # of forks beside threads
        before = gc.get_threshold()
        sys.there, sys.go_on = threading.Event(), threading.Event()
        other = threading.Thread(target=lambda: __import__("thing.waits"))
        other.start()
        sys.there.wait()
        pid = os.fork()
        if pid == 0:
            usual = gc.get_threshold()
            import thing.other
            os._exit(usual != before or thing.other.DURING[0] < 100_000 or gc.get_threshold() != before)
        sys.go_on.set()
        other.join()
        print(os.waitpid(pid, 0)[1], gc.get_threshold() == before)
    """
    assert remote_wheel("run", "--with", "thing", "-c", textwrap.dedent(code)).stdout == "0 True\n"


@pytest.mark.usefixtures("thing")
def test_what_the_program_has_frozen_stays_so(python: Python) -> None:
    code = """
        import gc, remote_wheel
        gc.freeze()
        remote_wheel.require("thing")
        print(gc.get_freeze_count() > 2000)
    """
    assert python(code).stdout == "True\n"


TAKEN_APART = """
    import atexit, gc, remote_wheel
    atexit.register(lambda: print(gc.isenabled()))  # runs after what is registered later
    remote_wheel.require("thing", module="IMPORTED")

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            import json  # the interpreter can still import
            print(json.dumps("taken apart"))
"""


@pytest.mark.parametrize(
    ("imported", "made", "is_last_look_ours"),
    [
        ("thing", "Cycle()", True),
        ("os", "Cycle()", False),
        # older than an import, and than looks of the collector
        ("thing", "def main():\n    kept = Cycle()\n    import thing.sub\nmain()", True),
        ("thing", "kept = Cycle()\ngc.collect()\ndel kept", False),
        ("thing", "kept = Cycle()\nmade = [[] for _ in range(100_000)]\ndel kept, made", False),
        ("os", "def main():\n    kept = Cycle()\n    import thing.sub\nmain()", False),
    ],
)
@pytest.mark.usefixtures("thing")
def test_the_last_look(python: Python, imported: str, made: str, is_last_look_ours: bool) -> None:
    done = python(f"{textwrap.dedent(TAKEN_APART).replace('IMPORTED', imported)}\n{made}")
    assert sorted(done.stdout.splitlines()) == ['"taken apart"', str(not is_last_look_ours)]
    assert not done.stderr


@pytest.mark.usefixtures("thing")
def test_what_a_program_makes_is_taken_apart_at_its_end(remote_wheel: Python, tmp_path: Path) -> None:
    code = """
        import thing.deep

        class Log:
            def __init__(self, name):
                self.file = open(name, "w")
                self.file.write("all of it")
                self.me = self  # the file is closed when the collector has found this

        logs = [Log("module")]
        thing.deep.kept = Log("library")
    """
    remote_wheel("run", "--with", "thing", "-c", textwrap.dedent(code))
    for name in ("module", "library"):
        assert (tmp_path / name).read_text() == "all of it"
