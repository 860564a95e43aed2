"""The printer: bars on a terminal and nothing left of them, silence elsewhere."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remote_wheel.api.cold import Silent
from remote_wheel.cli.output import TerminalProgress, make_progress, report
from remote_wheel.errors import NotFound, RecordMismatch
from tests.conftest import COMMAND
from tests.loopback import LoopbackIndex


def test_three_depths(capsys: pytest.CaptureFixture[str]) -> None:
    error = RecordMismatch(subject="x.whl", problems=(("a.py", "gone"),))
    assert report(error, is_verbose=False) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == "error: x.whl does not match its RECORD: a.py: gone"
    assert lines[1].startswith("try: ")
    assert lines[2] == "(-v shows the detail)"
    report(error, is_verbose=True)
    assert capsys.readouterr().err.splitlines()[2] == "a.py: gone"


def test_an_error_without_detail_and_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(NotFound(url="u", reason="404"), is_verbose=True) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert report(KeyboardInterrupt(), is_verbose=False) == 130
    with pytest.raises(ZeroDivisionError):
        report(ZeroDivisionError(), is_verbose=False)


def test_no_terminal_no_progress(capfd: pytest.CaptureFixture[str]) -> None:
    progress = make_progress()
    assert isinstance(progress, Silent)
    progress.resolving(1)
    progress.downloading("x", 1, 2)
    progress.preparing("x")
    progress.close()
    assert capfd.readouterr() == ("", "")


def test_bars_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw on a real terminal: something is drawn, and the cursor ends where it began."""
    monkeypatch.setattr(TerminalProgress, "_PATIENCE_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        progress = TerminalProgress(terminal)
        progress.resolving(3)
        progress.downloading("a-1-py3-none-any.whl", 500, 1000)
        progress.downloading("b-1-py3-none-any.whl", 10, None)
        progress.preparing("a-1-py3-none-any.whl")
        time.sleep(0.3)
        progress.close()
        drawn = _read(ours)
    os.close(ours)
    assert "Downloading: 2 wheels" in drawn
    assert "Preparing: a-1" in drawn
    # Every line drawn was erased: rich moves up and clears (CSI 2K) each of them at the end.
    assert drawn.count("\x1b[2K") >= 2
    assert drawn.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def _read(descriptor: int) -> str:
    data = b""
    while select.select([descriptor], [], [], 0.1)[0]:
        data += os.read(descriptor, 65536)
    return data.decode("utf-8", "replace")


def test_a_terminal_run_leaves_only_the_programs_output(index: LoopbackIndex) -> None:
    index.add("thing", "1")
    index.hang_s = 0.25
    ours, theirs = pty.openpty()
    command = [sys.executable, COMMAND, "run", "--with", "thing", "-c", "print('done')"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as run:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            drawn += chunk
    os.close(ours)
    assert run.returncode == 0
    text = drawn.decode("utf-8", "replace")
    assert "Downloading: 1 wheel " in text
    assert text.rstrip().endswith("done")


def test_a_reader_that_has_gone_and_a_full_disk(index: LoopbackIndex, tmp_path: Path) -> None:
    index.add("thing", "1.0")
    tree = f"'{sys.executable}' '{COMMAND}' tree thing"
    command = ["bash", "-c", f"set -o pipefail; {tree} --json | true; echo $?; {tree} > /dev/full; echo $?"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[0] in ("0", "141"), "it may have been quicker than its reader"
    assert done.stdout.split()[1] == "2"
    assert done.stderr == "error: standard output can't be written: No space left on device\n"
