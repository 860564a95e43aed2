"""The test suites of other projects, run over their mounted wheels: the same outcomes as over the installed ones.

pip fetches the sdists (which carry the tests) and the wheels; the mounts then come from an index made of these on disk.
One command runs it: python -m pytest -m third_party
"""

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fixtures.wheels import write_index
from tests.conftest import NETWORK

pytestmark = pytest.mark.third_party

# project, version, what its suite needs beside pytest and hypothesis, tests that prove nothing about a mount and why
SUITES: list[tuple[str, str, list[str], list[str]]] = [
    ("click", "8.3.1", [], []),
    ("attrs", "25.4.0", ["cloudpickle"], []),
    ("packaging", "25.0", ["pretend"], []),
    ("jinja2", "3.1.6", ["trio"], []),
]


def _run(command: list[str], cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **NETWORK, **environ, "PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=900)


def _outcomes(report: Path) -> dict[str, str]:
    """Return test → passed, failed, error or skipped of a JUnit report."""
    found = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}::{case.get('name')}"] = kinds[0] if kinds else "passed"
    return found


LENGTHY = ("attrs", "packaging")


@pytest.mark.parametrize(
    ("project", "version", "needs", "left_out"),
    [pytest.param(*suite, id=suite[0], marks=[pytest.mark.lengthy] if suite[0] in LENGTHY else []) for suite in SUITES],
)
def test_the_suite_of(project: str, version: str, needs: list[str], left_out: list[str], tmp_path: Path) -> None:
    pin = f"{project}=={version}"
    pip = [sys.executable, "-m", "pip"]
    done = _run([*pip, "download", "-q", "--no-deps", "--no-binary", ":all:", pin], tmp_path)
    assert done.returncode == 0, done.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (tree,) = (tmp_path / "sdist").iterdir()
    (tree / "src").rename(tree / "not-src")  # the suite must not find the sources beside it
    installed = tmp_path / "installed"
    done = _run([*pip, "install", "-q", "--only-binary", ":all:", "--target", str(installed), pin, *needs], tmp_path)
    assert done.returncode == 0, done.stderr
    # Suites that make warnings errors meet newer pytests than they knew.
    options = [
        "-W",
        "ignore::pytest.PytestRemovedIn10Warning",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "tests",
    ]
    options += [f"--deselect={name}" for name in left_out]
    reports = tmp_path / "installed.xml", tmp_path / "mounted.xml"
    plain = [sys.executable, "-m", "pytest", f"--junitxml={reports[0]}", *options]
    expected = _run(plain, tree, PYTHONPATH=str(installed))
    done = _run([*pip, "download", "-q", "--only-binary", ":all:", "-d", "wheels", pin, *needs], tmp_path)
    assert done.returncode == 0, done.stderr
    write_index([(path.name, path.read_bytes()) for path in (tmp_path / "wheels").iterdir()], tmp_path / "index")
    runner = "import sys; from remote_wheel.__main__ import main; sys.exit(main())"
    wanted = [word for need in (pin, *needs) for word in ("--with", need)]
    command = [
        sys.executable,
        "-c",
        runner,
        "run",
        "--no-prefer-installed",
        "--index-url",
        str(tmp_path / "index"),
        *wanted,
        "-m",
        "pytest",
    ]
    mounted = _run([*command, f"--junitxml={reports[1]}", *options], tree)
    assert reports[1].exists(), mounted.stderr[-2000:]
    installed_outcomes, mounted_outcomes = _outcomes(reports[0]), _outcomes(reports[1])
    assert list(installed_outcomes.values()).count("passed") > 100, expected.stdout[-2000:]
    differing = {
        name: (outcome, mounted_outcomes.get(name))
        for name, outcome in installed_outcomes.items()
        if mounted_outcomes.get(name) != outcome
    }
    assert differing == {}, mounted.stdout[-3000:]
