"""`remote-wheel run`: the program must not notice that python did not start it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex

REPORT = """
import json, sys, thing
main = sys.modules["__main__"]
print(json.dumps({
    "argv": sys.argv, "path0": sys.path[0], "name": __name__, "file": globals().get("__file__"),
    "own": main.__dict__ is globals(), "thing": thing.__version__,
    "names": sorted(n for n in globals() if not n.startswith("__")),
}))
"""


@pytest.fixture
def thing(index: LoopbackIndex) -> LoopbackIndex:
    entry_points = "[console_scripts]\nthing-tool = thing.tool:main\nthing-obj = thing.tool:App.run\n"
    files = {
        "thing/__init__.py": "__version__ = '1'\n",
        "thing/__main__.py": REPORT,
        "thing/tool.py": "import sys\n\n\ndef main():\n    print(sys.argv)\n    return 3\n\n\n"
        "class App:\n    @staticmethod\n    def run():\n        return 'a message'\n",
    }
    index.add("thing", "1", files, entry_points=entry_points)
    return index


def test_a_script_sees_what_python_would_show_it(
    thing: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path
) -> None:
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    script.write_text(REPORT)
    (script.parent / "thing.py").write_text("__version__ = 'plain'\n")
    plain = json.loads(python("", str(script), "a", "--with", "b").stdout)
    (script.parent / "thing.py").unlink()
    ours = json.loads(remote_wheel("run", "--with", "thing", str(script), "a", "--with", "b").stdout)
    assert ours == {**plain, "thing": "1"}


def test_module(thing: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    told = json.loads(remote_wheel("run", "--with=thing", "-m", "thing", "x").stdout)
    assert told["argv"][1:] == ["x"]
    assert told["argv"][0] == told["file"]
    assert told["file"].endswith(os.path.join("thing", "__main__.py"))
    assert (told["name"], told["own"], told["path0"]) == ("__main__", True, str(tmp_path))


def test_command(thing: LoopbackIndex, remote_wheel: Python) -> None:
    told = json.loads(remote_wheel("run", "--with", "thing", "-c", REPORT, "x", "-c", "y").stdout)
    assert told["argv"] == ["-c", "x", "-c", "y"]
    assert (told["path0"], told["name"], told["own"]) == ("", "__main__", True)


def test_console_script(thing: LoopbackIndex, remote_wheel: Python) -> None:
    done = remote_wheel("run", "--with", "thing", "--exe", "thing-tool", "--", "--flag", expect=3)
    assert done.stdout.strip() == "['thing-tool', '--flag']"
    done = remote_wheel("run", "--with", "thing", "--exe", "thing-obj", expect=1)
    assert done.stderr.strip() == "a message"


def test_unknown_console_script(thing: LoopbackIndex, remote_wheel: Python) -> None:
    said = remote_wheel("run", "--with", "thing", "--exe", "nothing", expect=2).stderr
    assert "no mounted distribution has a script called 'nothing'; they have thing-obj, thing-tool" in said


def test_exe_alone_is_its_own_requirement(index: LoopbackIndex, remote_wheel: Python) -> None:
    index.add(
        "tool", "1", {"tool.py": "def main():\n    print('ran')\n"}, entry_points="[console_scripts]\ntool=tool:main"
    )
    assert remote_wheel("run", "--exe", "tool").stdout.strip() == "ran"


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(7)", 7), ("import sys; sys.exit('no')", 1), ("", 0)])
def test_exit_codes(thing: LoopbackIndex, remote_wheel: Python, code: str, expected: int) -> None:
    remote_wheel("run", "--with", "thing", "-c", code or "pass", expect=expected)


def test_an_uncaught_exception_looks_as_python_shows_it(
    thing: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text("def f():\n    1 / 0\n\n\nf()\n")
    ours = remote_wheel("run", "--with", "thing", "bad.py", expect=1)
    assert ours.stderr == python("", "bad.py", expect=1).stderr
    (tmp_path / "worse.py").write_text("def f(:\n")
    ours = remote_wheel("run", "worse.py", expect=1)
    assert ours.stderr == python("", "worse.py", expect=1).stderr


def test_standard_input_as_script(thing: LoopbackIndex) -> None:
    command = [sys.executable, COMMAND, "run", "--with", "thing", "-", "x"]
    code = "import sys, thing; print(sys.argv, thing.__version__)"
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['-', 'x'] 1"


def test_without_requirements_nothing_is_resolved(index: LoopbackIndex, remote_wheel: Python) -> None:
    assert remote_wheel("run", "-c", "print('hello')").stdout.strip() == "hello"
    assert index.requests == []


def test_multiprocessing_in_a_script(thing: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "import multiprocessing, thing\n\n\ndef f(x):\n    return x, thing.__version__\n\n\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(f, [1]))\n"
    )
    assert remote_wheel("run", "--with", "thing", "work.py").stdout.strip() == "[(1, '1')]"


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_interrupt_ends_the_program_by_the_signal(thing: LoopbackIndex, tmp_path: Path) -> None:
    code = "import time; print('up', flush=True); time.sleep(60)"
    command = [sys.executable, COMMAND, "run", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert running.returncode == -signal.SIGINT
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert "remote_wheel" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "name a SCRIPT"),
        (["run", "--with", "x"], "name a SCRIPT"),
        (["run", "--frobnicate", "x"], "unrecognized arguments: --frobnicate"),
        (["run", "-m"], "expected one argument"),
        (["run", "nowhere.py"], "the script 'nowhere.py' does not exist"),
        (["run", "--with", "!", "-c", "pass"], "'!' is not a valid requirement"),
        (["frobnicate"], "invalid choice"),
    ],
)
def test_bad_command_lines(remote_wheel: Python, arguments: list[str], said: str) -> None:
    done = remote_wheel(*arguments, expect=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_offline_flag(thing: LoopbackIndex, remote_wheel: Python) -> None:
    thing.cache_control = "no-cache"
    remote_wheel("run", "--with", "thing", "-c", "import thing")
    thing.requests.clear()
    remote_wheel("run", "--offline", "--with", "thing", "-c", "import thing")
    assert thing.requests == []
    said = remote_wheel("run", "--offline", "--with", "other", "-c", "pass", expect=2).stderr
    assert said.splitlines() == [
        "error: offline, and the cache does not hold the index page of other",
        "try: Get it while online: remote-wheel prefetch other",
    ]


def test_the_helper_of_a_cold_run_takes_nothing_of_the_programs(thing: LoopbackIndex, tmp_path: Path) -> None:
    """Not its standard input, and not what lies beside it, which `python -m` puts first."""
    (tmp_path / "requests.py").write_text("raise SystemExit('not for the helper')\n")
    code = "import sys, thing; print(sys.stdin.read(), thing.__version__)"
    command = [sys.executable, "-m", "remote_wheel", "run", "--with", "thing", "-c", code]
    done = subprocess.run(command, input="asked", capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "asked 1\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is an interpreter of its own")
def test_the_helper_of_a_cold_run_is_a_fork_that_ends_with_its_request(
    thing: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    code = """
        import os, sys
        started = []
        watched = ("os.fork", "subprocess.Popen")
        sys.addaudithook(lambda event, args: started.append(event) if event in watched else None)
        code = "import thing, sys; print('requests' in sys.modules)"
        sys.argv = ["remote-wheel", "run", "--with", "thing", "-c", code]
        from remote_wheel.__main__ import main
        main()
        print(started)
        try:
            print(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            print("nobody is left")
    """
    assert python(code).stdout.splitlines() == ["False", "['os.fork']", "nobody is left"]
