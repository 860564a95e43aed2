"""Environments: what is required is there inside the block, and everything as before behind it."""

from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex


@pytest.fixture
def garden(index: LoopbackIndex) -> LoopbackIndex:
    """soil 1.0 and 2.0, garden that needs either, bed that needs the old one."""
    for version in ("1.0", "2.0"):
        files = {"soil/__init__.py": f"V = {version!r}\n", "soil/sub.py": "from soil import V\n"}
        index.add("soil", version, files, entry_points="[plots]\nrow = soil:V\n")
    index.add("garden", "1.0", {"garden.py": "from soil import V as SOIL\n"}, requires=["soil"])
    index.add("bed", "1.0", {"bed.py": "from soil import V as SOIL\n"}, requires=["soil<2"])
    index.cache_control = "max-age=600"
    return index


def test_everything_is_as_before(garden: LoopbackIndex, python: Python) -> None:
    code = """
        import gc, importlib.metadata, linecache, os, sys, remote_wheel

        def state():
            entries = [entry.name for entry in importlib.metadata.entry_points(group="plots")]
            places = sorted(map(str, sys.path_importer_cache)), dict(os.environ)
            return list(sys.path), list(sys.meta_path), list(sys.path_hooks), sorted(sys.modules), entries, places

        env = remote_wheel.environment("garden")
        with env:
            state()
        assert env.plan  # what reads it is loaded when somebody asks
        before = state()
        for _ in range(2):
            with env as same:
                assert same is env
                garden = env.import_module("garden")
                from soil import sub
                assert (garden.SOIL, sub.V) == ("2.0", "2.0")
                assert [each.value for each in env.entry_points(group="plots")] == ["soil:V"]
                assert [str(pin) for pin in env.plan.pins] == ["garden 1.0", "soil 2.0"]
            assert state() == before, (state(), before)
        try:
            with env:
                import garden
                raise KeyError("inside")
        except KeyError:
            assert state() == before
        try:
            env.import_module("garden")
        except remote_wheel.errors.UsageError as error:
            print(error)
        print(env, env.left_behind)
    """
    said = python(code).stdout.splitlines()
    assert said == ["<Environment of garden> is not entered", "<Environment of garden> ()"]


def test_what_was_loaded_before_comes_back_as_it_was(garden: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "soil").mkdir(parents=True)
    (site / "soil" / "__init__.py").write_text("V = 'installed'\n")
    (site / "soil" / "more.py").write_text("")
    code = """
        import sys, remote_wheel
        sys.path.append("site")
        import soil, soil.more
        mine = soil, soil.more
        with remote_wheel.environment("bed"):
            import bed, soil
            print(bed.SOIL, soil.V, "soil.more" in sys.modules, sys.modules["soil"] is mine[0])
        import soil
        print((soil, sys.modules["soil.more"]) == mine, soil.more is mine[1], "bed" in sys.modules)
    """
    assert python(code).stdout.splitlines() == ["1.0 1.0 False False", "True True False"]


@pytest.mark.parametrize("order", ["inner first", "outer first"])
def test_two_versions_one_after_the_other(garden: LoopbackIndex, python: Python, order: str) -> None:
    """Blocks that nest, and blocks that overlap as threads' and generators' may."""
    code = f"""
        import sys, remote_wheel
        new, old = remote_wheel.environment("garden"), remote_wheel.environment("bed")
        with new, old: pass
        before = list(sys.path), sorted(sys.modules)
        new.__enter__()
        import garden, soil
        newest = soil
        old.__enter__()
        import bed, soil
        print(bed.SOIL, soil.V, garden.SOIL)
        if {order!r} == "inner first":
            old.__exit__(None, None, None)
            import soil
            print(soil is newest, "bed" in sys.modules, "garden" in sys.modules)
            new.__exit__(None, None, None)
        else:
            new.__exit__(None, None, None)
            import soil
            print(soil is sys.modules["soil"], "bed" in sys.modules, "garden" in sys.modules, soil.V)
            old.__exit__(None, None, None)
        print((list(sys.path), sorted(sys.modules)) == before)
    """
    middle = "True False True" if order == "inner first" else "True True False 1.0"
    assert python(code).stdout.splitlines() == ["1.0 1.0 2.0", middle, "True"]


def test_what_was_loaded_before_two_that_overlap(garden: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "soil.py").write_text("V = 'installed'\n")
    code = """
        import sys, remote_wheel
        sys.path.append("site")
        import soil
        mine = soil
        new, old = remote_wheel.environment("garden"), remote_wheel.environment("bed")
        new.__enter__()
        if "loaded" in sys.argv:
            import garden
        old.__enter__()
        import bed
        new.__exit__(None, None, None)
        import soil
        print(soil.V)
        old.__exit__(None, None, None)
        import soil
        print(soil is mine)
    """
    assert python(code).stdout.split() == ["1.0", "True"]
    assert python(code, "loaded").stdout.split() == ["1.0", "True"]


def test_a_lock_and_what_is_added_to_it(garden: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    remote_wheel("lock", "soil<2", "-o", "pylock.toml")
    code = """
        import remote_wheel
        with remote_wheel.environment(lock="pylock.toml") as env:
            print(env.import_module("soil").V, [str(pin) for pin in env.plan.pins])
        env = remote_wheel.environment("garden", lock="pylock.toml")
        print([str(pin) for pin in env.plan.pins])
        with env:
            print(env.import_module("garden").SOIL)
        try:
            with remote_wheel.environment("soil>=2", lock="pylock.toml"):
                pass
        except remote_wheel.errors.ResolutionError as error:
            print(error)
        import sys
        print("soil" in sys.modules, any("images" in entry for entry in sys.path))
    """
    said = python(code).stdout.splitlines()
    assert said[:3] == ["1.0 ['soil 1.0']", "['soil 1.0', 'garden 1.0']", "1.0"]
    assert "soil>=2" in said[3]
    assert said[4] == "False False"


def test_children_have_exactly_this_environment(garden: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "show.py").write_text(
        "import sys, importlib.util\nimport bed\nprint(bed.SOIL, sys.argv, importlib.util.find_spec('garden'))\n"
    )
    code = """
        import remote_wheel
        with remote_wheel.environment("garden"):
            env = remote_wheel.environment("bed")
            done = env.run(["show.py", "one"], capture_output=True, text=True)
            print(done.returncode, done.stdout + done.stderr, end="")
            with env:
                print(env.run(["-c", "import bed; raise SystemExit(7)"]).returncode)
    """
    assert python(code).stdout.splitlines() == ["0 1.0 ['show.py', 'one'] None", "7"]
    before = len(garden.requests)
    python(code)
    assert len(garden.requests) == before


def test_as_a_decorator_and_with_await(garden: LoopbackIndex, python: Python) -> None:
    code = """
        import asyncio, sys, remote_wheel

        @remote_wheel.environment("garden")
        def grow(times):
            "Doc."
            import garden
            return garden.SOIL * times

        @remote_wheel.environment("bed")
        async def dig():
            import bed
            await asyncio.sleep(0)
            return bed.SOIL

        async def main():
            async with remote_wheel.environment("garden") as env:
                first = env.import_module("garden").SOIL
            return first, await dig()

        print(grow(2), grow.__doc__, asyncio.run(main()), "soil" in sys.modules)
    """
    assert python(code).stdout.strip() == "2.02.0 Doc. ('2.0', '1.0') False"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("environment()", "UsageError: an environment of nothing"),
        ("environment('nothing-like-it').plan", "ProjectNotFound: "),
        ("environment(lock='none.toml').plan", "InvalidLock: the lock file none.toml can't be used: No such file"),
        ("environment('soil', frozzen=True)", "TypeError: unexpected option 'frozzen'"),
    ],
)
def test_bad_input(garden: LoopbackIndex, python: Python, call: str, message: str) -> None:
    code = f"""
        import remote_wheel
        try:
            remote_wheel.{call}
        except Exception as error:
            print(f"{{type(error).__name__}}: {{error}}")
    """
    assert python(code).stdout.startswith(message)


def test_overlapping_before_anything_is_imported(garden: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "site" / "soil").mkdir(parents=True)
    (tmp_path / "site" / "soil" / "__init__.py").write_text("V = 'installed'\n")
    (tmp_path / "site" / "soil" / "sub.py").write_text("V = 'installed'\n")
    code = """
        import sys, remote_wheel
        sys.path.append("site")
        import soil.sub
        mine = soil, soil.sub
        new, old = remote_wheel.environment("garden"), remote_wheel.environment("bed")
        new.__enter__(), old.__enter__()
        new.__exit__(None, None, None)
        import soil.sub
        print(soil.V, soil.sub.V)
        old.__exit__(None, None, None)
        import soil.sub
        print((soil, soil.sub) == mine)
    """
    assert python(code).stdout.split() == ["1.0", "1.0", "True"]


def test_modules_of_a_shared_namespace(garden: LoopbackIndex, python: Python) -> None:
    for version in ("1.0", "2.0"):
        garden.add("ns-a", version, {"ns/a.py": f"V = {version!r}\n"})
    garden.add("ns-b", "1.0", {"ns/b.py": ""})
    code = """
        import remote_wheel
        remote_wheel.require("ns-b", module="ns.b")
        remote_wheel.require("ns-a==1.0", module="ns.a")
        from ns import a as before
        with remote_wheel.environment("ns-a==2.0"):
            from ns import a
            import ns.a
            print(a.V, ns.a.V)
        from ns import a
        print(a is before, ns.a is before)
    """
    assert python(code).stdout.splitlines() == ["2.0 2.0", "True True"]


def test_generators_and_what_can_not_be_decorated(garden: LoopbackIndex, python: Python) -> None:
    code = """
        import sys, remote_wheel
        env = remote_wheel.environment("garden")

        @env
        def plots():
            import garden
            yield garden.SOIL
            yield "garden" in sys.modules

        async def rows():
            yield 1

        print(list(plots()), "garden" in sys.modules)
        for wrong in (int, rows):
            try:
                env(wrong)
            except TypeError as error:
                print(str(error)[:25])
        for call in (lambda: env.run("x.py"), lambda: env.run([]), lambda: env.__exit__(None, None, None)):
            try:
                call()
            except (TypeError, remote_wheel.errors.UsageError) as error:
                print(type(error).__name__)
        print(env.run(["-c", "import os; print(os.environ.get('HOME'))"], env={}, capture_output=True).stdout)
    """
    assert python(code).stdout.splitlines() == [
        "['2.0', True] False", "an environment decorates ", "an environment decorates ", "TypeError", "TypeError",
        "UsageError", "b'None\\n'",
    ]  # fmt: skip


def test_a_lock_and_an_extra_of_what_it_has(garden: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    garden.add("shed", "1.0", extras=["tools"], requires=["soil", "spade; extra == 'tools'"])
    garden.add("spade", "1.0")
    remote_wheel("lock", "shed", "-o", "pylock.toml")
    code = "import remote_wheel; print(remote_wheel.environment('shed[tools]', lock='pylock.toml').plan.tree())"
    assert "spade 1.0" in python(code).stdout


def test_a_version_that_is_entered_again_below_another_counts(index: LoopbackIndex, python: Python) -> None:
    for version in ("1.0", "2.0"):
        files = {"app/__init__.py": f"V = '{version}'\n", "app/sub.py": f"V = '{version}'\n"}
        index.add("app", version, files)
    index.add("needs-app", "1.0", {"na.py": "import app\nfrom app import sub\nV = app.V, sub.V\n"}, requires=["app<2"])
    code = """
import sys
import remote_wheel
env = remote_wheel.environment
{first}
with env("app==2.0"):
    import app, app.sub
    two = app
    with env("app==1.0"):
        import app, app.sub
        one = app
        with env("app==2.0"):
            import app
            import app.sub
            print(app.V, app.sub.V, app is two)
        import app
        print(app.V, app is one, sys.modules["app.sub"].V)
        with env("needs-app"):
            import na
            print(*na.V)
        with env("app==2.0"):
            with env("app==1.0"):
                import app
                print(app.V, app is one)
        import app
        print(app.V, app is one)
    import app
    print(app.V, app is two, sys.modules["app.sub"].V)
{last}
print("app" in sys.modules and sys.modules["app"].V)
"""
    told = ["2.0 2.0 True", "1.0 True 1.0", "1.0 1.0", "1.0 True", "1.0 True", "2.0 True 2.0"]
    assert python(code.format(first="", last="")).stdout.splitlines() == [*told, "False"]
    first = "base = remote_wheel.require('app==1.0')"
    last = "import app; print(app is base, app.V)"
    told[1:] = ["1.0 True 1.0", "1.0 1.0", "1.0 True", "1.0 True", "2.0 True 2.0", "True 1.0", "1.0"]
    assert python(code.format(first=first, last=last)).stdout.splitlines() == told


def test_environments_that_overlap_and_one_that_is_entered_again(index: LoopbackIndex, python: Python) -> None:
    for version in ("1.0", "2.0"):
        index.add("app", version, {"app/__init__.py": f"V = '{version}'\n", "app/sub.py": f"V = '{version}'\n"})
    code = """
import sys
import remote_wheel
one, two, again = (remote_wheel.environment(f"app=={v}") for v in ("1.0", "2.0", "1.0"))
def now():
    import app, app.sub
    return app.V, app.sub.V
one.__enter__(); print(*now())
two.__enter__(); print(*now())
again.__enter__(); print(*now())
two.__exit__(None, None, None); print(*now())
one.__exit__(None, None, None); print(*now())
again.__exit__(None, None, None)
print([name for name in sys.modules if name.startswith("app")], any("images" in path for path in sys.path))
"""
    assert python(code).stdout.splitlines() == ["1.0 1.0", "2.0 2.0", "1.0 1.0", "1.0 1.0", "1.0 1.0", "[] False"]


MADE = """
import sys, types
class Object:
    V = "{version}"
if __name__ == "odd":
    sys.modules[__name__] = Object()
sys.modules["lazy.made"] = types.ModuleType("lazy.made")
sys.modules["lazy.made"].V = "{version}"
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None
sys.meta_path.append(Finder)
"""


def test_what_its_modules_put_into_sys_modules_goes_with_them(index: LoopbackIndex, python: Python) -> None:
    for version in ("1.0", "2.0"):
        made = MADE.format(version=version)
        index.add("odd", version, {"odd.py": made, "lazy/__init__.py": made})
    code = """
import sys
import remote_wheel
finders = list(sys.meta_path)
for version in ("1.0", "2.0"):
    with remote_wheel.environment(f"odd=={version}"):
        import odd, lazy
        import lazy.made
        print(odd.V, sys.modules['lazy.made'].V)
        with remote_wheel.environment("odd==1.0"):
            import odd, lazy
            import lazy.made
            print(odd.V, sys.modules['lazy.made'].V)
        import odd
        print(odd.V)
    print([name for name in sys.modules if name.startswith(("odd", "lazy"))], sys.meta_path == finders)
"""
    assert python(code).stdout.splitlines() == [
        *("1.0 1.0", "1.0 1.0", "1.0", "[] True"),
        *("2.0 2.0", "1.0 1.0", "2.0", "[] True"),
    ]


@pytest.mark.parametrize(
    ("options", "arguments", "said"),
    [
        ("no_cache=True", "['-c', '1']", "a child process can't have what is in memory alone"),
        ("", "['-I', '-c', '1']", "python -I reads no variables or no site"),
        ("", "['-Pm', 'app']", ""),
        ("", "['-ES', 's.py']", "python -ES reads no variables"),
    ],
)
def test_a_child_that_would_not_have_it_is_not_started(
    index: LoopbackIndex, python: Python, options: str, arguments: str, said: str
) -> None:
    index.add("app", "1.0", {"app/__init__.py": "", "app/__main__.py": "print('ran')\n"})
    code = f"""
import remote_wheel
try:
    remote_wheel.environment("app", {options}).run({arguments})
except remote_wheel.errors.UsageError as error:
    print(error)
"""
    output = python(code).stdout
    assert output == "ran\n" if not said else said in output


@pytest.mark.slow
def test_hundreds_of_distributions_are_handed_on(index: LoopbackIndex, python: Python) -> None:
    names = [f"part-{number}" for number in range(300)]
    for name in names:
        index.add(name, "1.0", {f"{name.replace('-', '_')}.py": "V = 1\n"})
    index.add("all", "1.0", {"all_of_them.py": ""}, requires=names)
    code = """
import os, remote_wheel
env = remote_wheel.environment("all")
env.run(["-c", "import part_7, part_299; print(part_7.V + part_299.V)"])
with env:
    print(len(os.environ["REMOTE_WHEEL_CHILD"]) < 60_000)
"""
    lines = python(code).stdout.split()
    assert "2" in lines
    assert "True" in lines


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_a_child_have_it_too(index: LoopbackIndex, python: Python, tmp_path: Path, method: str) -> None:
    index.add("app", "1.0", {"app/__init__.py": "def double(x):\n    return 2 * x\n", "app/__main__.py": CHILDREN})
    code = f"""
import remote_wheel
done = remote_wheel.environment("app").run(["-m", "app", {method!r}], capture_output=True, text=True)
print(done.stdout, done.stderr)
"""
    assert python(code).stdout.split("\n")[0] == "[2, 4] 6"


CHILDREN = """
import multiprocessing, subprocess, sys
import app
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        command = [sys.executable, "-c", "import app; print(app.double(3))"]
        said = subprocess.run(command, capture_output=True, text=True)
        print(pool.map(app.double, [1, 2]), said.stdout.strip())
"""


def test_threads_tasks_and_source_lines(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1.0", {"app.py": "def fail():\n    raise KeyError('here')\n"})
    code = """
import asyncio, linecache, sys, threading, traceback
import remote_wheel
env = remote_wheel.environment("app")
errors = []
def work():
    for _ in range(5):
        with remote_wheel.environment("app"):
            try:
                import app
                app.fail()
            except KeyError:
                errors.append(traceback.format_exc())
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(errors), all("KeyError: 'here'" in each for each in errors))
errors.clear()
work()  # linecache itself loses lines where several threads ask for the same file first
print(len(errors), all("raise KeyError('here')" in each for each in errors))
async def task(cancelled):
    async with remote_wheel.environment("app") as env:
        import app
        await asyncio.sleep(30 if cancelled else 0.01)
async def main():
    tasks = [asyncio.create_task(task(n % 2)) for n in range(6)]
    await asyncio.sleep(1)
    [each.cancel() for each in tasks]
    return [type(each).__name__ for each in await asyncio.gather(*tasks, return_exceptions=True)]
print(asyncio.run(main()))
left = [name for name in (*linecache.cache, *sys.path) if "images" in name]
print("app" in sys.modules, left)
"""
    assert python(code).stdout.splitlines() == [
        "20 True",
        "5 True",
        str(["NoneType", "CancelledError"] * 3),
        "False []",
    ]
