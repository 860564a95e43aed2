"""What a mount and an installed distribution have in common, in the odd corners of the import system."""

import sys

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

RUN = "import remote_wheel; remote_wheel.mount({url!r}); {code}"


@pytest.mark.parametrize("where", ["in memory", "unpacked"])
@pytest.mark.parametrize(
    "code",
    [
        "import pk; print(pk.x)",
        "import pk.__init__ as m; print(m.x, m.__name__, m.__spec__.parent, hasattr(m, '__path__'))",
        "import importlib; print(importlib.import_module('pk.sub.__init__').y)",
        "import importlib.util; print(importlib.util.find_spec('pk.__init__').submodule_search_locations)",
        "import runpy; print(runpy.run_module('pk.sub.__init__')['y'])",
        "import pkgutil; print(pkgutil.resolve_name('pk.sub.__init__:y'))",
        "import pk; print([m.name for m in __import__('pkgutil').iter_modules(pk.__path__)])",
    ],
)
def test_the_file_of_a_package_is_a_module_too(index: LoopbackIndex, python: Python, where: str, code: str) -> None:
    """As statsmodels imports from its own: ``from .__init__ import x``."""
    files: dict[str, str | bytes] = {
        "pk/__init__.py": "x = 1\n",
        "pk/user.py": "from .__init__ import x\n",
        "pk/sub/__init__.py": "y = 2\n",
    }
    file = index.add("pk", "1", files)
    unpack = ", unpack=['pk']" if where == "unpacked" else ""
    mounted = python(f"import remote_wheel; remote_wheel.mount({index.file_url(file)!r}{unpack}); {code}").stdout
    installed = python(
        f"""
        import pathlib, sys
        for name, text in {files!r}.items():
            path = pathlib.Path("installed", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        sys.path.insert(0, "installed")
        {code}
        """
    ).stdout
    assert mounted == installed


def test_the_file_of_a_package_in_an_isolated_environment(index: LoopbackIndex, python: Python) -> None:
    index.add("pk", "1", {"pk/__init__.py": "x = 1\n", "pk/user.py": "from .__init__ import x\n"})
    code = """
        import remote_wheel
        with remote_wheel.environment("pk", isolated=True) as env:
            print(env.import_module("pk.user").x, env.import_module("pk.__init__").x)
    """
    assert python(code).stdout == "1 1\n"


@pytest.mark.parametrize("first", ["", "import colorsys", "import pk", "import importlib.metadata"])
def test_a_module_that_another_wheel_adds_to_a_package(index: LoopbackIndex, python: Python, first: str) -> None:
    """Also as the first import of the process, when the finders' caches are empty."""
    index.add("pk", "1", {"pk/__init__.py": ""}, requires=["pk-b"])
    index.add("pk-b", "1", {"pk/b.py": "X = 1\n"})
    environ = "import remote_wheel; env = remote_wheel.environment('pk'); env.__enter__(); import sys\n"
    code = f"{environ}\nsys.path_importer_cache.clear()\n{first}\nimport pk.b\nprint(pk.b.X)"
    assert python(code).stdout == "1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="the working folder can't be deleted there")
def test_a_working_folder_that_was_deleted(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    index.add("thing", "1", {"thing/__init__.py": "V = 1\n", "thing/part.py": ""})
    code = """
        import os, sys, remote_wheel
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")
        sys.path.insert(0, "")
        print(remote_wheel.require("thing").V)
        import thing.part
        import os, subprocess
        command = [sys.executable, *sys.argv[1:], "run", "--with", "thing", "-c", "import thing; print(thing.V)"]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout.strip(), done.stderr)
        for words in ("tree thing", "lock thing -o -", "lock thing", "run nowhere.py", "run .", "unpack thing x",
                      "tree --no-index --find-links . thing", "cache dir"):
            done = subprocess.run([sys.executable, *sys.argv[1:], *words.split()], capture_output=True, text=True)
            assert "Traceback" not in done.stderr, done.stderr
            assert "please report it" not in done.stderr, done.stderr
    """
    from tests.conftest import COMMAND

    assert python(code, COMMAND).stdout.split() == ["1", "1"]


def test_lazy_modules_stay_lazy(index: LoopbackIndex, python: Python) -> None:
    """importlib.util.LazyLoader: a module runs when the program touches it, not when we look into sys.modules."""
    index.add("thing", "1")
    code = """
        import importlib.util, pathlib, sys, remote_wheel
        pathlib.Path("lazy.py").write_text("raise AttributeError('it was run')")
        sys.path.insert(0, "")
        spec = importlib.util.find_spec("lazy")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["lazy"] = module
        spec.loader.exec_module(module)
        with remote_wheel.environment("thing"):
            import thing
            sys.modules.pop("linecache", None)
            import linecache
            assert linecache.getlines(thing.__file__)
        assert type(module).__name__ == "_LazyModule"
        print("lazy")
    """
    assert python(code).stdout == "lazy\n"


def test_linecache_that_another_thread_is_importing(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    code = """
        import sys, types, remote_wheel
        env = remote_wheel.environment("thing")
        env.__enter__()
        sys.modules["linecache"] = types.ModuleType("linecache")  # what another thread sees while it runs
        import thing
        env.__exit__(None, None, None)
        print("fine")
    """
    assert python(code).stdout == "fine\n"


def test_threads_import_while_environments_are_left(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", {f"thing/m{at}.py": "import decimal\n" for at in range(20)} | {"thing/__init__.py": ""})
    code = """
        import importlib, sys, threading, types, remote_wheel
        errors, is_over = [], False
        def churn():
            at = 0
            while not is_over:
                at += 1
                sys.modules[f"made_{at % 997}"] = types.ModuleType("made")
                sys.modules.pop(f"made_{(at * 7) % 997}", None)
                import linecache
                linecache.cache[f"<{at % 997}>"] = (1, None, [], "")
        def load():
            while not is_over:
                for at in range(20):
                    try:
                        importlib.import_module(f"thing.m{at}")
                    except ImportError:
                        pass
                    except KeyError:  # of importlib itself: the parent went in between
                        pass
        threads = [threading.Thread(target=each) for each in (churn, churn, load)]
        sys.setswitchinterval(1e-5)
        [thread.start() for thread in threads]
        try:
            for _ in range(60):
                with remote_wheel.environment("thing"):
                    import thing.m1
        finally:
            is_over = True
        print("fine")
    """
    assert python(code).stdout == "fine\n"
