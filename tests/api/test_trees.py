"""Wheels that must be unpacked are so when they are first looked into, if nobody has done it yet."""

import hashlib
import json
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from fixtures.wheels import make_wheel
from remote_wheel.api.cold import Silent
from remote_wheel.api.preparation import Preparation
from remote_wheel.mounts import trees
from remote_wheel.settings import Limits, merge_settings
from remote_wheel.store.cache import Store
from remote_wheel.store.files import token_of
from remote_wheel.verify.wheel import Verified, verify_wheel
from tests.conftest import Python

FILES = {
    "thing/__init__.py": "import os\nHERE = os.path.dirname(__file__)\nTEXT = open(HERE + '/data.txt').read()\n",
    "thing/data.txt": "data of thing",
    "thing/deep/er/empty.txt": "",
    "thing/other.py": "VALUE = 2\n",
}
MOUNT = """
import json, os, sys
from remote_wheel.mounts import registry
entry = json.loads(sys.argv[1])
entry["tops"] = tuple(entry["tops"])
registry.add([entry])
assert not os.path.exists(entry["root"]) or len(sys.argv) > 2
"""


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    """The lean entry of a wheel that needs its files; nobody unpacks it."""
    filename, data = make_wheel("thing", "1", FILES)
    store = Store(tmp_path / "cache", "v1")
    sha256 = hashlib.sha256(data).hexdigest()
    with store.new_archive() as incoming:
        incoming.file.write(data)
        incoming.keep_as = sha256

    def verified() -> Verified:
        return verify_wheel(data, filename=filename, sha256=sha256, limits=Limits())

    preparation = Preparation(
        merge_settings({"index_url": "https://index.example/"}, {}), store, Silent(), optimize=0, may_be_lean=True
    )
    made = preparation.entry(
        verified().metadata.name,  # type: ignore[union-attr]  # a wheel has metadata
        "1",
        sha256=sha256,
        planned_metadata=None,
        variant="",
        verified=verified,
    )
    assert made["is_lean"]
    assert made["is_packed"]
    assert not Path(made["root"]).exists()
    return {**made, "source": "thing", "index": "", "commit": "", "wanted_by": ()}


def test_the_first_import_unpacks_it(entry: dict[str, Any], python: Python) -> None:
    code = MOUNT + "import thing, thing.other\nprint(thing.TEXT, thing.other.VALUE, thing.__file__)"
    said = python(code, json.dumps(entry)).stdout
    root = Path(entry["root"])
    assert said == f"data of thing 2 {root}/thing/__init__.py\n"
    assert (root / "thing/deep/er/empty.txt").read_bytes() == b""
    written = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    manifest = Store(root.parents[2], "v1").manifest(root.name)
    sizes = {path: (len(data), zlib.crc32(data)) for path, data in written.items()}
    assert manifest == {path: (*size, token_of((root / path).stat())) for path, size in sizes.items()}
    assert {oct(p.stat().st_mode & 0o777) for p in root.rglob("*")} == {"0o600", "0o700"}
    assert not list(root.parent.glob(".*")), "nothing is left over"
    assert Store(root.parents[2], "v1").is_tree_whole(root.name)


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_looks_for_distributions_finds_it(entry: dict[str, Any], python: Python, when: str) -> None:
    asks = "import importlib.metadata"
    code = f"{asks}\n{MOUNT.replace('assert', '#')}" if when == "before" else f"{MOUNT}\n{asks}"
    assert python(f"{code}\nprint(importlib.metadata.version('thing'))", json.dumps(entry)).stdout == "1\n"


def test_many_at_once_unpack_it_once(entry: dict[str, Any]) -> None:
    code = MOUNT.replace("assert", "#") + "import thing\nprint(thing.TEXT)"
    started = [
        subprocess.Popen([sys.executable, "-c", code, json.dumps(entry)], stdout=subprocess.PIPE) for _ in range(6)
    ]
    assert [process.communicate(timeout=60)[0] for process in started] == [b"data of thing\n"] * 6
    assert not list(Path(entry["root"]).parent.glob(".*"))


def test_two_threads_at_once(entry: dict[str, Any], python: Python) -> None:
    code = """
        import threading
        found = []
        def work(name):
            found.append(__import__(name).HERE)
        threads = [threading.Thread(target=work, args=("thing",)) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(set(found)))
    """
    assert python(MOUNT + textwrap.dedent(code), json.dumps(entry)).stdout == "1\n"


@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_an_archive_that_is_not_whole_any_more_is_said(entry: dict[str, Any], python: Python, damage: str) -> None:
    archive = Path(entry["archive"])
    data = archive.read_bytes()
    if damage == "gone":
        archive.unlink()
    else:
        at = data.index(b"thing/data.txt") + len("thing/data.txt") + 2
        archive.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    said = python(MOUNT + "import thing", json.dumps(entry), expect=1).stderr
    assert "StoreError" in said
    assert "thing can't be unpacked there" in said
    assert not Path(entry["root"]).exists()


def test_a_child_process_unpacks_it_too(entry: dict[str, Any], python: Python) -> None:
    code = """
        import subprocess
        print(subprocess.check_output([sys.executable, "-c", "import thing; print(thing.TEXT)"], text=True), end="")
    """
    assert python(MOUNT + textwrap.dedent(code), json.dumps(entry)).stdout == "data of thing\n"


def test_where_no_thread_can_be_started_this_one_does_all(
    entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ "can't start new thread": nobody is left writing into a folder that is being removed."""
    done: list[str] = []

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    trees._in_threads(done.append, [str(at) for at in range(50)])
    assert sorted(done) == sorted(str(at) for at in range(50))


def test_nobody_works_on_when_one_has_failed() -> None:
    running: list[str] = []

    def work(path: str) -> None:
        if path == "49":  # the first one that is taken
            raise ValueError("no")
        running.append(path)
        time.sleep(0.01)
        running.remove(path)

    for _ in range(20):
        with pytest.raises(ValueError, match="no"):
            trees._in_threads(work, [str(at) for at in range(50)])
        assert not running
