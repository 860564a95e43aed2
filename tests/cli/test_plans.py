"""tree, explain, inspect and lock on the command line: for people, and as JSON for programs."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex

ENTRY_POINTS = "[console_scripts]\ndig = garden:main\n"


@pytest.fixture
def garden(index: LoopbackIndex) -> LoopbackIndex:
    index.add(
        "garden",
        "1.0",
        {"garden.py": "raise RuntimeError('imported')\n"},
        requires=["soil<3"],
        entry_points=ENTRY_POINTS,
    )
    index.add("garden", "2.0rc1")
    for version in ("1.0", "2.0", "3.0", "4.0"):
        index.add("soil", version, yanked="rotten" if version == "2.0" else None)
    return index


def test_tree(garden: LoopbackIndex, remote_wheel: Python) -> None:
    assert remote_wheel("tree", "garden").stdout == "garden 1.0\n└── soil 1.0\n"
    found = json.loads(remote_wheel("tree", "garden", "--json").stdout)
    assert found["requirements"] == ["garden"]
    assert [(pin["name"], pin["version"], pin["needs"]) for pin in found["pins"]] == [
        ("garden", "1.0", ["soil"]),
        ("soil", "1.0", []),
    ]


def test_a_tree_on_a_terminal_has_colours(garden: LoopbackIndex, tmp_path: Path) -> None:
    main, other = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color"}
    command = [sys.executable, COMMAND, "tree", "garden"]
    subprocess.run(command, stdout=other, stderr=subprocess.PIPE, check=True, cwd=tmp_path, env=environ)
    os.close(other)
    shown = os.read(main, 4096).decode()
    os.close(main)
    assert "\x1b[32m1.0\x1b[0m" in shown
    assert "└──" in shown


def test_explain(garden: LoopbackIndex, remote_wheel: Python) -> None:
    assert remote_wheel("explain", "garden").stdout.splitlines() == [
        f"garden 1.0 (garden-1.0-py3-none-any.whl from {garden.url})",
        "  you require garden",
        "  not 2.0rc1: it is a pre-release",
    ]
    assert remote_wheel("explain", "garden", "--why", "Soil").stdout.splitlines() == [
        f"soil 1.0 (soil-1.0-py3-none-any.whl from {garden.url})",
        "  garden 1.0 requires soil<3",
        "  not 3.0 to 4.0: garden 1.0 requires soil<3",
        "  not 2.0: it is yanked",
    ]
    (pin,) = json.loads(remote_wheel("explain", "garden", "--why", "soil", "--json").stdout)
    assert pin["wanted_by"] == [["garden 1.0", "soil<3"]]
    assert pin["rejected"][0] == ["4.0", "garden 1.0 requires soil<3"]
    done = remote_wheel("explain", "garden", "--why", "weeds", expect=2)
    assert done.stderr == "error: the plan has no 'weeds'\ntry: It has garden, soil.\n"


def test_inspect_imports_nothing(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    shown = remote_wheel("inspect", "garden").stdout
    assert shown.splitlines()[0] == "garden 1.0"
    for row in ("modules   garden", "scripts   dig = garden:main", "imported  in memory"):
        assert f"  {row}" in shown
    filename, data = make_wheel("local", "1.0", {"local.py": "open(__file__)\n"})
    (tmp_path / filename).write_bytes(data)
    (facts,) = json.loads(remote_wheel("inspect", f"./{filename}", "--json").stdout)
    assert facts["name"] == "local"
    assert facts["reasons"], "it is to be unpacked"
    assert facts["source"].endswith(filename)
    assert garden.wheels() == 1, "what it needs is not fetched for a look at it"


def test_a_plan_for_another_machine(index: LoopbackIndex, remote_wheel: Python, python: Python) -> None:
    for tag in (
        "cp312-cp312-win_amd64",
        "cp313-cp313-manylinux_2_17_x86_64",
        "cp312-cp312-macosx_11_0_arm64",
        "py3-none-any",
    ):
        index.add("native", "1.0", tag=tag)
    index.add("app", "1.0", requires=["native", "win-only; sys_platform == 'win32'", "old; python_version < '3.10'"])
    index.add("win-only", "1.0")
    index.add("old", "1.0")

    def locked(*options: str) -> dict[str, str]:
        lock = tomllib.loads(remote_wheel("lock", "app", "-o", "-", *options).stdout)
        return {package["name"]: package["wheels"][0]["name"] for package in lock["packages"]}

    windows = locked("--python-version", "3.12", "--platform", "windows")
    assert windows.keys() == {"app", "native", "win-only"}
    assert windows["native"] == "native-1.0-cp312-cp312-win_amd64.whl"
    linux = locked("--python-version", "3.13", "--platform", "manylinux_2_28_x86_64")
    assert linux["native"] == "native-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"
    assert locked("--python-version", "3.12.4", "--platform", "macos")["native"].endswith("macosx_11_0_arm64.whl")
    assert "old" in locked("--python-version", "3.9", "--platform", "linux")
    assert "win-only" in remote_wheel("tree", "app", "--platform", "win_amd64").stdout
    for option, value, reason in (
        ("--platform", "amiga", "platform='amiga' is not known"),
        ("--python-version", "three", "python_version='three' is no Python version"),
    ):
        assert f"error: {reason}" in remote_wheel("tree", "app", option, value, expect=2).stderr
    code = """
        import remote_wheel
        plan = remote_wheel.resolve("app", python_version="3.12", platform="windows")
        try:
            plan.mount()
        except remote_wheel.errors.UsageError as error:
            print(error)
    """
    assert python(code).stdout.startswith("this plan is for windows with Python 3.12, and")
