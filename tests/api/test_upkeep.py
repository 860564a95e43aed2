"""The cache as its owner sees it: what is in it, what of it is damaged, what goes and what stays."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from remote_wheel.api import cold, request_of
from remote_wheel.api.upkeep import Upkeep, open_store, parse_age, parse_size, shown_age, shown_size
from remote_wheel.errors import UsageError
from remote_wheel.mounts import leases
from remote_wheel.settings import merge_settings
from remote_wheel.store.files import Disk
from tests.conftest import Python
from tests.loopback import LoopbackIndex

DAY_S = 86_400
POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows does not remove what is mapped")


@pytest.fixture
def shop(index: LoopbackIndex) -> LoopbackIndex:
    for name in ("red", "green", "blue"):
        index.add(name, "1", {f"{name}/__init__.py": f"NAME = {name!r}\n", f"{name}/data.bin": os.urandom(20_000)})
    index.add("native", "1", {"native/__init__.py": "", "native/_x.so": b"\x7fELF"}, tag="py3-none-linux_x86_64")
    return index


@pytest.fixture
def upkeep(cache: Path) -> Upkeep:
    return Upkeep(open_store(str(cache)))


def names(upkeep: Upkeep) -> list[str]:
    return [one.name for one in upkeep.survey().held]


def age(cache: Path, days: dict[str, int]) -> None:
    """Have the records that mount the projects be last used so many days ago."""
    for one in Upkeep(open_store(str(cache))).survey().held:
        for path in one.records:
            os.utime(path, (time.time() - days[one.name] * DAY_S,) * 2)


class Killed(BaseException):
    """Nothing that follows is done."""


@contextmanager
def killed_at(path: str) -> Iterator[None]:
    """Have what is done end as something is about to take the name *path*."""
    usual = os.replace

    def replace(old: str, new: str | Path) -> None:
        if str(new) == path:
            raise Killed
        usual(old, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", replace)
        patch.setattr(os, "replace", replace)
        yield


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has run *code* and stays, until the context ends."""
    code += "\nprint('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("\n", timeout=30)


def test_list_and_size(shop: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path) -> None:
    python("import remote_wheel; remote_wheel.require('red', 'native')")
    age(cache, {"red": 3, "native": 3})
    rows = [line.split("\t") for line in remote_wheel("cache", "list").stdout.splitlines()]
    assert [(name, version, used) for name, version, _, used in rows] == [
        ("native", "1", "3 days"),
        ("red", "1", "3 days"),
    ]
    listed = json.loads(remote_wheel("cache", "list", "--json").stdout)
    total = sum(path.lstat().st_size for path in (cache / "v1").rglob("*") if path.is_file())
    assert 40_000 < sum(each["size_bytes"] for each in listed) < total
    assert json.loads(remote_wheel("cache", "size", "--json").stdout)["size_bytes"] <= total
    assert remote_wheel("cache", "dir").stdout.strip() == str(cache)
    assert remote_wheel("cache", "size").stdout.endswith("kB\n")


def test_what_was_not_used_for_long_goes(
    shop: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path, upkeep: Upkeep
) -> None:
    for name in ("red", "green", "blue"):
        python(f"import remote_wheel; remote_wheel.require({name!r})")
    age(cache, {"red": 40, "green": 20, "blue": 0})
    said = remote_wheel("cache", "prune", "--older-than", "30d").stderr
    assert "1 distribution removed" in said
    assert names(upkeep) == ["green", "blue"]
    shop.requests.clear()
    python("import remote_wheel; remote_wheel.require('green', offline=True); remote_wheel.require('red')")
    assert shop.wheels() == 1


def test_the_least_recently_used_go_until_it_fits(
    shop: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path, upkeep: Upkeep
) -> None:
    for name in ("red", "green", "blue"):
        python(f"import remote_wheel; remote_wheel.require({name!r})")
    age(cache, {"red": 1, "green": 3, "blue": 2})
    size = upkeep.survey().size_bytes
    remote_wheel("cache", "prune", "--max-size", f"{size - 1}B")
    assert names(upkeep) == ["blue", "red"]
    remote_wheel("cache", "prune", "--max-size", "0")
    assert upkeep.survey().size_bytes == 0
    assert not [path for path in (cache / "v1" / "images").rglob("*") if path.is_file()]


def test_a_warm_start_counts_as_use(shop: LoopbackIndex, python: Python, cache: Path, upkeep: Upkeep) -> None:
    code = "import remote_wheel; remote_wheel.require('red')"
    python(code)
    age(cache, {"red": 2})
    python(code, REMOTE_WHEEL_OFFLINE="1")
    (one,) = upkeep.survey().held
    assert time.time() - one.last_used_s < 60


@POSIX
@pytest.mark.parametrize("name", ["red", "native"])
def test_what_a_process_uses_stays(
    shop: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path, upkeep: Upkeep, name: str
) -> None:
    code = f"import remote_wheel; remote_wheel.require({name!r}, 'blue')"
    python(code)
    python("import remote_wheel; remote_wheel.require('green')")
    with running(code):
        said = remote_wheel("cache", "clean").stderr
        assert "1 distribution removed" in said
        assert f"kept {name} 1: a running process uses it" in said
        assert sorted(names(upkeep)) == ["blue", name]
        upkeep.prune(older_than_s=0, max_bytes=0, now_s=time.time() + 1000 * DAY_S)
        assert sorted(names(upkeep)) == ["blue", name]
        python(code, REMOTE_WHEEL_OFFLINE="1")
    remote_wheel("cache", "clean", "Blue")
    assert names(upkeep) == [name]
    remote_wheel("cache", "clean")
    assert names(upkeep) == []


@POSIX
def test_a_forked_child_uses_what_its_parent_mounted(shop: LoopbackIndex, upkeep: Upkeep) -> None:
    code = """
import os, remote_wheel
remote_wheel.require('red')
if os.fork():
    os._exit(0)
"""
    with running(code):
        assert [one.name for one in upkeep.clean(None, now_s=time.time()).in_use] == ["red"]


@POSIX
def test_what_is_being_removed_is_made_again(shop: LoopbackIndex, python: Python, cache: Path, upkeep: Upkeep) -> None:
    code = "import remote_wheel; print(remote_wheel.require('red').NAME)"
    python(code)
    (one,) = upkeep.survey().held
    descriptor = leases.open_leases(str(cache / "v1"))
    assert leases.is_free(descriptor, one.sha256)
    threading.Timer(1.5, os.close, [descriptor]).start()
    began = time.monotonic()
    assert python(code).stdout == "red\n"
    assert time.monotonic() - began > 1


def test_what_others_hold_is_not_free(tmp_path: Path) -> None:
    digest, other = "a" * 64, "b" * 64
    one, two = leases.open_leases(str(tmp_path)), leases.open_leases(str(tmp_path))
    leases.hold(str(tmp_path), [digest])
    leases.hold(str(tmp_path), [digest])
    assert not leases.is_free(one, digest)
    assert leases.is_free(one, other)
    with pytest.raises(OSError, match=r"unavailable|denied"):
        leases.hold(str(tmp_path), [other])
    os.close(one)
    assert leases.is_free(two, other)
    os.close(two)


def test_an_image_that_could_not_be_mapped_when_it_was_made_is_whole(
    shop: LoopbackIndex, cache: Path, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses a mapping now and then, as where too many files are open."""
    usual, refused = Disk.map, list[Path]()

    def once(self: Disk, path: Path) -> memoryview | None:
        if path.suffix == ".zip" and not refused:
            refused.append(path)
            return None
        return usual(self, path)

    monkeypatch.setattr(Disk, "map", once)
    request = request_of("require", ["red"], {"index_url": shop.url, "prefer_installed": False}, str(cache), "key")
    cold.carry_out({**request, "optimize": 0}, cold.Silent())
    assert refused
    assert not list(upkeep.damages())


@pytest.mark.parametrize("call", [".files", ""])
def test_a_damaged_tree_is_never_called_whole(cache: Path, call: str) -> None:
    """Its size is what it should be; who makes it again is killed as the new one is to take its place."""
    store = open_store(str(cache))
    tree = store.unpack("f" * 64, {"a": False}, lambda _: (b"a",))
    (tree / "a").write_bytes(b"b")
    store.discard(cache / "v1" / "images" / "x.zip", tree.name)

    with killed_at(f"{tree}{call}"), pytest.raises(Killed):
        store.unpack(tree.name, {"a": False}, lambda _: (b"a",))
    assert not store.is_tree_whole(tree.name)
    assert (store.unpack(tree.name, {"a": False}, lambda _: (b"a",)) / "a").read_bytes() == b"a"


@pytest.mark.parametrize("call", [".files", ""])
def test_a_tree_is_never_there_without_what_says_that_it_is_whole(cache: Path, upkeep: Upkeep, call: str) -> None:
    """Who unpacks it is killed as one or the other is to take its name."""
    store = open_store(str(cache))
    tree = store.tree_path("f" * 64)

    with killed_at(f"{tree}{call}"), pytest.raises(Killed):
        store.unpack(tree.name, {"a": False}, lambda _: (b"a",))
    assert not tree.exists()
    assert not list(upkeep.damages())
    assert store.unpack(tree.name, {"a": False}, lambda _: (b"a",)) == tree
    assert store.is_tree_whole(tree.name)
    assert not list(upkeep.damages())


def test_verify_and_repair(
    shop: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path, upkeep: Upkeep
) -> None:
    code = "import remote_wheel; remote_wheel.require('red', 'native')"
    python(code)
    assert "all of it" in remote_wheel("cache", "verify").stderr
    kinds = set()
    for path in sorted((cache / "v1").rglob("*")):
        if not path.is_file() or path.stat().st_size == 0 or path.parent.name == "locks":
            continue
        kinds.add(path.relative_to(cache / "v1").parts[0])
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        whole = path.read_bytes()
        path.write_bytes(data)
        assert path.name[:40] in str(next(upkeep.damages()).path), path
        path.write_bytes(whole)
    assert kinds == {"archives", "boot", "images", "listings", "metadata", "pages", "trees"}
    (damaged,) = (path for path in (cache / "v1" / "archives").iterdir() if b"red/__init__" in path.read_bytes())
    damaged.write_bytes(b"no wheel")
    assert str(damaged) in remote_wheel("cache", "verify", expect=1).stdout
    assert "1 damaged entry removed" in remote_wheel("cache", "verify", "--repair").stderr
    assert not list(upkeep.damages())
    python(code)


def test_the_budget_is_kept_once_a_day(shop: LoopbackIndex, python: Python, cache: Path, upkeep: Upkeep) -> None:
    python("import remote_wheel; remote_wheel.require('red', 'green')")
    settings = merge_settings({"index_url": "https://index.example/"}, {"REMOTE_WHEEL_MAX_CACHE_SIZE": "1kB"})
    (cache / "v1" / "pruned").touch()
    upkeep.keep_to_budget(settings)
    assert len(names(upkeep)) == 2
    os.utime(cache / "v1" / "pruned", (0, 0))
    upkeep.keep_to_budget(merge_settings({"index_url": "x"}, {}))
    assert len(names(upkeep)) == 2
    os.utime(cache / "v1" / "pruned", (0, 0))
    upkeep.keep_to_budget(settings)
    assert names(upkeep) == []


def test_a_process_of_its_own_keeps_to_the_budget_behind_the_import(
    shop: LoopbackIndex, python: Python, upkeep: Upkeep
) -> None:
    python("import remote_wheel; remote_wheel.require('green')")
    environ = {"REMOTE_WHEEL_COMPILE": "ahead", "REMOTE_WHEEL_MAX_CACHE_SIZE": "1kB"}
    python("import remote_wheel; remote_wheel.require('red')", **environ)
    until = time.monotonic() + 30
    while "green" in names(upkeep) and time.monotonic() < until:
        time.sleep(0.1)
    assert "green" not in names(upkeep)


def test_leftovers_of_the_dead_are_swept(shop: LoopbackIndex, python: Python, cache: Path, upkeep: Upkeep) -> None:
    python("import remote_wheel; remote_wheel.require('red')")
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        pass
    old, new = time.time() - 2 * 3600, time.time()
    left = {
        f".incoming.{ended.pid}.00ff.tmp": old,
        f".a.b.{ended.pid}.00fe.tmp": new,  # it may be another machine's
        f".incoming.{os.getpid()}.00ff.tmp": old,
        ".incoming.1.00ff.tmp": old - 2 * DAY_S,
    }
    for name, modified in left.items():
        (cache / "v1" / "archives" / name).write_bytes(b"half")
        os.utime(cache / "v1" / "archives" / name, (modified, modified))
    folder = cache / "v1" / "trees" / f".x.{ended.pid}.00aa.tmp"
    folder.mkdir()
    (folder / "file").touch()
    os.utime(folder, (old, old))
    for path in (cache / "v1" / "locks").iterdir():
        os.utime(path, (old - 2 * DAY_S,) * 2)
    upkeep.sweep(time.time())
    kept = sorted(path.name for path in (cache / "v1" / "archives").iterdir() if path.name.startswith("."))
    assert kept == sorted(name for at, name in enumerate(left) if at in (1, 2))
    assert not folder.exists()
    assert not list((cache / "v1" / "locks").iterdir())
    python("import remote_wheel; remote_wheel.require('green')")


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("2GB", 2 * 10**9), ("1.5 kB", 1500), ("1GiB", 2**30), ("10", 10), ("3M", 3_000_000)]
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


def test_amounts_to_read_and_amounts_that_are_none() -> None:
    assert [shown_size(n) for n in (0, 999, 1500, 123_456_789)] == ["0 B", "999 B", "1.5 kB", "123 MB"]
    assert [shown_age(n) for n in (5, 61, 7300, 86_400)] == ["just now", "1 minute", "2 hours", "1 day"]
    assert [parse_age(text) for text in ("30d", "12h", "90 minutes")] == [30 * DAY_S, 43_200, 5400]
    for wrong in ("", "much", "-1GB", "1PB x", "6months"):
        with pytest.raises(UsageError):
            parse_size(wrong)
        with pytest.raises(UsageError):
            parse_age(wrong)


@pytest.mark.parametrize("arguments", [["prune"], ["prune", "--max-size", "x"], ["prune", "--older-than", "x"], []])
def test_usage(remote_wheel: Python, arguments: list[str]) -> None:
    assert "error:" in remote_wheel("cache", *arguments, expect=2).stderr


@POSIX
@pytest.mark.parametrize("way", ["clean", "moved"])
def test_a_cache_goes_while_images_are_made_whole(
    index: LoopbackIndex, python: Python, remote_wheel: Python, cache: Path, way: str
) -> None:
    """Behind a first use somebody still compiles and writes: what is deleted stays so, and the next use is like it."""
    code = "\n".join(f"def f{number}(): return {number}" for number in range(100))
    index.add("large", "1", {"large/__init__.py": "V = 1\n"} | {f"large/m{n}.py": code for n in range(80)})
    run = "import remote_wheel; print(remote_wheel.require('large').V)"
    for _ in range(4):
        assert python(run).stdout == "1\n"
        if way == "clean":
            remote_wheel("cache", "clean")
            continue
        gone = cache.with_name("gone")
        cache.rename(gone)
        shutil.rmtree(gone)
        time.sleep(0.3)
        assert not cache.exists()
    assert python(run).stdout == "1\n"
