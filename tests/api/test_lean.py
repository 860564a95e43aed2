"""The first import waits for no compiler: images start without code and are finished behind it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="where nothing forks, images are whole at once")


@pytest.fixture
def thing(index: LoopbackIndex, monkeypatch: pytest.MonkeyPatch) -> LoopbackIndex:
    """A wheel that takes a while to compile; images are finished behind the answer, as users have it."""
    monkeypatch.delenv("REMOTE_WHEEL_COMPILE")
    much = "".join(f"def f{number}(a, b=1):\n    return [a + b for _ in range({number})]\n" for number in range(800))
    files = {f"thing/big{number}.py": much for number in range(40)}
    files |= {f"thing/m{number}.py": f"VALUE = {number}\n" for number in range(20)}
    index.add("thing", "1", {"thing/__init__.py": "from thing.m7 import VALUE\n", **files})
    index.cache_control = "max-age=600"
    return index


SHOW = """
import remote_wheel
thing = remote_wheel.require("thing")
root = thing.__spec__.loader.root
print(thing.VALUE, sum(bool(entry[2]) for entry in root.image.modules.values()))
import thing.m3, inspect
print(inspect.getsource(thing.m3).strip())
"""


def wait_for(path: Path, pattern: str) -> Path:
    """Return the one file that *pattern* names, once it is there."""
    for _ in range(400):
        if found := list(path.glob(pattern)):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"{pattern} never came")


def test_the_first_import_compiles_what_it_needs_and_the_next_finds_all(
    thing: LoopbackIndex, python: Python, cache: Path
) -> None:
    first = python(SHOW).stdout.splitlines()
    assert first == ["7 0", "VALUE = 3"]
    images = cache / "v1" / "images"
    wait_for(images, "*/*[0-9a-f].facts")
    thing.requests.clear()
    for _ in range(200):  # the record follows the image
        second = python(SHOW).stdout.splitlines()
        if second[0] != "7 0":
            break
        time.sleep(0.05)
    assert second == ["7 61", "VALUE = 3"]
    assert thing.requests == []


@pytest.mark.slow
def test_one_that_was_never_finished_is_finished_the_next_time(
    thing: LoopbackIndex, python: Python, cache: Path
) -> None:
    """As after a kill: a lean record is believed for a minute."""
    python(SHOW)
    images = cache / "v1" / "images"
    facts = wait_for(images, "*/*[0-9a-f].facts")
    python(SHOW.replace('"thing")', '"thing", refresh=True)'))  # nothing is lean where whole images are
    lean = next(images.glob("*/*-lean.zip"))
    for _ in range(200):
        if python(SHOW).stdout.startswith("7 61"):
            break
        time.sleep(0.05)
    facts.with_suffix(".zip").unlink()
    facts.unlink()
    assert python(SHOW).stdout.splitlines()[0] == "7 0", "the lean image will do"
    assert lean.exists()
    wait_for(images, "*/*[0-9a-f].facts")


@pytest.mark.parametrize("way", ["variable", "prefetch"])
def test_who_wants_everything_compiled_first_gets_it(thing: LoopbackIndex, python: Python, way: str) -> None:
    if way == "prefetch":
        python("import remote_wheel; remote_wheel.prefetch('thing')")
    environ = {"REMOTE_WHEEL_COMPILE": "before"} if way == "variable" else {}
    assert python(SHOW, **environ).stdout.splitlines()[0] == "7 61"


def test_nobody_waits_for_the_finish(thing: LoopbackIndex, python: Python) -> None:
    """The child that finishes holds no stream of the caller's open, and is no child of the caller's."""
    code = """
        import os, subprocess, sys
        code = "import remote_wheel; remote_wheel.require('thing')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
        print(done.returncode, done.stderr)
        import remote_wheel
        remote_wheel.require("thing", refresh=True)
        try:
            print(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            print("no children")
    """
    assert python(code).stdout.splitlines() == ["0 b''", "no children"]


def test_what_a_traceback_shows_is_the_same(thing: LoopbackIndex, python: Python) -> None:
    thing.add("broken", "1", {"broken.py": "def fail():\n    raise KeyError('inside')\n"})
    code = "import remote_wheel; remote_wheel.require('broken').fail()"
    said = [python(code, expect=1, REMOTE_WHEEL_COMPILE=way).stderr for way in ("", "before")]
    assert "    raise KeyError('inside')\n" in said[0]
    assert [line for line in said[0].splitlines() if "File" not in line] == [
        line for line in said[1].splitlines() if "File" not in line
    ]


@pytest.mark.slow
def test_nothing_is_said_but_what_is_asked(thing: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("thing\n")
    for call in ("resolve('thing')", "prefetch('thing')", "resolve('-r r.txt')", "require('thing')"):
        assert python(f"import remote_wheel; remote_wheel.{call}").stderr == "", call


def test_a_lean_mount_and_a_whole_one_are_the_same(thing: LoopbackIndex, python: Python, cache: Path) -> None:
    code = """
        import glob, sys, time, remote_wheel
        first = remote_wheel.environment("thing")
        with first:
            import thing
            before = list(sys.path)
            while not glob.glob(f"{sys.argv[1]}/v1/images/*/*[0-9a-f].facts"):
                time.sleep(0.05)
            for _ in range(5):
                with remote_wheel.environment("thing"):
                    assert remote_wheel.require("thing") is thing
                    assert sys.path == before
                time.sleep(0.1)
        import thing
        print("still required")
    """
    assert python(code, str(cache)).stdout == "still required\n"


@pytest.mark.slow
def test_a_cache_that_was_deleted_stays_deleted(thing: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    code = """
        import os, shutil, time, remote_wheel
        remote_wheel.require("thing", cache_dir="mine")
        shutil.rmtree("mine", ignore_errors=True)
        shutil.rmtree("mine", ignore_errors=True)
        time.sleep(3)
        print(os.path.exists("mine"))
    """
    assert python(code).stdout == "False\n"


def test_wheels_come_while_the_planning_goes_on(index: LoopbackIndex, python: Python) -> None:
    """The first candidate's wheel is asked for before what it needs is even known, and once."""
    index.add("deep", "1")
    index.add("middle", "1", requires=["deep"])
    index.add("top", "1", requires=["middle"])
    python("import remote_wheel; remote_wheel.require('top')")
    paths = [path for path, _ in index.requests]
    assert paths.index("/files/top-1-py3-none-any.whl") < paths.index("/simple/deep/")
    assert index.wheels() == 3


def test_a_wheel_that_came_for_nothing_is_not_mounted(index: LoopbackIndex, python: Python) -> None:
    index.add("lib", "1")
    index.add("lib", "2")
    index.add("app", "1", {"app.py": "import lib\n"}, requires=["lib"])
    index.add("strict", "1", requires=["lib<2"])
    code = "import remote_wheel; remote_wheel.require('app', 'strict'); import lib; print(lib.__version__)"
    assert python(code).stdout == "1\n"


def test_nothing_is_fetched_early_where_only_a_plan_is_wanted(index: LoopbackIndex, python: Python) -> None:
    index.add("lib", "1")
    index.add("app", "1", requires=["lib"])
    python("import remote_wheel; remote_wheel.resolve('app')")
    assert index.wheels() == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes as Linux has them")
def test_a_helper_that_works_ahead_may_be_killed_any_time(thing: LoopbackIndex, python: Python, cache: Path) -> None:
    code = "import remote_wheel; print(remote_wheel.require('thing').VALUE)"
    for delay_s in (0.05, 0.2, 0.4, 0.6, 0.8):
        shutil.rmtree(cache, ignore_errors=True)
        running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        time.sleep(delay_s)
        for pid in _sessions_of_ours(cache):
            os.kill(pid, signal.SIGKILL)
        assert running.communicate(timeout=60)[0] == b"7\n", delay_s
        assert python(code).stdout == "7\n", delay_s


def _sessions_of_ours(cache: Path) -> list[int]:
    """Return the processes that lead a session of their own and use *cache*: those that work ahead."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environ = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
        except OSError:
            continue
        if str(cache).encode() in environ and b"cli.helper" in command and session == int(folder.name):
            found.append(session)
    return found


def finished(cache: Path, python: Python, code: str) -> str:
    """Return what *code* prints once the record that it makes is whole."""
    for _ in range(200):
        said = python(code).stdout
        if not said.startswith("lean"):
            return said
        time.sleep(0.05)
    raise AssertionError("it was never made whole")


SAY = """
import remote_wheel
from remote_wheel.api import boot_record
remote_wheel.require({0})
record, _ = boot_record("require", ({0},), {{}})
print("lean" if record["is_lean"] else "whole", *sorted(f"{{e['name']}} {{e['version']}}" for e in record["mounts"]))
"""


def test_what_is_finished_is_what_was_recorded(
    index: LoopbackIndex, python: Python, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a project whose first candidate came early and was not taken, the other version is made whole."""
    monkeypatch.delenv("REMOTE_WHEEL_COMPILE")
    index.cache_control = "max-age=600"
    needs_files = {"lib/__init__.py": "TEXT = open(__file__).read()\n"}
    index.add("lib", "1", needs_files)
    index.add("lib", "2", needs_files)
    index.add("app", "1", requires=["lib"])
    index.add("strict", "1", requires=["lib<2"])
    code = SAY.format("'app', 'strict'")
    assert finished(cache, python, code) == "whole app 1 lib 1 strict 1\n"
    trees = [path for path in (cache / "v1" / "trees").iterdir() if (path / "lib-1.dist-info").exists()]
    assert [(path.parent / f"{path.name}.files").exists() for path in trees] == [True]
    code = "import remote_wheel; remote_wheel.require('app', 'strict'); import lib; print(lib.TEXT)"
    assert python(code).stdout == "TEXT = open(__file__).read()\n\n"


@pytest.mark.slow
def test_two_requests_that_share_a_wheel_are_both_finished(thing: LoopbackIndex, python: Python, cache: Path) -> None:
    thing.add("one", "1", requires=["thing"])
    thing.add("two", "1", requires=["thing"])
    started = [
        subprocess.Popen([sys.executable, "-c", f"import remote_wheel; remote_wheel.require('{name}')"])
        for name in ("one", "two")
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    for name in ("one", "two"):
        assert finished(cache, python, SAY.format(f"'{name}'")).startswith("whole ")
    assert not list(cache.rglob("*.codes"))


def test_one_bad_wheel_that_is_not_taken_hinders_nobody(
    index: LoopbackIndex, python: Python, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REMOTE_WHEEL_COMPILE")
    index.cache_control = "max-age=600"
    index.add("lib", "1")
    index.add("lib", "2", entry_points="no section header\n")
    index.add("app", "1", requires=["lib"])
    index.add("strict", "1", requires=["lib<2"])
    assert finished(cache, python, SAY.format("'app', 'strict'")) == "whole app 1 lib 1 strict 1\n"


@pytest.mark.slow
def test_a_damaged_image_is_made_again_and_finished(thing: LoopbackIndex, python: Python, cache: Path) -> None:
    code = SAY.format("'thing'")
    finished(cache, python, code)
    (image,) = (path for path in (cache / "v1" / "images").glob("*/*.zip") if not path.name.endswith("-lean.zip"))
    image.write_bytes(image.read_bytes()[:-100])
    assert finished(cache, python, code) == "whole thing 1\n"
    assert python(SHOW).stdout.startswith("7 61")
