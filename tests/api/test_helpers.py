"""Who prepares what is imported: an interpreter just like this one, few of them at a time, or this process itself."""

import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from remote_wheel.api import sharing
from remote_wheel.api.interpreter import SAY_IDENTITY, find_interpreters, identity
from remote_wheel.errors import NotCached, RemoteWheelError
from remote_wheel.mounts.image import DamagedImage, Image
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.store.test_interpreters import OTHERS

REQUIRE = """
    import sys, remote_wheel
    sys.executable = {program!r}
    {more}
    started = []
    sys.addaudithook(lambda event, found: started.append(str(found[0])) if event == "subprocess.Popen" else None)
    print(remote_wheel.require("thing").__version__, *started)
"""
EMBEDDING = Path(__file__).parents[1] / "programs" / "embedding.c"


def test_the_two_ways_to_say_who_an_interpreter_is_agree() -> None:
    code = f"import sys; {SAY_IDENTITY}; print(own)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == identity()


def test_a_program_that_is_its_own_executable_is_not_started_again(
    index: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    """As of QGIS, FreeCAD or Maya: `sys.executable` is the program, and its arguments are files to open."""
    index.add("thing", "1.0")
    program, log = tmp_path / "viewer", tmp_path / "log"
    program.write_text(f"#!/bin/sh\necho started >> '{log}'\nsleep 60\n")
    program.chmod(0o755)
    version, *started = python(REQUIRE.format(program=str(program), more="")).stdout.split()
    assert version == "1.0"
    assert not log.exists()
    assert all(Path(each).name.startswith("python") for each in started)


def test_a_frozen_program_starts_nothing(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1.0")
    code = REQUIRE.format(program=sys.executable, more="sys.frozen = True")
    assert python(code).stdout.split() == ["1.0"]


def test_what_says_nothing_is_no_interpreter(index: LoopbackIndex, python: Python, tmp_path: Path, cache: Path) -> None:
    """It has the name of one, and is another program: the work is done without it, and it is ended."""
    index.add("thing", "1.0")
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    more = "sys.prefix = sys.base_prefix = '/nowhere'"
    version, *started = python(REQUIRE.format(program=str(program), more=more)).stdout.split()
    assert (version, started) == ("1.0", [str(program)])


@pytest.mark.skipif(not OTHERS, reason="no other supported interpreter is here")
def test_an_interpreter_of_another_version_prepares_nothing(
    index: LoopbackIndex, python: Python, tmp_path: Path, cache: Path
) -> None:
    """The default of an embedded Python: `sys.executable` is the python3 on PATH, whichever that is."""
    index.add("thing", "1.0")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(next(iter(OTHERS.values())))
    more = "sys.prefix = sys.base_prefix = '/nowhere'"  # else the right one is found there
    version, *_ = python(REQUIRE.format(program=str(folder / "python3"), more=more)).stdout.split()
    assert version == "1.0"
    (images,) = (cache / "v1" / "images").iterdir()
    assert images.name == f"{sys.implementation.cache_tag}-0"


def test_an_image_of_another_interpreter_is_no_image(
    index: LoopbackIndex, python: Python, cache: Path, tmp_path: Path
) -> None:
    """Whatever a record says: what another version has compiled would crash this one."""
    index.add("thing", "1.0")
    python("import remote_wheel; remote_wheel.require('thing')")
    (path,) = (cache / "v1" / "images").glob("*/*.zip")
    data = bytearray(path.read_bytes())
    own = data.rfind(b"RWI3") + 4
    assert own > 4
    data[own] ^= 1
    other = tmp_path / "other.zip"
    other.write_bytes(data)
    assert Image(str(path)).modules
    with pytest.raises(DamagedImage):
        Image(str(other))


@pytest.mark.skipif(not sysconfig.get_config_var("Py_ENABLE_SHARED"), reason="this Python can't be embedded")
@pytest.mark.parametrize("is_own", [False, True], ids=["python3-of-path", "its-own"])
def test_a_program_that_embeds_python(index: LoopbackIndex, tmp_path: Path, cache: Path, is_own: bool) -> None:
    """A real one in C, once with the default `sys.executable`, once with itself."""
    index.add("thing", "1.0")
    program = tmp_path / "viewer"
    library = sysconfig.get_config_var("LIBDIR")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run(
        ["cc", str(EMBEDDING), "-o", str(program), f"-I{sysconfig.get_path('include')}", f"-L{library}",
         f"-lpython{version}{sys.abiflags}", f"-Wl,-rpath,{library}"],
        check=True,
    )  # fmt: skip
    folder = tmp_path / "bin"
    folder.mkdir()
    for other in OTHERS.values():
        (folder / "python3").symlink_to(other)
        break
    environ = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONHOME": sys.base_prefix,
        "EMBEDDED_PATH": os.pathsep.join(path for path in sys.path if path),
        "EMBEDDED_EXECUTABLE": str(program) if is_own else "",
    }
    done = subprocess.run([str(program)], env=environ, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["started with 0 arguments", "1.0"], done.stderr
    assert {path.name for path in (cache / "v1" / "images").iterdir()} == {f"{sys.implementation.cache_tag}-0"}


def test_an_interpreters_name() -> None:
    assert sys.executable in find_interpreters()


def test_equal_requests_of_threads_share_one_answer() -> None:
    asked: list[str] = []

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(request["name"])
        time.sleep(0.2)
        return {"answer": request["name"]}

    answers: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda at=at: answers.append(sharing.shared({"name": str(at % 2)}, ask)))
        for at in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked) == ["0", "1"]
    assert sorted(answer["answer"] for answer in answers) == ["0"] * 10 + ["1"] * 10


def test_few_helpers_run_at_a_time() -> None:
    running, most, guard = 0, 0, threading.Lock()

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with guard:
            running -= 1
        return {}

    threads = [threading.Thread(target=sharing.shared, args=({"name": at}, ask)) for at in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 4


def test_each_thread_gets_an_error_of_its_own() -> None:
    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        time.sleep(0.2)
        raise NotCached(what="a page", way="prefetch")

    errors: list[RemoteWheelError] = []

    def run() -> None:
        try:
            sharing.shared({}, ask)
        except RemoteWheelError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(error) for error in errors] == ["offline, and the cache does not hold a page"] * 5
    assert len(set(map(id, errors))) == 5


def test_who_is_interrupted_hands_the_request_on() -> None:
    is_first, began = True, threading.Event()

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal is_first
        if is_first:
            is_first = False
            began.set()
            time.sleep(0.2)
            raise KeyboardInterrupt
        return {"answer": 1}

    def interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            sharing.shared({}, ask)

    thread = threading.Thread(target=interrupted)
    thread.start()
    began.wait()
    assert sharing.shared({}, ask) == {"answer": 1}
    thread.join()


def test_fifty_threads(index: LoopbackIndex, python: Python) -> None:
    for at in range(5):
        index.add(f"thing{at}", "1.0")
    code = """
        import collections, sys, threading, remote_wheel
        started, found = [], collections.Counter()
        sys.addaudithook(lambda event, args: started.append(1) if event == "subprocess.Popen" else None)
        def work(at):
            try:
                found[remote_wheel.require(f"thing{at % 5}", prefer_installed=False).__name__] += 1
            except BaseException as error:
                found[repr(error)] += 1
        threads = [threading.Thread(target=work, args=(at,)) for at in range(50)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(len(started) <= 25, dict(sorted(found.items())))
    """
    said = python(code).stdout.strip()
    assert said == "True {'thing0': 10, 'thing1': 10, 'thing2': 10, 'thing3': 10, 'thing4': 10}"


def test_a_helper_that_dies_early_is_told_with_its_exit_code(
    index: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    """Also where a notebook watches it: no pipe is broken, and no thread is left."""
    index.add("thing", "1.0")
    dying = tmp_path / "site"
    dying.mkdir()
    (dying / "sitecustomize.py").write_text("import sys\nif 'serve' in str(sys.orig_argv): raise SystemExit(7)\n")
    code = """
        import os, sys, threading, remote_wheel
        from remote_wheel.api import cold
        os.environ["PYTHONPATH"] = sys.argv[1]
        for watcher in (None, print):
            cold.watch(watcher)
            print(remote_wheel.require("thing", refresh=True).__version__)
            print([thread.name for thread in threading.enumerate() if "helper" in thread.name])
    """
    assert python(code, str(dying)).stdout.splitlines() == ["1.0", "[]", "1.0", "[]"]
