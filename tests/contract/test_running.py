"""Running what a distribution brings, and everything that starts another process."""

import os
import sys

import pytest

from tests.contract.conftest import World

TOOL = {
    "tool/__init__.py": "class Point:\n    def __init__(self, x):\n        self.x = x\n\n\n"
    "def square(x):\n    return x * x\n",
    "tool/__main__.py": "import sys\nfrom tool import square\nprint(__name__, square(4), sys.argv[1:], __package__)\n",
    "tool/cli.py": "import sys\n\n\ndef main():\n    print('cli', sys.argv[1:])\n    return 5\n",
}


@pytest.fixture
def tool(world: World) -> World:
    world.add(
        "tool", TOOL, entry_points="[console_scripts]\ntool = tool.cli:main\n[gui_scripts]\ntoolw = tool.cli:main\n"
    )
    return world


def test_runpy(tool: World) -> None:
    code = """
        import runpy
        runpy.run_module("tool", run_name="__main__", alter_sys=True)
        print(sorted(runpy.run_module("tool.cli"))[-1])
    """
    assert tool.said(code)[0] == "__main__ 16 [] tool"


def test_scripts_by_entry_point(tool: World) -> None:
    code = """
        from importlib.metadata import entry_points
        for group in ("console_scripts", "gui_scripts"):
            (script,) = [e for e in entry_points(group=group) if e.module == "tool.cli"]
            print(script.load()())
    """
    assert tool.said(code) == ["cli []", "5", "cli []", "5"]


@pytest.mark.skipif(os.name != "posix", reason="fork and forkserver are POSIX")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(tool: World, method: str) -> None:
    code = f"""
        import multiprocessing
        from tool import Point, square

        def get(point):
            import tool.cli
            return point.x + 1

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            with context.Pool(2) as pool:
                print(pool.map(square, [1, 2, 3]), pool.map(get, [Point(4)]))
    """
    assert tool.said(code) == ["[1, 4, 9] [5]"]


def test_process_pools(tool: World) -> None:
    code = """
        import concurrent.futures, multiprocessing
        from tool import square
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                print(list(pool.map(square, [5])))
    """
    assert tool.said(code) == ["[25]"]


def test_subprocesses_of_the_same_interpreter_at_any_depth(tool: World) -> None:
    code = """
        import subprocess, sys
        def run(*arguments):
            command = [sys.executable, *arguments]
            print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        run("-m", "tool", "a")
        run("-c", "import tool; print(tool.square(6))")
        again = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'tool'])"
        run("-c", again)
        run("-c", "import tool, importlib.metadata; print(importlib.metadata.version('tool'))")
    """
    assert tool.said(code) == ["__main__ 16 ['a'] tool", "36", "__main__ 16 [] tool", "1"]


def test_a_sitecustomize_of_the_user_still_runs(tool: World) -> None:
    folder = tool.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.customized = sys.modules['sitecustomize'].__file__\n")
    code = """
        import subprocess, sys
        check = "import sys, tool; print(sys.customized[-21:], 'bootstrap' in repr(sys.path))"
        print(subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.strip())
    """
    assert tool.said(code, environ={"PYTHONPATH": str(folder)}) == ["site/sitecustomize.py False"]


def test_pickles(tool: World) -> None:
    code = """
        import copyreg, pickle, tool
        data = pickle.dumps([tool.Point(3), tool.square])
        point, square = pickle.loads(data)
        print(point.x, square is tool.square, type(point) is tool.Point)
    """
    assert tool.said(code) == ["3 True True"]


def test_unittest_and_doctest(world: World) -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": '"""Doc.\n\n>>> 1 + 1\n2\n"""\n',
        "pkg/test_it.py": "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_one(self):\n        pass\n",
    }
    world.add("pkg", files)
    code = """
        import doctest, unittest, pkg, pkg.test_it
        print(doctest.testmod(pkg))
        suite = unittest.defaultTestLoader.loadTestsFromName("pkg.test_it")
        print(suite.countTestCases())
        print(unittest.defaultTestLoader.discover("pkg", pattern="test_*.py").countTestCases())
    """
    said = world.said(code)
    assert said[:2] == ["TestResults(failed=0, attempted=1)", "1"]
    # Discovery lists folders. Of a wheel in memory there is none; the scan can't know that somebody will look.
    assert said[2] == ("0" if world.mode == "memory" else "1")


@pytest.mark.skipif(sys.flags.safe_path, reason="the test relies on the script's folder")
def test_a_path_the_program_extends(world: World) -> None:
    world.add("pkg", {"pkg/__init__.py": ""})
    code = """
        import pathlib, pkg
        extra = pathlib.Path("extra")
        extra.mkdir(exist_ok=True)
        (extra / "plugin.py").write_text("X = 'from disk'\\n")
        pkg.__path__.append(str(extra.absolute()))
        import pkg.plugin
        print(pkg.plugin.X)
    """
    assert world.said(code) == ["from disk"]
