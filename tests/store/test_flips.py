"""Bytes that rot: whatever is read of a store is what was written, or counts as not there."""

import marshal
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from remote_wheel.api.upkeep import Upkeep, open_store
from remote_wheel.errors import StoreError
from remote_wheel.mounts import boot
from remote_wheel.mounts.image import DamagedImage, Image
from remote_wheel.store.cache import Store
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.mounts.test_executed import SUFFIX, forget_times, make_library

MUTATIONS = 2000


def image_contents(path: Path) -> dict[str, bytes]:
    """Return all code and members that the image gives, by name."""
    try:
        image = Image(str(path), memoryview(path.read_bytes()))  # which nobody removes when it turns out to be damaged
        found = {f"{entry[4]}c": image.read_code(*entry[1:4]) for entry in image.modules.values() if entry[2]}
        found |= {name: image.read(*place) for name, place in image.members.items() if len(place) == 3}
    except (DamagedImage, StoreError):
        return {}
    return {name: bytes(blob) for name, blob in found.items() if blob is not None}


def tree_contents(store: Store, path: Path) -> object:
    """Return what a manifest says, or a file of a tree, once a look over the store has found nothing."""
    if list(Upkeep(store).damages()):
        return None
    return store.manifest(path.name.removesuffix(".files")) if path.suffix == ".files" else path.read_bytes()


def readers(store: Store) -> dict[str, Callable[[Path], object]]:
    """Return by room what reads a file of it; an empty answer is a miss."""
    return {
        "archives": lambda path: store.open_archive(path.name),
        "boot": lambda path: boot.read_record(str(path)),
        "images": lambda path: (
            image_contents(path) if path.suffix == ".zip" else store.read_facts(path.with_suffix(".zip"))
        ),
        "listings": lambda path: path.read_bytes() if store.is_note_whole(path) else None,
        "metadata": lambda path: path.read_bytes() if store.is_note_whole(path) else None,
        "pages": lambda path: path.read_bytes().partition(b"\n")[2] if store.is_answer_whole(path) else None,
        "urls": lambda path: path.read_bytes().partition(b"\n")[2] if store.is_answer_whole(path) else None,
        "trees": lambda path: tree_contents(store, path),
    }


@pytest.mark.slow
def test_flipped_bytes_are_never_believed(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.add("app", "1", {"app/__init__.py": "from lib import V\nclass A:\n    'doc'\n"}, requires=["lib"])
    index.add("lib", "1", {"lib.py": "V = 1\n"})
    files_of_native: dict[str, str | bytes] = {"native/__init__.py": "V = 2\n", "native/_x.so": b"\x7fELF"}
    file = index.add("native", "1", files_of_native, tag="py3-none-linux_x86_64")
    python("import remote_wheel; remote_wheel.prefetch('app'); remote_wheel.require('app')")
    python(f"import remote_wheel; remote_wheel.mount({index.file_url(file)!r}).import_module()")
    store, randomly = open_store(str(cache)), random.Random(1)
    files = [(room, read, path) for room, read in readers(store).items() for path in (cache / "v1" / room).rglob("*")]
    files = [(room, read, path) for room, read, path in files if path.is_file() and path.stat().st_size]
    assert {room for room, _, _ in files} == set(readers(store))
    missed = 0
    for _ in range(MUTATIONS):
        _, read, path = randomly.choice(files)
        whole, before = path.read_bytes(), read(path)
        damaged = bytearray(whole)
        kind = randomly.randrange(4)
        at = randomly.randrange(len(damaged))
        if kind == 0:
            del damaged[at:]
        elif kind == 1:
            damaged[at:at] = randomly.randbytes(3)
        else:
            damaged[at] ^= 1 << randomly.randrange(8)
        path.write_bytes(damaged)
        after = read(path)
        path.write_bytes(whole)
        missed += not after
        if isinstance(before, dict) and isinstance(after, dict) and path.suffix == ".zip":
            assert all(before[name] == blob for name, blob in after.items()), path
        else:
            assert not after or after == before, path
    assert missed > MUTATIONS // 2
    assert not list(Upkeep(store).damages())


@pytest.mark.parametrize("seed", range(12))
def test_a_process_refetches_or_rebuilds_what_is_damaged(
    index: LoopbackIndex, python: Python, cache: Path, seed: int
) -> None:
    """Of a store with a byte flipped in one of its files, the next start runs what it should."""
    files: dict[str, str | bytes] = {"native/__init__.py": "V = 2\n", "native/_x.so": b"\x7fELF"}
    index.add("native", "1", files, tag="py3-none-linux_x86_64")
    index.add("lib", "1", {"lib.py": "V = 1\n"})
    code = "import remote_wheel; a, b = remote_wheel.require('lib', 'native'); print(a.V, b.V)"
    assert python(code).stdout == "1 2\n"
    randomly = random.Random(seed)
    rooms = ("archives", "boot", "images", "listings", "metadata", "pages")
    files_there = sorted(path for room in rooms for path in (cache / "v1" / room).rglob("*") if path.is_file())
    path = files_there[seed * len(files_there) // 12]
    data = bytearray(path.read_bytes())
    data[randomly.randrange(len(data))] ^= 0x55
    path.write_bytes(data)
    assert python(code).stdout == "1 2\n"
    assert python(code, REMOTE_WHEEL_REFRESH="1").stdout == "1 2\n"


def test_verify_sees_every_byte_of_an_image(index: LoopbackIndex, python: Python, cache: Path) -> None:
    """Those, too, that only other readers of zips look at."""
    index.add("lib", "1", {"lib.py": "V = 1\n"})
    python("import remote_wheel; remote_wheel.require('lib')")
    upkeep = Upkeep(open_store(str(cache)))
    (path,) = (cache / "v1" / "images").rglob("*.zip")
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert [damage.path for damage in upkeep.damages()] == [path], at
    path.write_bytes(whole)
    assert not list(upkeep.damages())


def test_code_is_read_whole_or_not_at_all(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.add("lib", "1", {"lib.py": "V = 1\n"})
    python("import remote_wheel; remote_wheel.require('lib')")
    (path,) = (cache / "v1" / "images").rglob("*.zip")
    code = marshal.loads(image_contents(path)["lib.pyc"])
    assert isinstance(code, CodeType)


STARTS = 125


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or not shutil.which("cc"), reason="NO COMPILER")
@pytest.mark.parametrize("seed", range(8))
def test_no_start_ends_in_a_crash(index: LoopbackIndex, cache: Path, tmp_path: Path, seed: int) -> None:
    """A thousand starts, each with one file changed before: flipped, cut or filled; some as if nobody had noticed."""
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    files: dict[str, str | bytes] = {
        "native/__init__.py": "V = 1\nfrom native import _fast, other\n",
        "native/other.py": "V = 3\n",
        f"native/_fast{SUFFIX}": make_library(tmp_path, 2),
    }
    index.add("native", "1", files, tag=f"{own}-{own}-linux_{os.uname().machine}", requires=["pure"])
    index.add("pure", "1", {"pure/__init__.py": "from pure.part import V\n", "pure/part.py": "V = 4\n"})
    code = (
        "import remote_wheel; m = remote_wheel.require('native'); import pure; print(m.V, m._fast.V, m.other.V, pure.V)"
    )

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)

    randomly, told = random.Random(seed), 0
    assert start().stdout == "1 2 3 4\n"
    for _ in range(STARTS):
        rooms = [cache / "v1" / room for room in ("images", "trees", "boot", "archives")]
        there = sorted(each for room in rooms for each in room.rglob("*") if each.is_file() and each.stat().st_size)
        path, kind = randomly.choice(there), randomly.choice(["flip", "cut", "fill", "fill all"])
        data = bytearray(path.read_bytes())
        place = randomly.randrange(len(data))
        if kind == "flip":
            data[place] ^= 1 << randomly.randrange(8)
        elif kind == "cut":
            del data[place:]
        else:
            end = len(data) if kind == "fill all" else min(len(data), place + 4096)
            begin = 0 if kind == "fill all" else place
            data[begin:end] = bytes(end - begin)
        path.write_bytes(data)
        if path.parent.parent.name == "images" and randomly.randrange(2):
            forget_times(cache)
        done = start()
        if "was verified; start again" in done.stderr:  # the archive was changed before, which no warm start reads
            told += 1
            done = start()
        assert (done.returncode, done.stdout) == (0, "1 2 3 4\n"), (kind, path, done.returncode, done.stderr)
    assert told < STARTS // 10
