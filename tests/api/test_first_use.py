"""Trust on first use, frozen requests, and a network that comes and goes."""

from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import Python
from tests.loopback import LoopbackIndex

CATCH = """
import sys, remote_wheel
def caught(what, *arguments, **options):
    try:
        what(*arguments, **options)
    except remote_wheel.RemoteWheelError as error:
        return f"{type(error).__name__}: {error}\\n{error.hint}"
"""
STALE = {"REMOTE_WHEEL_FRESHNESS_S": "0"}


def put(index: LoopbackIndex, version: str) -> str:
    """Put a wheel at an address that stays; its content is another one for each *version*."""
    filename, data = make_wheel("thing", "1", {"thing.py": f"V = {version!r}\n"})
    index.extra[f"/{filename}"] = data
    return f"{index.root}{filename}"


def test_content_that_changes_is_refused_until_it_is_accepted(index: LoopbackIndex, python: Python) -> None:
    url = put(index, "one")
    mount = CATCH + f"print(caught(remote_wheel.mount, {url!r}))"
    assert python(mount, **STALE).stdout == "None\n"
    assert python(mount, **STALE).stdout == "None\n"
    put(index, "two")
    said = python(mount, **STALE).stdout
    assert said.startswith(f"ContentChanged: {url} is not what it was on 20")
    accepted = said.split("sha256='")[1][:64]
    assert accepted in said.splitlines()[0]
    assert python(mount, **STALE).stdout == said  # asking again does not help
    assert python(CATCH + f"print(caught(remote_wheel.mount, {url!r}, sha256={accepted!r}))").stdout == "None\n"
    assert python(mount, **STALE).stdout == "None\n"
    code = f"import remote_wheel; print(remote_wheel.mount({url!r}).import_module().V)"
    assert python(code, **STALE).stdout == "two\n"
    put(index, "one")
    assert "ContentChanged" in python(mount, **STALE).stdout


def test_a_wheel_of_an_index_without_hashes(index: LoopbackIndex, python: Python, cache: Path) -> None:
    file = index.add("foo", "1")
    index.has_hashes = index.has_metadata = False
    require = CATCH + "print(caught(remote_wheel.require, 'foo', prefer_installed=False))"
    assert python(require, **STALE).stdout == "None\n"
    _, file.data = make_wheel("foo", "1", {"foo/__init__.py": "other = 1\n"})
    said = python(require, **STALE).stdout
    assert said.startswith("ContentChanged: ")
    assert "sha256=" in said


def test_frozen_refuses_what_nobody_vouches_for(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    url = put(index, "one")
    index.add("foo", "1")
    mount = CATCH + f"print(caught(remote_wheel.mount, {url!r}, frozen=True))"
    said = python(mount).stdout
    assert said.startswith(f"NotTrusted: frozen, and nothing is known of {url}")
    assert url not in [f"{index.root.rstrip('/')}{path}" for path, _ in index.requests]
    python(f"import remote_wheel; remote_wheel.mount({url!r})")
    assert python(mount, **STALE).stdout == "None\n"
    assert python(CATCH + "print(caught(remote_wheel.require, 'foo', frozen=True))").stdout == "None\n"  # it has a hash
    index.has_hashes = False
    index.add("bar", "1")
    said = remote_wheel("run", "--with", "bar", "-c", "import bar", expect=2, REMOTE_WHEEL_FROZEN="1").stderr
    assert "nothing is known of" in said


def test_frozen_and_an_index_that_has_only_wheels(index: LoopbackIndex, python: Python) -> None:
    index.add("foo", "1")
    index.has_hashes = index.has_metadata = index.has_ranges = index.speaks_json = False
    said = python(CATCH + "print(caught(remote_wheel.require, 'foo', frozen=True))").stdout
    assert said.startswith("NotTrusted: ")
    assert index.wheels() == 0
    assert python(CATCH + "print(caught(remote_wheel.require, 'foo'))").stdout == "None\n"
    assert index.wheels() == 1


def test_what_a_lock_states_does_not_change_what_is_trusted(
    index: LoopbackIndex, python: Python, remote_wheel: Python, tmp_path: Path
) -> None:
    url = put(index, "one")
    remote_wheel("lock", url, "-o", "old.toml")
    put(index, "two")
    mount = CATCH + f"print(caught(remote_wheel.mount, {url!r}))"
    python("import shutil, os; shutil.rmtree(os.environ['REMOTE_WHEEL_CACHE_DIR'])")
    assert python(mount, **STALE).stdout == "None\n"
    put(index, "one")
    show = ("-c", "import thing; print(thing.V)")
    assert remote_wheel("run", "--lock", "old.toml", *show).stdout == "one\n"
    put(index, "two")
    assert python(mount, **STALE).stdout == "None\n"


def test_offline_auto_asks_while_it_can(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    index.add("foo", "1")
    code = "import remote_wheel; print(remote_wheel.require('foo', offline='auto').__version__)"
    assert python(code).stderr == ""
    index.add("foo", "2")
    assert python(code, **STALE).stdout == "2\n"  # it asks while it can
    down = {"REMOTE_WHEEL_INDEX_URL": "http://127.0.0.1:9/simple/", **STALE}
    index.statuses["/simple/foo/"] = 503
    assert "503" in python(code, expect=1, **STALE).stderr  # a server that is there and fails
    said = python(code, expect=1, **down).stderr
    assert "NetworkError: can't fetch http://127.0.0.1:9/simple/foo/" in said, "what is missing is not the reason"


def test_offline_auto_says_so(python: Python, remote_wheel: Python) -> None:
    from tests.loopback import serve

    with serve(LoopbackIndex()) as gone:
        gone.add("foo", "1")
        url = gone.url
        environ = {"REMOTE_WHEEL_INDEX_URL": url, **STALE}
        python("import remote_wheel; remote_wheel.require('foo')", **environ)
    done = python("import remote_wheel; print(remote_wheel.require('foo', offline='auto').__version__)", **environ)
    assert done.stdout == "1\n"
    assert "the cache alone was used: can't fetch" in done.stderr
    done = remote_wheel("run", "--offline-auto", "--with", "foo", "-c", "import foo; print(foo)", **environ)
    assert "the cache alone was used" in done.stderr
    done = remote_wheel("tree", "foo", REMOTE_WHEEL_OFFLINE="auto", **environ)
    assert "foo" in done.stdout
    assert "the cache alone was used" in done.stderr
    assert "NetworkError" in python("import remote_wheel; remote_wheel.require('foo')", expect=1, **environ).stderr


@pytest.mark.parametrize("value", ["sometimes", 3])
def test_what_offline_can_be(python: Python, value: object) -> None:
    said = python(f"import remote_wheel; remote_wheel.require('foo', offline={value!r})", expect=1).stderr
    assert f"offline is a bool or 'auto', not {value!r}" in said
