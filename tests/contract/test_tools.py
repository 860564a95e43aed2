"""Tools that look closely at modules: pytest's rewriting and plug-ins, coverage-like tracers, pdb."""

import subprocess

import pytest

from tests.contract.conftest import World


@pytest.fixture
def plugin(world: World) -> World:
    files = {
        "rw_plugin.py": "import pytest\n\n\n@pytest.fixture\ndef lucky():\n    return 7\n\n\n"
        "def check(value):\n    expected = 6\n    assert value == expected\n",
    }
    world.add("rw-plugin", files, entry_points="[pytest11]\nrw_plugin = rw_plugin\n")
    return world


def test_a_pytest_plugin_found_by_entry_point(plugin: World) -> None:
    if plugin.mode == "installed":
        pytest.skip("the venv of this mode has no pytest; what pytest does with installed plug-ins is its own affair")
    code = """
        import pathlib, sys, pytest
        pathlib.Path("test_lucky.py").write_text(
            "import rw_plugin\\n\\n\\ndef test_it(lucky):\\n    rw_plugin.check(lucky)\\n"
        )
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_lucky.py"]))
    """
    said = plugin.run(code, expect=1).stdout
    assert "1 failed" in said
    # Assertions in the plug-in are rewritten where its file exists; the scan unpacks plug-ins for that.
    assert ("assert 7 == 6" in said) is (plugin.mode == "unpacked")


def test_tracing_gets_the_file_names_of_the_modules(world: World) -> None:
    world.add("pkg", {"pkg.py": "def f():\n    return 1\n"})
    code = """
        import sys, pkg
        seen = set()
        sys.settrace(lambda frame, event, arg: seen.add(frame.f_code.co_filename))
        pkg.f()
        sys.settrace(None)
        print(pkg.__file__ in seen)
    """
    assert world.said(code) == ["True"]


def test_pdb_lists_source(world: World) -> None:
    world.add("pkg", {"pkg.py": "def f():\n    x = 1\n    breakpoint()\n    return x  # here we are\n"})
    work = world.folder / "work"
    world.run("pass")
    (work / "main.py").write_text((work / "main.py").read_text() + "\nimport pkg\npkg.f()\n")
    command = [str(world.python), "main.py"]
    done = subprocess.run(command, input="list\nwhere\nc\n", capture_output=True, text=True, cwd=work, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "return x  # here we are" in done.stdout


def test_isolated_mode(world: World) -> None:
    world.add("pkg", {"pkg.py": "X = 1\n"})
    assert world.said("import pkg; print(pkg.X)", flags=["-I", "-X", "frozen_modules=off"]) == ["1"]
