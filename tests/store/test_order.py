"""Crashes of the machine: whatever of what was not synced is lost, a reader finds the old, the new, or nothing.

The store's operations are recorded as they are done; each prefix of them, less any one operation that no sync covers,
is played into a new folder, and read there as after a start.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from remote_wheel.store import files
from remote_wheel.store.cache import Store

SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of b"abc"


class Operation(NamedTuple):
    """One change: of a name (folder, rename, removal) or of contents; `synced` once a sync covers it."""

    kind: str
    path: str
    other: str = ""
    data: bytes = b""


class Recorder:
    """Stands in for the `os` of store.files: does what it is told, and notes the order of changes and syncs."""

    def __init__(self, root: Path) -> None:
        self._root, self._open = root, dict[int, str]()
        self.operations: list[Operation] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _below(self, path: Any) -> str:
        return os.path.relpath(os.fspath(path), self._root)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = os.open(path, flags, mode)
        self._open[descriptor] = self._below(path)
        if flags & os.O_CREAT:
            self.operations.append(Operation("create", self._below(path)))
        return descriptor

    def fsync(self, descriptor: int) -> None:
        path = self._open[descriptor]
        place = self._root / path
        os.fsync(descriptor)
        if place.is_dir():
            self.operations.append(Operation("sync folder", path))
        else:
            self.operations.append(Operation("contents", path, data=place.read_bytes()))

    def replace(self, source: Any, target: Any) -> None:
        place = self._root / self._below(source)
        if not any(each.kind == "contents" and each.path == self._below(source) for each in self.operations):
            self.operations.append(Operation("loose contents", self._below(source), data=place.read_bytes()))
        os.replace(source, target)
        self.operations.append(Operation("rename", self._below(source), self._below(target)))


def states(operations: list[Operation]) -> Iterator[list[Operation]]:
    """Yield what may be left: each prefix, whole and less one operation that nothing has made durable since."""
    for end in range(len(operations) + 1):
        prefix = operations[:end]
        yield prefix
        for at, operation in enumerate(prefix):
            folder = os.path.dirname(operation.other or operation.path)
            is_durable = operation.kind == "contents" or any(
                each.kind == "sync folder" and each.path == folder for each in prefix[at:]
            )
            if operation.kind != "sync folder" and not is_durable:
                yield [*prefix[:at], *prefix[at + 1 :]]


def play(operations: list[Operation], root: Path, initial: Path) -> None:
    shutil.copytree(initial, root)
    for operation in operations:
        path = root / operation.path
        if operation.kind == "create":
            path.touch(mode=0o600)
        elif operation.kind in ("contents", "loose contents") and path.exists():
            path.write_bytes(operation.data)
        elif operation.kind == "rename" and path.exists():
            os.replace(path, root / operation.other)
    for path in root.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    root.chmod(0o700)


def write_archive(store: Store) -> None:
    with store.new_archive() as incoming:
        incoming.file.write(b"abc")
        incoming.keep_as = SHA256


def write_image(store: Store) -> None:
    path = store.image_path("k", "cpython")
    with store.new_image(path) as file:
        file.write(b"image two")
    store.write_facts(path, {"value": 2})


def read_image(store: Store) -> object:
    path = store.image_path("k", "cpython")
    facts = store.read_facts(path)
    return facts and (facts["value"], bytes(store.map_image(path) or b""))


CASES: dict[str, tuple[Callable[[Store], object], Callable[[Store], object], tuple[object, ...]]] = {
    "archive": (write_archive, lambda store: bytes(store.open_archive(SHA256) or b""), (b"", b"abc")),
    "note": (
        lambda store: store.write_note("metadata", "m", b"two"),
        lambda store: store.read_note("metadata", "m"),
        (b"one", b"two", None),
    ),
    "trust": (
        lambda store: store.write_answer("urls", "u", b"two", {}, ""),
        lambda store: (store.read_answer("urls", "u") or ("", b""))[1],
        (b"one", b"two"),  # never nothing: it can't be had again
    ),
    "record": (
        lambda store: store.write_record("key", b"two"),
        lambda store: store.files.read(store.room("boot") / "key"),
        (b"one", b"two"),
    ),
    "image": (write_image, read_image, ((1, b"image one"), (1, b"image two"), (2, b"image two"), None)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_state_reads_as_old_or_new(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read, allowed = CASES[case]
    store = Store(tmp_path / "cache", "v1")
    store.write_note("metadata", "m", b"one")
    store.write_answer("urls", "u", b"one", {}, "")
    store.write_record("key", b"one")
    path = store.image_path("k", "cpython")
    with store.new_image(path) as file:
        file.write(b"image one")
    store.write_facts(path, {"value": 1})
    shutil.copytree(tmp_path / "cache", tmp_path / "initial")
    recorder = Recorder(tmp_path / "cache")
    monkeypatch.setattr(files, "os", recorder)
    write(store)
    monkeypatch.undo()
    assert [each for each in recorder.operations if each.kind == "rename"], "nothing was recorded"
    seen = set()
    for at, state in enumerate(states(recorder.operations)):
        play(state, tmp_path / f"state{at}", tmp_path / "initial")
        found = read(Store(tmp_path / f"state{at}", "v1"))
        assert found in allowed, (found, state)
        seen.add(found)
    assert len(seen) > 1
