"""No answer is wrong: what is mounted is kept, what is left out is told, and no policy is silently off."""

import textwrap
import typing
from pathlib import Path
from typing import Any

import pytest

import remote_wheel
from fixtures.wheels import make_wheel
from remote_wheel import api
from remote_wheel.resolution.plan import Pin, Plan
from tests.conftest import Python
from tests.loopback import LoopbackIndex

CATCH = """
    import remote_wheel
    try:
        {}
    except remote_wheel.RemoteWheelError as error:
        print(type(error).__name__, error)
"""


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, forms in api.OPTION_KINDS.items() if api._LIST in forms])
def test_an_iterator_is_read_once(name: str) -> None:
    """A policy that was given as a generator was ``[]`` once it had been looked at: every host was allowed."""
    for given in (iter(["a", "b"]), (text for text in ("a", "b")), map(str, "ab"), reversed(["b", "a"])):
        assert api.checked({name: given})[name] == ["a", "b"]
    assert sorted(api.checked({name: {"a", "b"}})[name]) == ["a", "b"]


@pytest.mark.parametrize("name", ["allowed_hosts", "constraints", "require_hashes"])
@pytest.mark.parametrize(
    "given",
    [{"a": 1}, [1], 5, b"a", bytearray(b"a"), [None], object(), [["a"]]],
    ids=lambda each: type(each).__name__,
)
def test_what_is_no_list_is_refused(name: str, given: Any) -> None:
    with pytest.raises(TypeError):
        api.checked({name: given})
    with pytest.raises(TypeError):
        api.checked({name: iter([given])})


def test_extras_and_groups_as_generators(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    index.add("thing", "1", requires=["more; extra == 'x'"], extras=["x"])
    index.add("more", "1")
    code = """
        import pathlib, remote_wheel
        from remote_wheel.api.plans import lock
        pathlib.Path("pylock.toml").write_text(lock(["thing[x]"]))
        try:
            remote_wheel.load_lock("pylock.toml", extras=(each for each in ["nowhere"]))
        except remote_wheel.RemoteWheelError as error:
            print(error)
    """
    assert "nowhere" in python(code).stdout


def test_allowed_hosts_as_an_iterator_refuse_a_host(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    code = CATCH.format("remote_wheel.require('thing', allowed_hosts=iter(['index.example']))")
    assert python(code).stdout.startswith("RefusedByPolicy")


# --- plans as values -----------------------------------------------------------------------------------------------


def test_a_plan_is_a_collection_of_pins() -> None:
    pins = (Pin(name="flask-login", version="1", digests={"sha256": "0"}), Pin(name="click", version="8"))
    plan = Plan(requirements=("flask-login",), pins=pins)
    assert list(plan) == list(pins)
    assert len(plan) == 2
    assert "flask-login" in plan
    assert "Flask_Login" in plan
    assert "nowhere" not in plan
    assert pins[1] in plan
    assert 5 not in plan
    assert len({*pins, Pin(name="click", version="8")}) == 2


@pytest.mark.parametrize("name", ["require", "mount", "environment", "explain", "resolve", "prefetch", "load_lock"])
def test_the_types_of_verbs_can_be_had(name: str) -> None:
    verb = getattr(remote_wheel, name)
    hints = typing.get_type_hints(verb)
    assert "return" in hints
    assert not [hint for hint in hints.values() if isinstance(hint, str)]
    if name != "explain":
        assert typing.get_origin(hints["options"]) is typing.Unpack


def test_the_types_of_what_verbs_return_can_be_had() -> None:
    import inspect

    for kind in (remote_wheel.Environment, remote_wheel.Mount, remote_wheel.Plan):
        for name, member in vars(kind).items():
            function = getattr(member, "fget", member)
            if inspect.isfunction(function) and (not name.startswith("_") or name in ("__init__", "__call__")):
                typing.get_type_hints(function)
        inspect.signature(kind, eval_str=True)


def test_asking_for_types_is_what_imports_them(python: Python) -> None:
    code = """
        import sys, remote_wheel
        require = remote_wheel.require
        print("typing" in sys.modules)
        import inspect
        print(inspect.signature(require).parameters["module"])
        import typing
        print(typing.get_type_hints(require)["module"])
    """
    assert python(code).stdout.splitlines() == ["False", "module: 'str | None' = None", "str | None"]


# --- targets -------------------------------------------------------------------------------------------------------


def test_a_plan_for_another_machine_is_locked_for_that(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", requires=["colour; sys_platform == 'win32'"])
    index.add("colour", "1", tag="py3-none-win_amd64")
    code = """
        import remote_wheel
        plan = remote_wheel.resolve("thing", python_version="3.13", platform="windows")
        print("colour" in plan, plan.python_version, plan.platform)
        print(plan.to_pylock())
    """
    said = python(code).stdout
    assert said.startswith("True 3.13 windows\n")
    assert 'sys_platform == \\"win32\\"' in said
    assert "3.13" in said.partition("requires-python")[2].partition("\n")[0]
    mount = CATCH.format("remote_wheel.resolve('thing', platform='windows').mount()")
    said = python(mount).stdout
    assert said.startswith("UsageError this plan is for windows, and what it lacks here would be missed")
    alone = """
        import remote_wheel
        plan = remote_wheel.resolve("thing", python_version="3.13", platform="windows").alone()
        print(plan.python_version, plan.platform, 'sys_platform == "win32"' in plan.to_pylock().replace(chr(92), ""))
    """
    assert python(alone).stdout == "3.13 windows True\n"


def test_a_plan_for_this_machine_by_its_name_is_mounted(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    code = """
        import os, sys, remote_wheel
        own = "{}.{}".format(*sys.version_info)
        platform = {"linux": "linux", "darwin": "macos", "win32": "windows"}[sys.platform]
        plan = remote_wheel.resolve("thing", python_version=own, platform=platform)
        print(plan.mount().import_module().__version__)
        if sys.platform == "linux":
            tag = f"manylinux_2_17_{os.uname().machine}"
            print(remote_wheel.resolve("thing", platform=tag).mount().import_module().__version__)
    """
    assert set(python(code).stdout.split()) == {"1"}


def test_what_is_mounted_here_is_nothing_to_another_machine(index: LoopbackIndex, python: Python) -> None:
    for version in ("1", "2"):
        index.add("base", version)
    code = """
        import remote_wheel
        from remote_wheel.api.plans import bundle, lock
        remote_wheel.require("base==1", prefer_installed=False)
        resolve = remote_wheel.resolve
        print(resolve("base")["base"].version, resolve("base", platform="windows")["base"].version)
        print('version = "2"' in lock(["base"]), bundle("base", folder="b")["base"].version)
    """
    assert python(code).stdout == "1 2\nTrue 2\n"


def test_a_mount_that_is_not_imported_yet_is_a_requirement_too(index: LoopbackIndex, python: Python) -> None:
    index.add("base", "1")
    file = index.add("base", "2")
    index.add("needa", "1", requires=["base<2"])
    code = f"""
        import remote_wheel
        mounted = remote_wheel.mount({index.file_url(file)!r})
        try:
            remote_wheel.require("needa", prefer_installed=False)
        except remote_wheel.errors.Unsatisfiable as error:
            print(error)
        print(mounted.import_module().__version__)
    """
    said = python(code).stdout
    assert "needa 1 requires base<2" in said
    assert "base 2 is mounted in this process" in said
    assert said.endswith("\n2\n")


# --- what is mounted, loaded or installed ----------------------------------------------------------------------------


def test_what_is_mounted_is_a_requirement_of_what_comes_after(index: LoopbackIndex, python: Python) -> None:
    """``require("click==7.1.2")``, then flask: the newest flask that will do with it."""
    index.add("click", "7.1.2")
    index.add("click", "8.1.0")
    index.add("flask", "2.0.3", requires=["click>=7.1.2"])
    index.add("flask", "3.0.0", requires=["click>=8.1"])
    code = """
        import remote_wheel
        remote_wheel.require("click==7.1.2", prefer_installed=False)
        print(remote_wheel.require("flask", prefer_installed=False).__version__)
    """
    for _ in range(2):
        assert python(code).stdout == "2.0.3\n"


def test_where_nothing_fits_what_is_mounted_the_error_says_who_wants_what(index: LoopbackIndex, python: Python) -> None:
    index.add("click", "7.1.2")
    index.add("click", "8.1.0")
    index.add("flask", "3.0.0", requires=["click>=8.1"])
    code = CATCH.format("remote_wheel.require('click==7.1.2', prefer_installed=False); remote_wheel.require('flask')")
    said = python(code).stdout
    assert said.startswith("AlreadyImported")
    assert "flask 3.0.0 requires click>=8.1" in said
    assert "version 7.1.2" in said


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def on(site: Path) -> str:
    """Return what begins a program that has *site* on its path, where installers would put it."""
    return f"import sys; sys.path.append({str(site)!r})\n"


def install(folder: Path, *args: Any, **recipe: Any) -> None:
    import io
    import zipfile

    _, data = make_wheel(*args, **recipe)
    zipfile.ZipFile(io.BytesIO(data)).extractall(folder)


def test_what_is_installed_and_contradicted_by_a_mount_is_not_used(
    index: LoopbackIndex, python: Python, site: Path
) -> None:
    install(site, "base", "1.0")
    install(site, "needa", "1.0", requires=["base<2"])
    index.add("base", "2.0")
    index.add("needa", "2.0", requires=["base>=2"])
    code = """
        import remote_wheel
        print(remote_wheel.require("base>=2").__version__, remote_wheel.require("needa").__version__)
    """
    assert python(on(site) + textwrap.dedent(code)).stdout == "2.0 2.0\n"


def test_where_only_what_is_installed_would_do_it_is_an_error(index: LoopbackIndex, python: Python, site: Path) -> None:
    install(site, "base", "1.0")
    install(site, "needa", "1.0", requires=["base<2"])
    index.add("base", "2.0")
    index.add("base", "1.0")
    index.add("needa", "1.0", requires=["base<2"])
    code = CATCH.format("remote_wheel.require('base>=2'); remote_wheel.require('needa')")
    said = python(on(site) + textwrap.dedent(code)).stdout
    assert "base" in said
    assert "needa 1.0 requires base<2" in said
    assert "2.0" in said


def test_what_is_loaded_from_an_installation_is_kept(index: LoopbackIndex, python: Python, site: Path) -> None:
    install(site, "base", "1.0")
    index.add("base", "1.0")
    index.add("base", "2.0")
    index.add("user", "1.0", requires=["base"])
    index.add("user", "2.0", requires=["base>=2"])
    code = """
        import base, remote_wheel
        print(remote_wheel.require("user", prefer_installed=False).__version__, base.__version__)
    """
    for _ in range(2):
        assert python(on(site) + textwrap.dedent(code)).stdout == "1.0 1.0\n"


def test_offline_what_is_not_there_is_not_called_unsatisfiable(
    index: LoopbackIndex, python: Python, site: Path
) -> None:
    """Another version is installed; whether the index has one that would do nobody knows."""
    install(site, "base", "1.0")
    code = CATCH.format("remote_wheel.require('base>=2', offline=True)")
    assert python(on(site) + textwrap.dedent(code)).stdout.startswith("NotCached")


# --- what is told ----------------------------------------------------------------------------------------------------


def test_a_yanked_version_is_told(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", yanked="it deletes files")
    index.add("thing", "2")
    assert (
        "thing 1 is yanked: it deletes files" in python("import remote_wheel; remote_wheel.require('thing==1')").stderr
    )


def test_two_projects_with_one_module_are_told(index: LoopbackIndex, python: Python) -> None:
    index.add("first", "1", {"shared/__init__.py": "V = 1\n", "tests/__init__.py": ""})
    index.add("second", "1", {"shared/__init__.py": "V = 2\n", "tests/__init__.py": ""})
    code = "import remote_wheel; remote_wheel.resolve('first', 'second').mount(); import shared; print(shared.V)"
    done = python(code)
    assert done.stdout == "1\n"
    assert "second 1 and first 1 both have the module 'shared': that of first 1 is used" in done.stderr
    assert "tests" not in done.stderr


def test_a_script_block_without_an_end_is_refused(remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("# /// script\n# dependencies = ['thing']\nprint('it ran')\n")
    done = remote_wheel("run", "s.py", expect=2)
    assert "its script block has no end" in done.stderr
    assert "it ran" not in done.stdout


def test_frozen_without_a_lock_runs_nothing(index: LoopbackIndex, remote_wheel: Python) -> None:
    index.add("thing", "1")
    done = remote_wheel("run", "--frozen", "--with", "thing", "-c", "print('it ran')", expect=2)
    assert "--frozen, and there is no pylock.toml" in done.stderr
    said = remote_wheel("run", "--with", "thing", "-c", "print('it ran')", REMOTE_WHEEL_FROZEN="1")
    assert said.stdout == "it ran\n"  # as a policy, it lets pass what an index states the hash of


# --- indexes and filesystems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("speaks_json", [True, False])
def test_a_projects_page_is_a_place_of_find_links(index: LoopbackIndex, python: Python, speaks_json: bool) -> None:
    index.add("thing", "1")
    index.speaks_json = speaks_json
    code = f"""
        import remote_wheel
        print(remote_wheel.require("thing", no_index=True, find_links=[{f"{index.url}thing/"!r}]).__version__)
    """
    assert python(code, REMOTE_WHEEL_INDEX_URL="").stdout == "1\n"


def test_a_name_with_401_in_it_is_no_denial() -> None:
    from remote_wheel.fetch.filesystems import _is_denial

    url = "gs://bucket/pkg-1.401-py3-none-any.whl"
    assert not _is_denial(OSError("read of pkg-1.401-py3-none-any.whl failed"), url)
    assert not _is_denial(OSError("bucket/pkg-1.401-py3-none-any.whl: 500"), url)
    assert _is_denial(OSError("401 Unauthorized"), url)
    assert _is_denial(OSError("530 Login incorrect"), url)
    assert _is_denial(OSError("Access denied"), url)
    error = OSError("no")
    error.status = 403  # type: ignore[attr-defined]
    assert _is_denial(error, url)
    error.status = 500  # type: ignore[attr-defined]
    assert not _is_denial(error, url)


def test_hosts_are_compared_without_case() -> None:
    from remote_wheel.fetch.secure import is_host_allowed, is_host_among

    for url in ("https://Index.Example/x", "https://index.example/x"):
        for host in ("index.example", "INDEX.example"):
            assert is_host_among(url, [host])
            assert is_host_allowed(url, [host])
            assert is_host_allowed(url, [f"*.{host.partition('.')[2]}"])
    assert is_host_among("https://Index.Example:8080/x", ["INDEX.EXAMPLE:8080"])
