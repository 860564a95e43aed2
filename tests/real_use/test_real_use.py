"""Real projects doing real work, mounted and installed, side by side: the same wheels must give the same answers.

Uses pip's default index, so CI leaves it out. One command runs it: python -m pytest -m real_index tests/real_use
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import NETWORK

PROGRAMS = Path(__file__).parent / "programs"  # named by the requirement; each prints what it found
pytestmark = pytest.mark.real_index


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache and a pip cache for all cases of a run."""
    return tmp_path_factory.mktemp("real_use")


def _run(command: list[str], cwd: Path, environ: dict[str, str]) -> tuple[int, str, str]:
    cwd.mkdir(exist_ok=True)
    environment = {**os.environ, **NETWORK, **environ, "PYTHONHASHSEED": "0", "COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("requirement", sorted(path.stem for path in PROGRAMS.glob("*.py")))
def test_mounted_is_as_installed(requirement: str, tmp_path: Path, shared: Path) -> None:
    cache = {"REMOTE_WHEEL_CACHE_DIR": str(shared / "cache"), "REMOTE_WHEEL_PREFER_INSTALLED": "0"}
    pins = (
        "import sys, remote_wheel as rw\nfor pin in rw.resolve(sys.argv[1]).pins: print(f'{pin.name}=={pin.version}')"
    )
    code, plan, said = _run([sys.executable, "-c", pins, requirement], tmp_path / "plan", cache)
    assert code == 0, said
    installed = tmp_path / "installed"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--target",
        str(installed),
    ]
    code, _, said = _run([*pip, *plan.split()], tmp_path / "pip", {"PIP_CACHE_DIR": str(shared / "pip")})
    assert code == 0, said
    program = tmp_path / "program.py"
    program.write_text((PROGRAMS / f"{requirement}.py").read_text("utf-8"), "utf-8")
    expected = _run([sys.executable, str(program)], tmp_path / "a", {"PYTHONPATH": str(installed)})
    runner = "import sys; from remote_wheel.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", runner, "run", "--with", requirement, str(program)]
    mounted = _run(command, tmp_path / "b", cache)
    assert expected[0] == 0, f"the program fails where it is installed: {expected[2]}"
    assert mounted[:2] == expected[:2], f"mounted: {mounted}\ninstalled: {expected}"
