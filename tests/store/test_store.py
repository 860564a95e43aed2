"""The store: whole files or none, private, and never believed."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_wheel.errors import StoreError
from remote_wheel.store.cache import Store
from remote_wheel.store.files import Disk
from remote_wheel.store.memory import Memory

POSIX = pytest.mark.skipif(os.name != "posix", reason="mode bits are POSIX")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One on the disk."""
    return Store(tmp_path / "cache", "v1")


@pytest.fixture(params=["disk", "memory", "memory over a disk"])
def any_store(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    """One of each kind: they keep the same contract."""
    if request.param == "disk":
        return Store(tmp_path / "cache", "v1")
    reads = request.param != "memory"
    if reads:
        Store(tmp_path / "cache", "v1")
    return Store(tmp_path / "cache", "v1", Memory(reads=reads, reason="as you asked"))


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@POSIX
def test_everything_is_private(store: Store) -> None:
    store.write_note("metadata", "key", b"data")
    for path in store.folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    disk = Disk()

    def chunks(_: str) -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError), disk.staged(tmp_path, "x") as new:
        new.file.write(b"half")
        new.keep_as = "x"
        raise ZeroDivisionError
    with contextlib.suppress(ZeroDivisionError):
        disk.make_tree(tmp_path / "y", {"z": False}, chunks, tmp_path / "y.files")
    with disk.staged(tmp_path, "incoming") as unnamed:
        unnamed.file.write(b"not kept")
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


@pytest.mark.parametrize("disk", [Disk(), Memory(reads=True, reason="")], ids=["disk", "memory"])
def test_a_write_replaces_whole(tmp_path: Path, disk: Disk) -> None:
    assert disk.read(tmp_path / "x") is None
    disk.write(tmp_path / "x", b"one")
    disk.write(tmp_path / "x", b"two\nlines")
    assert disk.read(tmp_path / "x") == b"two\nlines"
    assert disk.read_line(tmp_path / "x", 100) == b"two\n"
    assert bytes(disk.map(tmp_path / "x") or b"") == b"two\nlines"
    assert disk.is_file(tmp_path / "x")
    disk.remove(tmp_path / "x")
    assert (disk.read(tmp_path / "x"), disk.map(tmp_path / "x")) == (None, None)
    assert not disk.is_file(tmp_path / "x")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_a_file_of_any_size_is_read_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    Disk().write(tmp_path / "file", data)
    assert Disk().read(tmp_path / "file") == data


def test_what_is_kept_in_memory_hides_what_is_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"on the disk")
    memory = Memory(reads=True, reason="")
    assert memory.read(tmp_path / "x") == b"on the disk"
    memory.write(tmp_path / "x", b"here")
    assert memory.read(tmp_path / "x") == b"here"
    memory.remove(tmp_path / "x")
    assert memory.read(tmp_path / "x") is None
    assert (tmp_path / "x").read_bytes() == b"on the disk"
    assert Memory(reads=False, reason="").read(tmp_path / "x") is None


@POSIX
def test_links_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StoreError, match="a link or a file"):
        Disk().make_folder(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        Disk().make_folder(tmp_path / "file")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    with pytest.raises(StoreError, match="others can write it"):
        Disk().make_folder(tmp_path / "open")


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "file" / "cache", "v1")
    assert "REMOTE_WHEEL_CACHE_DIR" in caught.value.hint


def test_archives_are_hashed_again(store: Store) -> None:
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert store.open_archive(digest) is None
    with store.new_archive() as incoming:
        incoming.file.write(b"wrong start")
        incoming.restart()
        incoming.file.write(b"abc")
        assert bytes(incoming.contents()) == b"abc"
        incoming.keep_as = digest
    view = store.open_archive(digest)
    assert view is not None
    assert bytes(view) == b"abc"
    (store.folder / "v1" / "archives" / digest).write_bytes(b"abd")
    assert store.open_archive(digest) is None
    (store.folder / "v1" / "archives" / digest).write_bytes(b"")
    assert store.open_archive(digest) is None


def test_answers_keep_what_revalidation_needs(any_store: Store) -> None:
    headers = {"content-type": "text/html", "etag": '"x"', "cache-control": "public, max-age=60"}
    any_store.write_answer("pages", "https://a/", b"body\nwith lines", headers, "https://b/")
    kept = any_store.read_answer("pages", "https://a/")
    assert kept is not None
    answer, body = kept
    assert body == b"body\nwith lines"
    assert (answer.url, answer.etag, answer.max_age_s) == ("https://b/", '"x"', 60.0)
    assert any_store.read_answer("pages", "https://b/") is None


@pytest.mark.parametrize(
    ("header", "age"),
    [("", None), ("no-cache", 0.0), ("max-age=x", None), ("max-age=5, no-cache", 0.0), ("MAX-AGE=7", 7.0)],
)
def test_cache_control(any_store: Store, header: str, age: float | None) -> None:
    assert any_store.write_answer("pages", "u", b"", {"cache-control": header}, "u").max_age_s == age


def test_no_store_is_not_stored(any_store: Store) -> None:
    any_store.write_answer("pages", "u", b"secret", {"cache-control": "no-store"}, "u")
    assert any_store.read_answer("pages", "u") is None


def test_damaged_entries_are_misses(store: Store) -> None:
    store.write_answer("pages", "u", b"body", {}, "u")
    store.write_note("metadata", "m", b"metadata")
    image = store.image_path("k", "cp")
    image.touch()
    store.write_facts(image, {"a": 1})
    assert store.read_facts(image) == {"a": 1}
    for path in (store.folder / "v1").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    assert store.read_answer("pages", "u") is None
    assert store.read_note("metadata", "m") is None
    assert store.read_facts(image) is None
    for garbage in (b"", b"{}\n", b"[1]\nx", b"\xff\xff\n"):
        for path in (store.folder / "v1").rglob("*"):
            if path.is_file():
                path.write_bytes(garbage)
        assert store.read_answer("pages", "u") is None
        assert store.read_note("metadata", "m") is None
        assert store.read_facts(image) is None


def test_a_lock_is_held_by_one(any_store: Store) -> None:
    import threading

    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with any_store.lock("thing"):
            inside.append(1)
            time.sleep(0.001)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
