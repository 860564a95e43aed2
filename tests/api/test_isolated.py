"""environment(isolated=True): two versions of a project in use at once, each with what it needs, unseen by others."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

APP = """
import enum
import importlib
import logging
import sys
import typing
import warnings
from dataclasses import dataclass, field
from importlib.metadata import entry_points, version
from importlib.resources import files

import lib
import lib.deep.leaf as leaf
from . import parts
from .parts import piece as renamed
from lib.deep import *

NUMBER = {number}
logger = logging.getLogger(__name__)


class Kind(enum.Enum):
    ONE = "one"


@dataclass
class Thing:
    name: str
    kind: "Kind" = Kind.ONE
    more: "list[parts.Piece]" = field(default_factory=list)

    class Inner:
        pass


def late():
    import lib.late
    from lib.deep import later
    from .parts import far
    return lib.late.V, later.V, far.V


def dynamic():
    first = importlib.import_module("lib.late")
    second = importlib.import_module(".parts.far", __package__)
    third = __import__("lib.late", fromlist=["V"])
    exec("import lib.late as fourth", space := {{}})
    return [each.V for each in (first, second, third, space["fourth"])], first is third is space["fourth"]


def facts():
    hints = typing.get_type_hints(Thing)
    return {{
        "versions": [NUMBER, lib.V, leaf.V, parts.piece.V, renamed.V, STARRED],
        "late": late(),
        "dynamic": dynamic(),
        "metadata": [version("app"), version("lib"), sorted(e.name for e in entry_points(group="things"))],
        "loaded": [e.load()() for e in entry_points(group="things")],
        "data": files("lib").joinpath("data.txt").read_text(),
        "names": [__name__, __package__, Thing.__module__, logger.name, repr(Thing)[:20]],
        "modules": [sys.modules[__name__] is sys.modules["app"], sys.modules["lib"] is lib, "lib.late" in sys.modules],
        "hints": hints["kind"] is Kind and hints["more"] == list[parts.Piece],
        "spec": importlib.util.find_spec("lib.late").origin.endswith("late.py"),
        "sys": [sys.version_info[0], callable(sys.exc_info)],
    }}
"""


def add(index: LoopbackIndex, version: str) -> None:
    number = int(version.partition(".")[0])
    lib = {
        "lib/__init__.py": f"V = {number}\n",
        "lib/late.py": f"V = {number}\n",
        "lib/data.txt": f"data {number}",
        "lib/deep/__init__.py": f"__all__ = ['STARRED', 'starry']\nSTARRED = {number}\n",
        "lib/deep/leaf.py": f"from .. import V\nfrom ..late import V as W\nassert V == W == {number}\n",
        "lib/deep/starry.py": "",
        "lib/deep/later.py": f"V = {number}\n",
    }
    app = {
        "app/__init__.py": "import importlib.util\n" + APP.format(number=number),
        "app/parts/__init__.py": "from .piece import Piece\nfrom . import piece\n",
        "app/parts/piece.py": f"V = {number}\n\nclass Piece:\n    pass\n",
        "app/parts/far.py": f"from lib import V as _\nV = {number}\nassert _ == V\n",
        "app/plugin.py": f"def run():\n    return {number}\n",
    }
    index.add("lib", version, lib)
    points = f"[things]\nplugin{number} = app.plugin:run\n[console_scripts]\napp = app:late\n"
    index.add("app", version, app, requires=[f"lib=={version}"], entry_points=points)


@pytest.fixture
def apps(index: LoopbackIndex) -> LoopbackIndex:
    for version in ("1.0", "2.0", "3.0"):
        add(index, version)
    return index


BOTH = """
import json, pickle, sys
import remote_wheel
before = set(sys.modules), list(sys.meta_path), list(sys.path_hooks), list(sys.path)
with (
    remote_wheel.environment("app==1.0", isolated=True) as one,
    remote_wheel.environment("app==2.0", isolated=True) as two,
):
"""


def expected(number: int) -> dict[str, Any]:
    return {
        "versions": [number] * 6,
        "late": [number] * 3,
        "dynamic": [[number] * 4, True],
        "metadata": [f"{number}.0", f"{number}.0", [f"plugin{number}"]],
        "loaded": [number],
        "data": f"data {number}",
        "names": ["app", "app", "app", "app", "<class 'app.Thing'>"[:20]],
        "modules": [True, True, True],
        "hints": True,
        "spec": True,
        "sys": [3, True],
    }


def test_two_versions_with_all_they_need_at_once(apps: LoopbackIndex, python: Python) -> None:
    code = f"""{BOTH}
    modules = [env.import_module("app") for env in (one, two)]
    for _ in range(2):
        for module in modules:
            print(json.dumps(module.facts()))
    print([env.plan["lib"].version for env in (one, two)])
"""
    *facts, versions = python(code).stdout.splitlines()
    assert [json.loads(line) for line in facts] == [expected(1), expected(2)] * 2
    assert versions == "['1.0', '2.0']"


def test_nobody_else_sees_it_and_nothing_is_left(apps: LoopbackIndex, python: Python) -> None:
    code = f"""
import builtins, importlib, importlib.util, importlib.metadata, linecache, logging.config, pkgutil
stock = builtins.__import__, importlib.import_module, importlib.util.find_spec, logging.config.BaseConfigurator.importer
{BOTH}
    one.import_module("app"), two.import_module("app").facts()
    for look in (
        lambda: __import__("app"), lambda: importlib.import_module("lib"), lambda: exec("import app.parts"),
        lambda: importlib.metadata.version("app"), lambda: sys.modules["app"], lambda: pkgutil.resolve_name("app:late"),
    ):
        try:
            print("seen", look())
        except (ImportError, KeyError) as error:
            print(type(error).__name__)
    print(importlib.util.find_spec("app"), len(importlib.metadata.entry_points(group="things")), sys.path == before[3])
for env in (one, two):
    try:
        env.import_module("app")
    except remote_wheel.errors.UsageError as error:
        print(error)
after = builtins.__import__, importlib.import_module, importlib.util.find_spec, logging.config.BaseConfigurator.importer
print(after == stock, [list(sys.meta_path), list(sys.path_hooks), list(sys.path)] == list(before[1:]))
print([str(name) for name in set(sys.modules) - before[0] if str(name).startswith(("app", "lib.", "__isolated"))])
print([name for name in linecache.cache if "remote" in name or "cache" in name])
print([path for path in sys.path_importer_cache if ".zip" in path and "images" in path])
"""
    lines = python(code).stdout.splitlines()
    assert lines[:6] == ["ModuleNotFoundError"] * 3 + ["PackageNotFoundError", "KeyError", "ModuleNotFoundError"]
    assert lines[6] == "None 0 True"
    assert all("is not entered" in line for line in lines[7:9])
    assert lines[9:] == ["True True", "[]", "[]", "[]"]


def test_classes_are_pickled(apps: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    code = f"""{BOTH}
    things = [env.import_module("app").Thing(f"of {{n}}") for n, env in enumerate((one, two), 1)]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = [pickle.dumps(thing, protocol) for thing in things]
        loads = [env.import_module("pickle").loads for env in (one, two)]
        print([load(each) == thing and type(load(each)) is type(thing)
               for load, each, thing in zip(loads, data, things)])
    print([pickle.loads(each) == thing for each, thing in zip(data, things)], things[0] == things[1])
    print(pickle.loads(pickle.dumps(type(things[0]).Inner)) is type(things[0]).Inner)
    print([pickle.loads(pickle.dumps(env.import_module("app.plugin").run))() for env in (one, two)])
    import copy
    print(copy.deepcopy(things[1]) == things[1], isinstance(things[0], type(things[1])))
    open("data", "wb").write(data[0])
    one.run(["-c", "import pickle; thing = pickle.load(open('data', 'rb')); print(thing.name, type(thing).__module__)"])
try:
    pickle.loads(data[1])
except ModuleNotFoundError as error:
    print(error)
"""
    lines = python(code).stdout.splitlines()
    ours = [line for line in lines if line != "of 1 app"]
    assert ours[:-5] == ["[True, True]"] * len(ours[:-5])
    assert len(ours) >= 10
    assert ours[-5:] == ["[True, True] False", "True", "[1, 2]", "True False", "No module named 'app'"]
    assert "of 1 app" in lines


def test_a_third_version_may_be_mounted_for_all(apps: LoopbackIndex, python: Python) -> None:
    code = f"""
import remote_wheel
app = remote_wheel.require("app==3.0")
{BOTH}
    print([env.import_module("app").facts()["versions"][0] for env in (one, two)], app.facts()["versions"])
    import lib.late
    print(lib.late.V, remote_wheel.explain(app).splitlines()[0])
print(app.facts() == {expected(3)!r})
"""
    lines = python(code).stdout.splitlines()
    assert lines[:2] == [f"[1, 2] {[3] * 6}", "3 app 3.0"]


def test_overlapping_nested_threads_and_what_outlives_it(apps: LoopbackIndex, python: Python) -> None:
    code = """
import asyncio, threading
import remote_wheel
one, two = (remote_wheel.environment(f"app=={n}.0", isolated=True) for n in (1, 2))
one.__enter__()
late = one.import_module("app").late
two.__enter__()
one.__exit__(None, None, None)
print(two.import_module("app").facts()["versions"])
try:
    late()
except ImportError as error:
    print(error)
with one:
    with one:
        print(one.import_module("app").late())
    again = one.import_module("app")
    found = []
    start = threading.Barrier(4)
    def work(env):
        start.wait()
        found.append(id(env.import_module("lib.deep.leaf")))
    threads = [threading.Thread(target=work, args=(env,)) for env in (one, two) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(len(set(found)), again.late())
two.__exit__(None, None, None)
print(again.late(), "what was imported stays")
async def main():
    async with remote_wheel.environment("app==2.0", isolated=True) as env:
        print(env, env.import_module("app").NUMBER)
asyncio.run(main())
@one
def decorated():
    return one.import_module("app").NUMBER
print(decorated(), one)
"""
    assert python(code).stdout.splitlines() == [
        str([2] * 6),
        "lib.deep.later is not loaded, and its isolated environment has been left",
        "(1, 1, 1)",
        "2 (1, 1, 1)",
        "(1, 1, 1) what was imported stays",
        "<Isolated environment of app==2.0 (entered)> 2",
        "1 <Isolated environment of app==1.0>",
    ]


CLOSED = """
import importlib.util, os
try:
    import installed
except ModuleNotFoundError as error:
    said = str(error)
found = importlib.util.find_spec("installed"), importlib.util.find_spec("json").name
import xml.etree.ElementTree as tree, os.path
from importlib import import_module
def outside(call):
    return call()
"""


def test_the_world_of_its_code_is_closed(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("app", "1.0", {"app.py": CLOSED})
    (tmp_path / "installed.py").write_text("V = 1\n")
    code = """
import remote_wheel
with remote_wheel.environment("app", isolated=True) as env:
    app = env.import_module("app")
    print(app.said)
    print(app.found, app.tree.__name__, app.os.path is __import__("os").path)
    def user():
        import installed
        from importlib import import_module
        return installed.V, import_module("installed").V
    print(app.outside(user))
    try:
        env.import_module("installed")
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert python(code).stdout.splitlines() == [
        "No module named 'installed' in an isolated environment: it has app",
        "(None, 'json') xml.etree.ElementTree True",
        "(1, 1)",
        "installed",
    ]


def test_extension_modules_are_refused_and_fallbacks_taken(index: LoopbackIndex, python: Python) -> None:
    fast = "try:\n    from .fast import V\nexcept ImportError as error:\n    V = str(error)\n"
    files: dict[str, str | bytes] = {"native/__init__.py": fast, "native/fast.so": b"\x7fELF"}
    index.add("native", "1.0", files, tag="py3-none-any")
    code = """
import remote_wheel
with remote_wheel.environment("native", isolated=True) as env:
    print(env.import_module("native").V)
    try:
        env.import_module("native.fast")
    except ImportError as error:
        print(type(error).__name__, error.name)
"""
    said, refused = python(code).stdout.splitlines()
    assert said.startswith("native.fast of native is an extension module, which no isolated environment can load; ")
    assert refused == "IsolatedExtension native.fast"


ODD = {
    "__init__": "from .first import V",
    "first": """
from . import second
V = 1
def f():
    return second.g()
""",
    "second": """
from odd import first
def g():
    return first.V
""",
    "half": "",
    "broken": """
import odd.half
raise RuntimeError("no")
""",
    "other": """
import sys, types
new = types.ModuleType(__name__)
new.V = "new"
sys.modules[__name__] = new
""",
    "moves": """
import sys, types
from importlib.machinery import ModuleSpec
class Finder:
    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self) if name in {"odd.moves.made"} else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        module.V = "made"
__path__ = []
sys.meta_path.append(Finder())
sys.modules[__name__ + ".put"] = put = types.ModuleType("put")
put.V = "put"
""",
    "lazy": """
def __getattr__(name):
    from . import half
    return half.__name__ + name
""",
}


def test_modules_of_odd_kinds(index: LoopbackIndex, python: Python) -> None:
    """Namespaces of two wheels, circles, failures, modules that replace themselves, and finders of their own."""
    index.add("space-a", "1.0", {"space/a.py": "from space import b\nV = 'a' + b.V\n"}, requires=["space-b"])
    index.add("space-b", "1.0", {"space/b.py": "V = 'b'\n"})
    index.add("odd", "1.0", {f"odd/{name}.py": text for name, text in ODD.items()})
    code = """
import sys
import remote_wheel
finders = list(sys.meta_path)
with remote_wheel.environment("odd", "space-a", isolated=True) as env:
    get = env.import_module
    print(get("space.a").V, list(get("space").__path__) != [], get("odd").first.f(), get("odd.other").V)
    for _ in range(2):
        try:
            get("odd.broken")
        except RuntimeError as error:
            print(error, hasattr(get("odd"), "broken"), get("odd").half.__name__)
    print(get("odd.moves.made").V, get("odd.moves.put").V, get("odd.lazy").x)
    for name in ("odd.nothing", "odd.first.nothing"):
        try:
            get(name)
        except ModuleNotFoundError as error:
            print(error)
    print(len(sys.meta_path) - len(finders), "odd.moves.put" in list(sys.modules))
"""
    assert python(code).stdout.splitlines() == [
        "ab True 1 new",
        "no False odd.half",
        "no False odd.half",
        "made put odd.halfx",
        "No module named 'odd.nothing'",
        "No module named 'odd.first.nothing'; 'odd.first' is not a package",
        "1 True",
    ]


def test_entry_points_locks_and_children_of_an_isolated_one(
    apps: LoopbackIndex, python: Python, remote_wheel: Python
) -> None:
    remote_wheel("lock", "app==2.0")
    code = """
import remote_wheel
with remote_wheel.environment(lock="pylock.toml", isolated=True) as env:
    (point,) = env.entry_points(group="things")
    print(point.name, point.load()(), point.dist.version, env.import_module("app").NUMBER)
    env.run(["-c", "import app; print(app.facts()['versions'])"])
"""
    assert sorted(python(code).stdout.splitlines()) == sorted(["plugin2 2 2.0 2", str([2] * 6)])


def test_unpacked_wheels_can_be_isolated(apps: LoopbackIndex, python: Python) -> None:
    code = """
import json
import remote_wheel
with remote_wheel.environment("app==1.0", isolated=True, unpack=[":all:"]) as one:
    with remote_wheel.environment("app==2.0", isolated=True, unpack=["app"]) as two:
        for env in (one, two):
            print(json.dumps(env.import_module("app").facts()))
"""
    assert [json.loads(line) for line in python(code).stdout.splitlines()] == [expected(1), expected(2)]
