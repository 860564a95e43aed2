"""The other tools, in a venv of the benchmark's own, and a scrubbed environment for all."""

import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import NamedTuple

PEERS = ("uv", "pip", "pip-run", "pex")
_FOREIGN = ("PIP_", "UV_", "REMOTE_WHEEL_", "PYTHON", "VIRTUAL_ENV")


def environment(home: Path) -> dict[str, str]:
    """Return an environment with nothing of this machine's settings; bytecode is written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "PIP_NO_INPUT": "1"}


def install(folder: Path, *requirements: str) -> Path:
    """Make a venv with *requirements*, each of which has a program of its name; return its folder of programs."""
    programs = folder / "bin"
    if not all((programs / name).exists() for name in requirements):
        venv.create(folder, with_pip=True)
        command = [str(programs / "python"), "-m", "pip", "install", "-q", "-U", *requirements]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return programs


def versions(folder: Path) -> str:
    """Return what is installed in the venv of *folder* of the tools that are compared, and their versions."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(folder)).stdout
    pairs = [line.replace("==", " ") for line in listed.splitlines()]
    return ", ".join(pair for pair in pairs if pair.split()[0] in PEERS)


class Timed(NamedTuple):
    """A program's run: how long it took, and what it wrote."""

    took_s: float
    stdout: str
    stderr: str


def timed(command: list[str], environ: dict[str, str], cwd: Path, limit_s: float = 300) -> Timed:
    """Run *command*. A failure ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=cwd, timeout=limit_s)
    took = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Timed(took, done.stdout, done.stderr)
