"""What is printed where: encodings that lack letters, streams that are closed, and Ctrl-C at any moment."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex


@pytest.fixture
def garden(index: LoopbackIndex) -> LoopbackIndex:
    index.add("garden", "1", requires=["seeds", "water"])
    index.add("seeds", "1")
    index.add("water", "1")
    return index


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "words", [["tree", "garden"], ["run", "--help"], ["tree", "--help"], ["--help"], ["run"], ["explain", "garden"]]
)
def test_every_encoding_will_do(garden: LoopbackIndex, encoding: str, words: list[str]) -> None:
    expect = 2 if words == ["run"] else 0
    command, environ = [sys.executable, COMMAND, *words], {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=60)
    assert done.returncode == expect
    assert "Error" not in done.stderr.decode(encoding)
    assert done.stdout.decode(encoding) or expect


def test_a_tree_in_ascii(garden: LoopbackIndex, remote_wheel: Python) -> None:
    said = remote_wheel("tree", "garden", PYTHONIOENCODING="ascii").stdout
    assert said == "garden 1\n|-- seeds 1\n`-- water 1\n"


def _run(words: list[str], streams: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a shell that closes *streams* (``2>&-``)."""
    line = " ".join(f"'{word}'" for word in (sys.executable, COMMAND, *words))
    return subprocess.run(["sh", "-c", f"{line} {streams}"], capture_output=True, text=True, timeout=60)


def test_where_stderr_is_closed_nothing_of_it_lands_in_stdout(garden: LoopbackIndex) -> None:
    garden.status_of["garden"] = ("deprecated", "there is a newer one")
    for words in (
        ["tree", "garden"],
        ["lock", "garden", "-o", "-"],
        ["tree", "nowhere"],
        ["run"],
        ["prefetch", "garden"],
    ):
        there, closed = _run(words, ""), _run(words, "2>&-")
        assert (closed.returncode, closed.stdout) == (there.returncode, there.stdout), words
    assert "deprecated" not in _run(["lock", "garden", "-o", "-"], "2>&-").stdout


@pytest.mark.parametrize("words", [["tree", "garden"], ["--version"], ["cache", "dir"]])
def test_where_stdout_is_closed_there_is_no_trace(garden: LoopbackIndex, words: list[str]) -> None:
    done = _run(words, ">&-")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("wait_s", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6])
@pytest.mark.parametrize("words", [["run", "--with", "garden", "-c", "1"], ["tree", "garden"]], ids=["run", "tree"])
def test_an_interrupt_is_told_in_a_word(garden: LoopbackIndex, wait_s: float, words: list[str]) -> None:
    """Whenever it comes, once the interpreter has begun to run us."""
    garden.hang_s = 5.0
    code = (
        "import os, signal, sys, threading\n"
        "from remote_wheel.__main__ import main\n"
        f"threading.Timer({wait_s}, lambda: os.killpg(0, signal.SIGINT)).start()\n"
        f"sys.argv[:] = ['remote-wheel', *{words!r}]\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.strip() == "interrupted"
    assert done.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["run", "--with", "bulky", "-c", "1"], ["prefetch", "bulky"]], ids=["run", "prefetch"]
)
def test_an_interrupt_leaves_the_cursor_to_be_seen(index: LoopbackIndex, tmp_path: Path, words: list[str]) -> None:
    """On a terminal, while a wheel is downloaded: the bar is gone, and the process does not wait for the transfer."""
    index.add("bulky", "1", {"bulky/__init__.py": "", "bulky/data.bin": os.urandom(30_000_000)})
    index.drip_s = 0.02
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, COMMAND, *words],
        stdin=side,
        stdout=subprocess.DEVNULL,
        stderr=side,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(side)
    seen = bytearray()

    def read() -> None:
        while True:
            try:
                seen.extend(os.read(main, 65536))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    until_s = time.monotonic() + 30
    while b"Downloading" not in seen and time.monotonic() < until_s:
        time.sleep(0.05)
    assert b"\x1b[?25l" in seen, bytes(seen)
    os.killpg(process.pid, signal.SIGINT)
    began_s = time.monotonic()
    assert process.wait(timeout=20) == 130
    took_s = time.monotonic() - began_s
    reader.join(5)
    os.close(main)
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert b"interrupted" in seen
    assert took_s < 5
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_user_without_a_home(garden: LoopbackIndex, python: Python, cache: Path, tmp_path: Path) -> None:
    """No HOME, and a user id that has no name: as in many containers."""
    code = """
        import os, sys
        os.environ.pop("HOME", None)
        if "--named" not in sys.argv:
            del os.environ["REMOTE_WHEEL_CACHE_DIR"]
        import pwd
        def getpwuid(uid):
            raise KeyError(uid)
        pwd.getpwuid = getpwuid  # what posixpath.expanduser asks
        import remote_wheel
        try:
            print(remote_wheel.require("garden").__version__)
        except remote_wheel.RemoteWheelError as error:
            print(type(error).__name__, error)
    """
    assert python(code, "--named").stdout == "1\n"
    said = python(code).stdout
    assert said == "StoreError the cache folder ~/.cache/remote_wheel can't be used: this user has no home folder\n"
    assert not (tmp_path / "~").exists()


def test_without_pip_an_index_has_to_be_named(python: Python) -> None:
    code = """
        import sys
        sys.modules["pip"] = sys.modules["pip._internal"] = None
        from remote_wheel.settings import find_default_index
        try:
            find_default_index({"PIP_CONFIG_FILE": "/dev/null"})
        except Exception as error:
            print(type(error).__name__, error, error.hint)
    """
    said = python(code).stdout
    assert said.startswith("UsageError no index is named, and there is no pip here")
    assert "REMOTE_WHEEL_INDEX_URL" in said
