"""The garbage collector while mounts are imported, and behind it."""

import textwrap
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex


@pytest.fixture
def thing(index: LoopbackIndex) -> LoopbackIndex:
    """An index with a project whose modules say what the collector does while they are executed."""
    files = {
        "thing/__init__.py": "import gc\nDURING = gc.get_threshold()\n",
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


@pytest.mark.usefixtures("thing")
def test_what_was_made_so_far_is_old(remote_wheel: Python) -> None:
    code = """
        import gc
        import thing.deep
        young = {id(each) for at in (0, 1) for each in gc.get_objects(generation=at)}
        assert id(thing.deep.Node) not in young
        assert any(each is thing.deep.Node for each in gc.get_objects(generation=2))
        print(gc.get_freeze_count(), gc.isenabled())
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


@pytest.mark.parametrize("imported", [True, False])
@pytest.mark.usefixtures("thing")
def test_the_last_look(python: Python, imported: bool) -> None:
    code = f"""
        import atexit, gc, remote_wheel
        atexit.register(lambda: print(gc.isenabled()))  # runs after what is registered later
        remote_wheel.require("thing", module={"thing" if imported else "os"!r})

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                import json  # the interpreter can still import
                print(json.dumps("taken apart"))

        Cycle()
    """
    done = python(code)
    assert done.stdout == ('"taken apart"\nFalse\n' if imported else 'True\n"taken apart"\n')
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
