"""A file system that answers ENOSYS to flock(2), as Lustre does where it is mounted without: nothing waits for ever."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback import LoopbackIndex

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="NO COMPILER, or no LD_PRELOAD"
)
SHIM = """
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
int flock(int fd, int operation) { errno = ENOSYS; return -1; }
"""
CODE = "import remote_wheel; a, b = remote_wheel.require('app', 'native'); print(a.V, b.V)"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "shim.c").write_text(SHIM)
    command = ["cc", "-shared", "-fPIC", str(tmp_path / "shim.c"), "-o", str(tmp_path / "shim.so")]
    subprocess.run(command, check=True)
    return {**os.environ, "LD_PRELOAD": str(tmp_path / "shim.so")}


def test_imports_and_upkeep(index: LoopbackIndex, environ: dict[str, str], cache: Path, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"native/__init__.py": "V = 2\n", "native/_x.so": b"\x7fELF"}
    index.add("app", "1", {"app.py": "V = 1\n"})
    index.add("native", "1", files, tag="py3-none-linux_x86_64")
    check = "import fcntl, os\ntry:\n fcntl.flock(1, fcntl.LOCK_UN)\nexcept OSError as error: print(error.errno)"
    assert subprocess.run([sys.executable, "-c", check], env=environ, capture_output=True).stdout == b"38\n"
    for _ in range(2):
        started = [
            subprocess.Popen([sys.executable, "-c", CODE], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(4)
        ]
        for process in started:
            output, errors = process.communicate(timeout=50)
            assert output == b"1 2\n", errors.decode()
    said = subprocess.run(
        [sys.executable, "-m", "remote_wheel", "cache", "clean"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert said.returncode == 0, said.stderr
    assert not list((cache / "v1" / "locks").glob("*.held"))


def test_who_has_died_is_waited_for_once(tmp_path: Path, environ: dict[str, str]) -> None:
    code = f"""
import time
from pathlib import Path
from remote_wheel.store import files
files._PATIENCE_WITHOUT_LOCKS_S = 0.2
disk = files.Disk()
path = Path({str(tmp_path)!r}, "it.lock")
Path(f"{{path}}.held").write_text("left by who has died")
began = time.monotonic()
with disk.lock(path):
    print(time.monotonic() - began > 0.1)
    try:
        with disk.lock(path, may_wait=False):
            print("twice")
    except files.LockIsHeld:
        print("held")
with disk.lock(path, may_wait=False):
    print("free")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "held", "free"], done.stderr
