"""Modules, packages and namespaces: attributes, imports of every kind, source and errors."""

import importlib.util
import os
import sys

import pytest

from tests.contract.conftest import World


def test_attributes(world: World) -> None:
    world.add("pkg", {"pkg/__init__.py": "", "pkg/mod.py": "", "ns/inner/mod.py": ""})
    code = """
        import pkg, pkg.mod, ns.inner.mod, ns
        for module in (pkg, pkg.mod, ns.inner.mod):
            spec = module.__spec__
            print(module.__name__, module.__file__, module.__package__)
            print(spec.origin == module.__file__, spec.has_location)
            print(getattr(module, "__path__", None), spec.parent, spec.submodule_search_locations)
            print(module.__cached__ == spec.cached, module.__loader__ is spec.loader)
        print(list(ns.__path__), getattr(ns, "__file__", None), ns.__spec__.origin, type(ns.__path__).__name__)
    """
    assert world.said(code) == [
        "pkg ROOT/pkg/__init__.py pkg",
        "True True",
        "['ROOT/pkg'] pkg ['ROOT/pkg']",
        "True True",
        "pkg.mod ROOT/pkg/mod.py pkg",
        "True True",
        "None pkg None",
        "True True",
        "ns.inner.mod ROOT/ns/inner/mod.py ns.inner",
        "True True",
        "None ns.inner None",
        "True True",
        "['ROOT/ns'] None None _NamespacePath",
    ]


def test_relative_circular_and_lazy_imports(world: World) -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "def __getattr__(name):\n    if name == 'late':\n        import importlib\n"
        "        return importlib.import_module('pkg.late')\n"
        "    raise AttributeError(name)\n",
        "pkg/late.py": "from .deep.er import x\n",
        "pkg/deep/__init__.py": "",
        "pkg/deep/er.py": "from ..top import y as x\n",
        "pkg/top.py": "y = 5\nfrom . import top2\n",
        "pkg/top2.py": "from pkg import top\nassert top.y == 5\n",
    }
    world.add("pkg", files)
    code = """
        import importlib, importlib.util, sys, pkg
        print(pkg.late.x)
        spec = importlib.util.find_spec("pkg.top2")
        loader = importlib.util.LazyLoader(spec.loader)
        spec.loader = loader
        lazy = sys.modules["pkg.top2"] = importlib.util.module_from_spec(spec)
        loader.exec_module(lazy)
        print(lazy.top.y)
        print(importlib.import_module(".top", "pkg") is pkg.top, importlib.reload(pkg.top) is pkg.top)
        for bad in ("pkg.nothing", "pkg.top.nothing", "nothing"):
            try:
                importlib.import_module(bad)
            except ImportError as error:
                print(type(error).__name__, error, error.name)
        print(importlib.util.find_spec("pkg.nothing"), importlib.util.find_spec("nothing"))
    """
    assert world.said(code) == [
        "5",
        "5",
        "True True",
        "ModuleNotFoundError No module named 'pkg.nothing' pkg.nothing",
        "ModuleNotFoundError No module named 'pkg.top.nothing'; 'pkg.top' is not a package pkg.top.nothing",
        "ModuleNotFoundError No module named 'nothing' nothing",
        "None None",
    ]


def test_source_and_inspection(world: World) -> None:
    source = "# -*- coding: latin-1 -*-\n'''Doc.'''\nclass C:\n    def m(self):\n        return '\xe9'\n"
    world.add("pkg", {"pkg/__init__.py": "", "pkg/mod.py": source.encode("latin-1")})
    code = """
        import inspect, linecache, doctest, pkg.mod
        print(inspect.getfile(pkg.mod.C), inspect.getsourcefile(pkg.mod))
        print(ascii(inspect.getsource(pkg.mod.C.m)), ascii(pkg.mod.C().m()))
        print(ascii(inspect.getsource(pkg.mod)) == ascii(pkg.mod.__loader__.get_source("pkg.mod")))
        linecache.clearcache()
        print(ascii(linecache.getline(pkg.mod.__file__, 5, pkg.mod.__dict__)))
    """
    line = "        return '\\xe9'\\n"
    assert world.said(code) == [
        "ROOT/pkg/mod.py ROOT/pkg/mod.py",
        ascii("    def m(self):\n        return '\xe9'\n") + " '\\xe9'",
        "True",
        f'"{line}"',
    ]


def test_lines_without_globals(world: World) -> None:
    """Warnings and many tools ask linecache by file name alone."""
    world.add("pkg", {"pkg/__init__.py": "import warnings\ndef warn():\n    warnings.warn('careful')  # here\n"})
    code = """
        import pkg, linecache, sys, warnings
        print(linecache.getline(pkg.__file__, 3))
        pkg.warn()
    """
    done = world.run(code)
    assert "warnings.warn('careful')  # here" in done.stdout
    assert "UserWarning: careful\n  warnings.warn('careful')  # here" in done.stderr


@pytest.mark.parametrize("how", ["print_exc", "uncaught"])
def test_tracebacks_show_source_lines(world: World, how: str) -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "from pkg.inner import fail\n",
        "pkg/inner.py": "def fail():\n    x = 1\n    raise KeyError('boom')  # the line\n",
    }
    world.add("pkg", files)
    code = "import traceback, pkg\n"
    code += (
        "pkg.fail()\n" if how == "uncaught" else "try:\n    pkg.fail()\nexcept KeyError:\n    traceback.print_exc()\n"
    )
    said = world.run(code, expect=1 if how == "uncaught" else 0).stderr
    assert "raise KeyError('boom')  # the line" in said
    assert 'inner.py", line 3, in fail' in said
    assert said.rstrip().endswith("KeyError: 'boom'")


def test_a_module_that_fails_leaves_nothing_half_made(world: World) -> None:
    files: dict[str, str | bytes] = {
        "pkg/__init__.py": "from . import good, bad\n",
        "pkg/good.py": "",
        "pkg/bad.py": "1 / 0\n",
    }
    world.add("pkg", {**files, "syntax.py": "def f(:\n"})
    code = """
        import sys
        for name in ("pkg", "syntax"):
            try:
                __import__(name)
            except (ZeroDivisionError, SyntaxError) as error:
                print(type(error).__name__, getattr(error, "filename", None))
        print([name for name in ("pkg", "pkg.good", "pkg.bad", "syntax") if name in sys.modules])
    """
    assert world.said(code) == ["ZeroDivisionError None", "SyntaxError ROOT/syntax.py", "['pkg.good']"]


def test_namespaces_over_several_distributions(world: World) -> None:
    world.add(
        "one",
        {
            "ns/one.py": "N = 1\n",
            "legacy/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "legacy/a.py": "",
        },
    )
    world.add(
        "two",
        {
            "ns/two/__init__.py": "N = 2\n",
            "legacy/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "legacy/b.py": "",
        },
    )
    code = """
        import os, pathlib, ns.one, ns.two, legacy.a, legacy.b
        print(ns.one.N, ns.two.N)
        pathlib.Path("ns").mkdir(exist_ok=True)
        pathlib.Path("ns", "three.py").write_text("N = 3\\n")
        import importlib
        importlib.invalidate_caches()
        import ns.three
        print(ns.three.N)
    """
    if world.mode == "installed":  # both wheels have legacy/__init__.py: in one folder the second is a conflict
        world.wheels.clear()
        world.add("one", {"ns/one.py": "N = 1\n", "legacy/__init__.py": "", "legacy/a.py": ""})
        world.add("two", {"ns/two/__init__.py": "N = 2\n", "legacy/b.py": ""})
    assert world.said(code) == ["1 2", "3"]


def test_pkg_resources(world: World) -> None:
    """Only where setuptools still has it; Python 3.11's own environments do."""
    if importlib.util.find_spec("pkg_resources") is None or world.mode == "installed":
        pytest.skip("NOT TESTED: there is no pkg_resources here")
    declare = "__import__('pkg_resources').declare_namespace(__name__)\n"
    world.add("one", {"legacy/__init__.py": declare, "legacy/one/__init__.py": "", "legacy/one/x.txt": "data"})
    world.add("two", {"legacy/__init__.py": declare, "legacy/two.py": ""}, "2.5", entry_points="[g]\ne = legacy.two\n")
    code = """
        import warnings
        warnings.simplefilter("ignore")
        import pkg_resources, legacy.one, legacy.two
        print(len(legacy.__path__), pkg_resources.get_distribution("two").version)
        print(pkg_resources.resource_string("legacy.one", "x.txt"), pkg_resources.resource_exists("legacy.one", "y"))
        print(open(pkg_resources.resource_filename("legacy.one", "x.txt")).read())
        points = [point.name for point in pkg_resources.iter_entry_points("g")]
        print(sorted(pkg_resources.resource_listdir("legacy.one", "")), points)
    """
    said = world.said(code)
    assert said[:3] == ["2 2.5", "b'data' False", "data"]
    assert said[3] == "['__init__.py', 'x.txt'] ['e']"


def test_bytecode_alone_is_not_imported(world: World) -> None:
    """An installed .pyc without its source runs; a mounted one can't be checked, and its absence says so."""
    import py_compile
    from pathlib import Path

    source = Path(world.folder, "alone.py")
    source.write_text("X = 1\n")
    compiled = Path(py_compile.compile(str(source), cfile=str(world.folder / "alone.pyc"), doraise=True) or "")
    world.add("alone", {"alone.pyc": compiled.read_bytes(), "pkg/__init__.py": ""})
    code = """
        try:
            import alone
            print(alone.X)
        except ImportError as error:
            print(error)
    """
    (said,) = world.said(code)
    if world.mode == "installed":
        assert said == "1"
    else:
        assert said == "alone.pyc in the wheel of alone is bytecode without its source, which remote_wheel does not run"


@pytest.mark.parametrize("flags", [["-O"], ["-OO"], ["-I"], ["-P"], ["-B"], ["-X", "utf8"]])
def test_interpreter_flags(world: World, flags: list[str]) -> None:
    world.add("pkg", {"pkg.py": '"""Doc."""\n\ndef f():\n    assert False\n    return __debug__\n'})
    code = """
        import pkg
        try:
            print(pkg.f(), pkg.__doc__)
        except AssertionError:
            print("asserts", pkg.__doc__)
    """
    expected = {"-O": "False Doc.", "-OO": "False None"}.get(flags[0], "asserts Doc.")
    assert world.said(code, flags=flags) == [expected]
    assert world.said(code, flags=flags) == [expected]


def test_without_site_and_with_a_safe_path(world: World) -> None:
    """-S leaves site-packages away: whoever uses it says where things are."""
    world.add("pkg", {"pkg.py": "X = 1\n"})
    code = "import pkg, sys; print(pkg.X, sys.flags.no_site, sys.flags.safe_path)"
    site = [entry for entry in sys.path if entry.endswith("site-packages")]
    places = os.pathsep.join([str(world.site), *site] if world.mode == "installed" else [*site, *_editable(site)])
    assert world.said(code, flags=["-S"], environ={"PYTHONPATH": places}) == ["1 1 False"]
    assert world.said(code, environ={"PYTHONSAFEPATH": "1"}) == ["1 0 True"]


def _editable(sites: list[str]) -> list[str]:
    """Return where an editable installation of this package points to; -S does not read .pth files."""
    import remote_wheel

    parent = os.path.dirname(os.path.dirname(remote_wheel.__file__))
    return [] if parent in sites else [parent]


def test_importtime_and_dont_write_bytecode(world: World) -> None:
    world.add("pkg", {"pkg/__init__.py": "import pkg.sub\n", "pkg/sub.py": "import sys\nX = sys.dont_write_bytecode\n"})
    done = world.run(
        "import pkg; print(pkg.sub.X)", flags=["-X", "importtime"], environ={"PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert done.stdout.strip() == "True"
    assert [line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "pkg" in line.rsplit("|", 1)[1]] == [
        "pkg.sub",
        "pkg",
    ]


def test_threads_importing_at_once(world: World) -> None:
    files: dict[str, str | bytes] = {
        f"pkg/m{at}.py": f"import time\ntime.sleep(0.001)\nfrom pkg import m{(at + 1) % 20}\nX = {at}\n"
        for at in range(20)
    }
    world.add("pkg", {"pkg/__init__.py": "", **files})
    code = """
        import importlib, threading
        found = []
        def work(at):
            found.append(importlib.import_module(f"pkg.m{at}").X)
        threads = [threading.Thread(target=work, args=(at,)) for at in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(sorted(found) == list(range(20)))
    """
    assert world.said(code) == ["True"]


@pytest.mark.skipif(sys.platform == "win32", reason="the names are POSIX")
def test_names_that_are_no_identifiers(world: World) -> None:
    world.add("pkg", {"pkg/__init__.py": "", "pkg/0001_initial.py": "X = 1\n", "pkg/with-dash.py": "X = 2\n"})
    code = """
        import importlib, pkgutil, pkg
        print(importlib.import_module("pkg.0001_initial").X, importlib.import_module("pkg.with-dash").X)
        print([m.name for m in pkgutil.iter_modules(pkg.__path__)])
    """
    assert world.said(code) == ["1 2", "['0001_initial', 'with-dash']"]
