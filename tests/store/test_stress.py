"""Sixty-four processes on one cache, some of them killed, while others prune it.

`STRESS_S` is how long, 20 s by default: ``STRESS_S=120 python -m pytest -m kills tests/store/test_stress.py``.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remote_wheel.api.upkeep import Upkeep, open_store
from tests.conftest import COMMAND
from tests.loopback import LoopbackIndex

STRESS_S = float(os.environ.get("STRESS_S", "20"))
AT_ONCE = 64
WHEELS = ("red", "green", "blue", "native")
CODE = "import sys, remote_wheel; print(remote_wheel.require(sys.argv[1]).NAME)"


def fill(index: LoopbackIndex) -> None:
    for name in WHEELS[:3]:
        index.add(name, "1", {f"{name}/__init__.py": f"NAME = {name!r}\n", f"{name}/data.bin": os.urandom(50_000)})
    files: dict[str, str | bytes] = {"native/__init__.py": "NAME = 'native'\n", "native/_x.so": b"\x7fELF"}
    index.add("native", "1", files, tag="py3-none-linux_x86_64")


def start(*arguments: str, **environ: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environ},
        start_new_session=True,
    )


@pytest.mark.slow
def test_sixty_four_processes_fetch_each_wheel_once(index: LoopbackIndex, cache: Path) -> None:
    fill(index)
    started = [(WHEELS[at % len(WHEELS)], start("-c", CODE, WHEELS[at % len(WHEELS)])) for at in range(AT_ONCE)]
    for name, process in started:
        output, errors = process.communicate(timeout=300)
        assert (process.returncode, output.decode().strip()) == (0, name), errors.decode()
    assert index.wheels() == len(WHEELS)
    assert not list(cache.rglob("*.tmp"))


@pytest.mark.kills
@pytest.mark.skipif(os.name != "posix", reason="signals and leases are POSIX")
def test_imports_prunes_and_kills(index: LoopbackIndex, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not killed gets what it asked for, whatever others remove meanwhile; in the end all is whole."""
    monkeypatch.setenv("REMOTE_WHEEL_COMPILE", "ahead")
    fill(index)
    randomly, until = random.Random(1), time.monotonic() + STRESS_S
    running: list[tuple[str, subprocess.Popen[bytes], bool]] = []
    finished = 0

    def end(name: str, process: "subprocess.Popen[bytes]", *, was_killed: bool) -> int:
        output, errors = process.communicate(timeout=120)
        if was_killed:
            return 0
        assert process.returncode == 0, (name, errors.decode()[-3000:])
        assert output.decode().strip() == name
        return 1

    while time.monotonic() < until:
        while len(running) < AT_ONCE:
            if randomly.random() < 0.2:
                prune = randomly.choice(
                    [("prune", "--max-size", "60kB"), ("clean", randomly.choice(WHEELS)), ("clean",)]
                )
                running.append(("", start(COMMAND, "cache", *prune), False))
            else:
                name = randomly.choice(WHEELS)
                running.append((name, start("-c", CODE, name), randomly.random() < 0.3))
        at = randomly.randrange(len(running))
        name, process, is_doomed = running.pop(at)
        if is_doomed:
            time.sleep(randomly.random() * 0.5)
            os.killpg(process.pid, signal.SIGKILL)  # with its helper
        finished += end(name, process, was_killed=is_doomed)
    for name, process, _ in running:
        finished += end(name, process, was_killed=False)
    assert finished > STRESS_S / 4
    time.sleep(2)  # what works behind imports
    for name in WHEELS:
        end(name, start("-c", CODE, name, REMOTE_WHEEL_COMPILE="before"), was_killed=False)
    upkeep = Upkeep(open_store(str(cache)))
    assert not list(upkeep.damages())
    upkeep.sweep(time.time() + 3 * 86_400)
    assert not list((cache / "v1").rglob(".*"))
