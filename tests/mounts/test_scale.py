"""Many mounts, and a wheel of many members."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName

from fixtures.wheels import make_wheel
from remote_wheel.api.cold import Silent
from remote_wheel.api.preparation import Preparation
from remote_wheel.settings import Limits, merge_settings
from remote_wheel.store.cache import Store
from remote_wheel.verify.wheel import Verified, verify_wheel
from tests.conftest import Python

MOUNT = """
import json, os, sys
from remote_wheel.mounts import registry
entries = json.load(open(sys.argv[1]))
for entry in entries:
    entry["tops"] = tuple(entry["tops"])
before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
registry.add(entries)
"""


def entry_of(preparation: Preparation, name: str, files: dict[str, str]) -> dict[str, Any]:
    filename, data = make_wheel(name, "1", files)
    sha256 = hashlib.sha256(data).hexdigest()

    def verified() -> Verified:
        return verify_wheel(data, filename=filename, sha256=sha256, limits=Limits())

    made = preparation.entry(
        NormalizedName(name), "1", sha256=sha256, planned_metadata=None, variant="", verified=verified
    )
    return {**made, "source": name, "index": "", "commit": "", "wanted_by": ()}


def write(entries: list[dict[str, Any]], path: Path) -> str:
    path.write_text(json.dumps(entries))
    return str(path)


def preparation(tmp_path: Path) -> Preparation:
    settings = merge_settings({"index_url": "https://index.example/"}, {})
    return Preparation(settings, Store(tmp_path / "cache", "v1"), Silent(), optimize=0)


def test_five_hundred_mounts(tmp_path: Path, python: Python) -> None:
    """An import asks none but its own; none of them holds a file open where a map need not (Python 3.13)."""
    makes = preparation(tmp_path)
    entries = [entry_of(makes, f"p{n}", {f"p{n}/__init__.py": f"VALUE = {n}\n"}) for n in range(500)]
    code = (
        MOUNT
        + """
import p0, p250, p499
assert (p0.VALUE, p250.VALUE, p499.VALUE) == (0, 250, 499)
assert len(sys.path) > 500
if before and sys.version_info >= (3, 13):
    assert len(os.listdir("/proc/self/fd")) <= before + 5
from remote_wheel.mounts.finder import RootFinder
asked = []
RootFinder.find_spec = lambda self, *_: asked.append(self)
import p300
assert not asked, asked
"""
    )
    python(code, write(entries, tmp_path / "entries.json"))


@pytest.mark.slow
def test_a_wheel_of_fifty_thousand_members(tmp_path: Path, python: Python) -> None:
    files = {f"big/d{n // 1000}/m{n}.py": "" for n in range(49_990)} | {"big/__init__.py": "VALUE = 1\n"}
    entry = entry_of(preparation(tmp_path), "big", files)
    code = MOUNT + "import big, big.d49.m49989\nassert big.VALUE == 1\n"
    python(code, write([entry], tmp_path / "entries.json"))


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="it says what of a file is mapped")
def test_what_was_read_of_an_image_is_given_back(tmp_path: Path, python: Python) -> None:
    text = "TABLE = {" + ", ".join(f"'name {n}': {n}" for n in range(1500)) + "}\n"
    files = {"big/__init__.py": "", **{f"big/m{n}.py": text for n in range(60)}}
    entries = write([entry_of(preparation(tmp_path), "big", files)], tmp_path / "entries")
    code = (
        MOUNT
        + """
for n in range(60):
    __import__(f"big.m{n}")
mapped, name = 0, ""
for line in open("/proc/self/smaps"):
    first, *rest = line.split()
    if "-" in first:
        name = rest[-1]
    elif first == "Rss:" and name == entries[0]["image"]:
        mapped += int(rest[0])
print(os.path.getsize(entries[0]["image"]) // 1024, mapped)
"""
    )
    size_kib, mapped_kib = map(int, python(code, entries).stdout.split())
    assert size_kib > 3000
    assert mapped_kib < 700, mapped_kib
