"""Where nothing can be written, or is to be: imports go on from memory, and say so."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex

# In a mount namespace of its own, all that is a disk is read-only for the command behind it.
ALL_READ_ONLY = """
mount --make-rprivate /
while read -r _ place kind _; do
    case $kind in
        proc|sysfs|devpts|cgroup*|mqueue|devtmpfs) ;;
        *) mount -o remount,bind,ro "$place" 2>/dev/null ;;
    esac
done < /proc/self/mounts
! touch "$PROBE" 2>/dev/null || exit 99
"""
READ_ONLY = 'mount --make-rprivate / && mount --bind "$PROBE" "$PROBE" && mount -o remount,bind,ro "$PROBE"'
FULL = 'mount --make-rprivate / && mount -t tmpfs -o size=96k,mode=700 none "$PROBE"'


def _can_have_namespaces() -> bool:
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


Within = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def within(tmp_path: Path) -> Within:
    """Run code, or our command with arguments, behind a script that changes what *probe* is."""
    if not _can_have_namespaces():
        pytest.skip("mount namespaces need Linux and root")

    def run(
        script: str, probe: Path, code: str = "", *arguments: str, expect: int = 0
    ) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", textwrap.dedent(code)] if code else [sys.executable, COMMAND, *arguments]
        shell = ["unshare", "-m", "sh", "-c", f'{script}\nexec "$@"', "sh", *command]
        environ = {**os.environ, "PROBE": str(probe), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(shell, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=120)
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def shop(index: LoopbackIndex) -> LoopbackIndex:
    index.add("pure", "1", {"pure/__init__.py": "from other import V\n", "pure/data.txt": "text"}, requires=["other"])
    index.add("other", "1", {"other.py": "V = 7\n"})
    index.add("native", "1", {"native/__init__.py": "", "native/_x.so": b"\x7fELF"}, tag="py3-none-linux_x86_64")
    index.add("bulky", "1", {"bulky.py": "V = 8\n", "bulky.bin": os.urandom(400_000)})
    return index


def test_no_cache_writes_nothing_anywhere(shop: LoopbackIndex, within: Within, tmp_path: Path, cache: Path) -> None:
    code = """
        import importlib.metadata, importlib.resources, inspect, warnings
        warnings.simplefilter("error")
        import remote_wheel
        for _ in range(2):
            pure = remote_wheel.require("pure", no_cache=True)
        assert pure.V == 7 and "import" in inspect.getsource(pure)
        assert (importlib.resources.files("pure") / "data.txt").read_text() == "text"
        assert importlib.metadata.version("pure") == "1"
        assert [str(pin) for pin in remote_wheel.resolve("bulky", no_cache=True).pins] == ["bulky 1"]
        with remote_wheel.environment("bulky", no_cache=True) as env:
            assert env.import_module("bulky").V == 8
    """
    within(ALL_READ_ONLY, tmp_path / "probe", code)
    within(ALL_READ_ONLY, tmp_path / "probe", "", "run", "--no-cache", "--with", "pure", "-c", "import pure")
    assert not cache.exists()


def test_no_cache_reads_nothing_either(shop: LoopbackIndex, python: Python, cache: Path) -> None:
    python("import remote_wheel; remote_wheel.require('pure')")
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    shop.requests.clear()
    python("import remote_wheel; remote_wheel.require('pure', no_cache=True)")
    assert shop.pages() == 2
    assert shop.wheels() == 2
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_no_cache_and_native_code(shop: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path) -> None:
    code = """
        import remote_wheel
        try:
            remote_wheel.require("native", no_cache=True)
        except remote_wheel.errors.NothingToUnpackTo as error:
            print(error, error.hint)
    """
    said = python(code).stdout
    assert "native/_x.so" in said
    assert "no_cache" in said
    assert not cache.exists()
    assert "leaves it alone" in remote_wheel("prefetch", "--no-cache", "pure", expect=2).stderr


def test_a_cache_that_can_only_be_read(shop: LoopbackIndex, within: Within, python: Python, cache: Path) -> None:
    python("import remote_wheel; remote_wheel.require('other', 'native')")
    code = """
        import warnings
        import remote_wheel
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            remote_wheel.require("other", "native")  # as it was prepared
            assert not caught, caught[0].message
            pure = remote_wheel.require("pure")
        assert pure.V == 7
        (told,) = caught
        assert "Read-only file system" in str(told.message), told.message
        assert told.filename == "<string>"
    """
    shop.requests.clear()
    within(READ_ONLY, cache, code)
    assert [path.rpartition("/")[2] for path, _ in shop.requests if path.endswith(".whl")] == [
        "pure-1-py3-none-any.whl"
    ]
    said = within(READ_ONLY, cache, "", "run", "--with", "pure", "-c", "import pure; print(pure.V)")
    assert said.stdout == "7\n"
    assert "nothing is kept" in said.stderr
    failed = within(READ_ONLY, cache, "", "prefetch", "pure", expect=2)
    assert "Read-only file system" in failed.stderr


def test_a_disk_that_is_full(shop: LoopbackIndex, within: Within, tmp_path: Path) -> None:
    place = tmp_path / "full"
    place.mkdir(mode=0o700)
    code = f"""
        import os, warnings
        import remote_wheel
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bulky = remote_wheel.require("bulky", cache_dir={str(place)!r})
        assert bulky.V == 8
        (told,) = caught
        assert "No space left on device" in str(told.message), told.message
        left = [os.path.join(folder, name) for folder, _, names in os.walk({str(place)!r}) for name in names]
        assert not [path for path in left if path.endswith(".tmp")], left
        os.truncate(os.path.join({str(place)!r}, "CACHEDIR.TAG"), 0)
        assert remote_wheel.require("other", cache_dir={str(place)!r}).V == 7
    """
    within(FULL, place, code)


def test_a_home_that_is_none(shop: LoopbackIndex, python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMOTE_WHEEL_CACHE_DIR")
    code = "import remote_wheel; print(remote_wheel.require('other').V)"
    done = python(code, HOME=os.devnull)
    assert done.stdout == "7\n"
    assert "nothing is kept in the cache" in done.stderr
