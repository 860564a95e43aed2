"""Processes that are killed, or refused by the system, at any step: the store stays valid and the next run works.

`KILLS` is how many steps are tried, 100 by default: ``KILLS=1000 python -m pytest -m kills``.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from remote_wheel.api.upkeep import Upkeep, open_store
from tests.conftest import COMMAND
from tests.loopback import LoopbackIndex, serve

KILLS = int(os.environ.get("KILLS", "100"))
CALLS = "write,pwrite64,rename,renameat,renameat2,fsync,syncfs,openat,unlink,unlinkat,mkdir,fcntl,flock"
LINE = re.compile(r"(\d+) +(\w+)\(")
REQUIRE = "import remote_wheel; a, b = remote_wheel.require('app', 'native'); print(a.V, b.V)"
PROGRAMS = {
    "prefetch": [sys.executable, COMMAND, "prefetch", "app", "native"],
    "require": [sys.executable, "-c", REQUIRE],
    "prune": [sys.executable, COMMAND, "cache", "prune", "--max-size", "0"],
}
ERRORS = ("EIO", "ENOSPC", "EROFS", "EMFILE", "EACCES")
STRACE = ["strace", "-f", "-qq", "-y"]  # with --seccomp-bpf it injects no signals

pytestmark = [
    pytest.mark.kills,
    pytest.mark.skipif(not shutil.which("strace"), reason="NO SERVER: needs strace"),
]


class Step(NamedTuple):
    """One system call of a program that touches the cache: its name, and which of its thread's it is."""

    call: str
    number: int


@pytest.fixture(scope="module")
def shop() -> Iterator[LoopbackIndex]:
    with serve(LoopbackIndex()) as index:
        index.add(
            "app", "1", {"app/__init__.py": "from lib import V\n", "app/data.bin": bytes(50_000)}, requires=["lib"]
        )
        index.add("lib", "1", {"lib.py": "V = 1\n"})
        files: dict[str, str | bytes] = {"native/__init__.py": "V = 2\n", "native/_x.so": b"\x7fELF"}
        files |= {f"native/data{n}.txt": "text" for n in range(6)}
        index.add("native", "1", files, tag="py3-none-linux_x86_64")
        yield index


@pytest.fixture(scope="module")
def full(shop: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has everything."""
    cache = tmp_path_factory.mktemp("full") / "cache"
    done = run(PROGRAMS["prefetch"], cache, shop)
    assert done.returncode == 0, done.stderr
    return cache


def run(command: list[str], cache: Path, shop: LoopbackIndex, *strace: str) -> "subprocess.CompletedProcess[str]":
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("REMOTE_WHEEL_", "PYTHON"))},
        "REMOTE_WHEEL_CACHE_DIR": str(cache),
        "REMOTE_WHEEL_INDEX_URL": shop.url,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    prefix = [*STRACE, *strace] if strace else []
    return subprocess.run([*prefix, *command], capture_output=True, text=True, env=environ, timeout=120)


def steps_of(program: str, cache: Path, shop: LoopbackIndex, trace: Path, *, alone: bool = False) -> list[Step]:
    """Run *program* and return its steps, in order; *alone*, those that are no other thread's step of another kind."""
    done = run(PROGRAMS[program], cache, shop, "-o", str(trace), "-e", f"trace={CALLS}")
    assert done.returncode == 0, done.stderr
    wait_for_others(cache)
    counts: dict[tuple[str, str], int] = {}
    steps: dict[Step, bool] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if found := LINE.match(line):
            thread, call = found.groups()
            number = counts[thread, call] = counts.get((thread, call), 0) + 1
            step, is_ours = Step(call, number), str(cache) in line
            steps[step] = (steps.get(step, True) and is_ours) if alone else (steps.get(step, False) or is_ours)
    return [step for step, is_ours in steps.items() if is_ours]


def wait_for_others(cache: Path) -> None:
    """Wait for the process that works behind an import: while it runs, what it has begun is no leftover."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        environs = (path / "environ" for path in Path("/proc").iterdir() if path.name.isdecimal())
        if not any(f"REMOTE_WHEEL_CACHE_DIR={cache}\0".encode() in read(path) for path in environs):
            return
        time.sleep(0.05)
    pytest.fail("a process does not end")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def check(cache: Path, shop: LoopbackIndex, step: Step) -> None:
    """What follows works, executes what it should, and finds nothing damaged, held or left."""
    wait_for_others(cache)
    done = run(PROGRAMS["require"], cache, shop)
    assert (done.returncode, done.stdout) == (0, "1 2\n"), (step, done.stderr)
    wait_for_others(cache)
    upkeep = Upkeep(open_store(str(cache)))
    assert not list(upkeep.damages()), step
    upkeep.sweep(time.time() + 3 * 86_400)
    left = [path for path in (cache / "v1").rglob("*") if path.name.startswith(".") or path.suffix == ".lock"]
    assert not left, (step, left)


def chosen(steps: list[Step], count: int) -> list[Step]:
    """Return *count* of the steps, evenly spread; all where there are not so many."""
    return steps[:: max(1, len(steps) // count)][:count] if count < len(steps) else steps


def prepared(program: str, cache: Path, full: Path) -> Path:
    if program == "prune":
        shutil.copytree(full, cache)
        for path in cache.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        cache.chmod(0o700)
    return cache


@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_at_every_step(program: str, shop: LoopbackIndex, full: Path, tmp_path: Path) -> None:
    steps = steps_of(program, prepared(program, tmp_path / "first", full), shop, tmp_path / "trace")
    killed = 0
    for at, step in enumerate(chosen(steps, KILLS * (2 if program == "require" else 1) // 4)):
        cache = prepared(program, tmp_path / str(at), full)
        inject = f"inject={step.call}:signal=SIGKILL:when={step.number}"
        done = run(PROGRAMS[program], cache, shop, "-o", os.devnull, "-e", f"trace={step.call}", "-e", inject)
        killed += done.returncode != 0
        check(cache, shop, step)
        shutil.rmtree(cache)
    assert killed, "nobody was killed: the test proves nothing"


@pytest.mark.parametrize("program", PROGRAMS)
def test_refused_at_every_step(program: str, shop: LoopbackIndex, full: Path, tmp_path: Path) -> None:
    steps = steps_of(program, prepared(program, tmp_path / "first", full), shop, tmp_path / "trace", alone=True)
    for at, step in enumerate(chosen(steps, KILLS // 4)):
        cache, error = prepared(program, tmp_path / str(at), full), ERRORS[at % len(ERRORS)]
        inject = f"inject={step.call}:error={error}:when={step.number}"
        done = run(PROGRAMS[program], cache, shop, "-o", os.devnull, "-e", f"trace={step.call}", "-e", inject)
        if done.returncode:
            ours = "error: " in done.stderr if program != "require" else "remote_wheel.errors." in done.stderr
            ours = ours or "lost sys.stderr" in done.stderr  # it was that what could not be written
            assert ours, (step, error, done.stderr[-2000:])
        check(cache, shop, step)
        shutil.rmtree(cache)
