"""The store against a model: whatever is written, damaged, forgotten or opened anew, what is read is the last write."""

import hashlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from remote_wheel.store.cache import Store
from remote_wheel.store.memory import Memory

KEYS = st.sampled_from(["a", "b", "https://index.example/simple/x/"])
DATA = st.binary(max_size=200)


class StoreMachine(RuleBasedStateMachine):
    """Notes, answers, archives and facts of one store on a disk, and one in memory that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.memory = Store(self.folder / "nowhere", "v1", Memory(reads=False, reason=""))
        self.notes: dict[str, bytes] = {}
        self.answers: dict[str, bytes] = {}
        self.archives: dict[str, bytes] = {}
        self.facts: dict[str, int] = {}
        self.open()

    @property
    def stores(self) -> tuple[Store, Store]:
        return self.disk, self.memory

    @rule()
    def open(self) -> None:
        """Another process opens it."""
        self.disk = Store(self.folder / "cache", "v1")

    @rule(key=KEYS, data=DATA)
    def write_note(self, key: str, data: bytes) -> None:
        for store in self.stores:
            store.write_note("metadata", key, data)
        self.notes[key] = data

    @rule(key=KEYS, data=DATA)
    def write_answer(self, key: str, data: bytes) -> None:
        for store in self.stores:
            store.write_answer("pages", key, data, {"etag": "x"}, key)
        self.answers[key] = data

    @rule(key=KEYS)
    def renew_answer(self, key: str) -> None:
        for store in self.stores:
            assert (store.renew_answer("pages", key, {"etag": "y"}) is None) == (key not in self.answers)

    @rule(data=DATA.filter(len), is_kept=st.booleans())
    def receive_archive(self, data: bytes, is_kept: bool) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        for store in self.stores:
            with store.new_archive() as incoming:
                incoming.file.write(b"a first try")
                incoming.restart()
                incoming.file.write(data)
                incoming.keep_as = sha256 if is_kept else ""
        if is_kept:
            self.archives[sha256] = data

    @rule(key=st.sampled_from(["k1", "k2"]), value=st.integers())
    def make_image(self, key: str, value: int) -> None:
        for store in self.stores:
            path = store.image_path(key, "cpython")
            with store.new_image(path) as file:
                file.write(b"image")
            store.write_facts(path, {"value": value})
        self.facts[key] = value

    @rule(key=st.sampled_from(["k1", "k2"]))
    def discard(self, key: str) -> None:
        for store in self.stores:
            store.discard(store.image_path(key, "cpython"), key)
        self.facts.pop(key, None)

    @rule(files=st.dictionaries(st.sampled_from(["a", "p/b", "p/q/c"]), DATA, min_size=1))
    def unpack(self, files: dict[str, bytes]) -> None:
        key = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        tree = self.disk.unpack(key, dict.fromkeys(files, False), lambda path: [files[path]])
        assert {path: (tree / path).read_bytes() for path in files} == files
        assert self.disk.is_tree_whole(key)

    @rule(which=st.integers(min_value=0), at=st.integers(min_value=0))
    def damage(self, which: int, at: int) -> None:
        """Flip a byte of a note or an answer: it counts as not there."""
        paths = sorted(path for room in ("metadata", "pages") for path in self.disk.room(room).iterdir())
        if not paths:
            return
        path = paths[which % len(paths)]
        data = bytearray(path.read_bytes())
        body = data.index(b"\n") + 1
        if body == len(data):
            return
        data[body + at % (len(data) - body)] ^= 1
        path.write_bytes(data)
        room = path.parent.name
        for key in KEYS_OF:
            if hashlib.sha256(key.encode()).hexdigest() == path.name:
                assert (
                    self.disk.read_note(room, key) if room == "metadata" else self.disk.read_answer(room, key)
                ) is None
                known = self.notes if room == "metadata" else self.answers
                self.memory.files.remove(self.memory.room(room) / path.name)
                known.pop(key, None)
        path.unlink()

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        for store in self.stores:
            for key in KEYS_OF:
                assert store.read_note("metadata", key) == self.notes.get(key)
                answer = store.read_answer("pages", key)
                assert (answer and answer[1]) == self.answers.get(key)
            for sha256, data in self.archives.items():
                assert bytes(store.open_archive(sha256) or b"") == data
            for name in ("k1", "k2"):
                facts = store.read_facts(store.image_path(name, "cpython"))
                assert (facts and facts["value"]) == self.facts.get(name)

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert not [path for path in (self.folder / "cache").rglob("*") if path.name.startswith(".")]
        assert not (self.folder / "nowhere").exists()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


KEYS_OF = ("a", "b", "https://index.example/simple/x/")
TestStore = pytest.mark.slow(StoreMachine.TestCase)
TestStore.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
