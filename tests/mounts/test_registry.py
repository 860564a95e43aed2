"""Mounts in this very process: order on sys.path, what importlib and pkgutil see, and the way back."""

import importlib
import importlib.resources
import inspect
import marshal
import os
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.wheels import make_wheel
from remote_wheel.mounts import boot, registry, undo
from remote_wheel.mounts.finder import ImageLoader, Root
from remote_wheel.prepare.image import compile_modules, write_image
from remote_wheel.settings import Limits
from remote_wheel.verify.wheel import verify_wheel


class Mounter:
    """Mount wheels by recipe; everything is unmounted at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.roots: list[Root] = []

    def __call__(self, name: str, files: dict[str, str | bytes], version: str = "1") -> Root:
        filename, data = make_wheel(name, version, files)
        verified = verify_wheel(data, filename=filename, sha256="0" * 64, limits=Limits())
        compiled = compile_modules(verified, optimize=-1)
        path = self._folder / f"{name}-{version}.zip"
        with path.open("w+b") as file:
            write_image(compiled, file, str(path))
        facts = {
            "name": name,
            "version": version,
            "source": "a test",
            "sha256": "0" * 64,
            "reasons": (),
            "filename": filename,
        }
        entry = {**facts, "root": str(path), "image": str(path), "tops": compiled.table.tops}
        entry["namespaces"] = compiled.table.namespaces
        (root,) = registry.add([entry])
        self.roots.append(root)
        return root


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounter]:
    before = (list(sys.path), list(sys.meta_path), list(sys.path_hooks))
    mounter = Mounter(tmp_path)
    yield mounter
    undo.remove([root for root in mounter.roots if root.uses])
    assert (sys.path, sys.meta_path, sys.path_hooks) == before


def test_the_place_on_sys_path(mount: Mounter) -> None:
    first, second = mount("rw_one", {"rw_one.py": ""}), mount("rw_two", {"rw_two.py": ""})
    places = [sys.path.index(second.path), sys.path.index(first.path)]
    site = next(at for at, entry in enumerate(sys.path) if entry.endswith("site-packages"))
    assert places == [site - 2, site - 1]
    assert registry.mounted() == (second, first)


def test_attributes_are_those_of_an_installed_module(mount: Mounter) -> None:
    root = mount("rw_pkg", {"rw_pkg/__init__.py": '"""Doc."""\n', "rw_pkg/sub.py": "def f():\n    return 1\n"})
    package = importlib.import_module("rw_pkg")
    sub = importlib.import_module("rw_pkg.sub")
    assert package.__file__ == root.base + "rw_pkg/__init__.py"
    assert package.__path__ == [root.base + "rw_pkg"]
    assert (package.__package__, sub.__package__, sub.__name__) == ("rw_pkg", "rw_pkg", "rw_pkg.sub")
    assert sub.__spec__ is not None
    assert sub.__spec__.origin == sub.__file__ == sub.f.__code__.co_filename
    assert isinstance(sub.__loader__, ImageLoader)
    assert inspect.getsource(sub.f) == "def f():\n    return 1\n"
    assert pkgutil.get_data("rw_pkg", "sub.py") == b"def f():\n    return 1\n"
    assert registry.root_of(sub) is root


def test_pkgutil_and_resources(mount: Mounter) -> None:
    files: dict[str, str | bytes] = {
        "rw_pkg/__init__.py": "import importlib.resources\n",
        "rw_pkg/b.py": "",
        "rw_pkg/inner/__init__.py": "",
        "rw_pkg/0001-x.py": "",
        "rw_pkg/data/text.txt": "hello",
    }
    mount("rw_pkg", files)
    package = importlib.import_module("rw_pkg")
    found = {(info.name, info.ispkg) for info in pkgutil.iter_modules(package.__path__)}
    assert found == {("b", False), ("inner", True), ("0001-x", False)}
    assert importlib.resources.files("rw_pkg").joinpath("data", "text.txt").read_text() == "hello"
    assert {"rw_pkg"} <= {info.name for info in pkgutil.iter_modules()}


def test_a_namespace_over_two_mounts_and_one_goes(mount: Mounter) -> None:
    one = mount("rw-ns-one", {"rw_ns/one.py": "N = 1\n"})
    mount("rw-ns-two", {"rw_ns/two/__init__.py": "N = 2\n"})
    assert importlib.import_module("rw_ns.one").N + importlib.import_module("rw_ns.two").N == 3
    undo.remove([one])
    assert "rw_ns.one" not in sys.modules
    assert "rw_ns.two" in sys.modules
    assert not hasattr(sys.modules["rw_ns"], "one")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("rw_ns.one")


def test_a_data_file_that_is_not_there_says_of_which_wheel(mount: Mounter) -> None:
    mount("rw_pkg", {"rw_pkg.py": ""})
    loader: Any = importlib.import_module("rw_pkg").__loader__
    with pytest.raises(FileNotFoundError, match=r"rw_pkg has no file 'nothing\.txt' in its wheel"):
        loader.get_data(loader.root.base + "nothing.txt")


def test_an_aliased_path_goes_through_the_hook(mount: Mounter) -> None:
    """Some packages point another name's ``__path__`` at a folder of theirs, as setuptools does for distutils."""
    root = mount(
        "rw_pkg", {"rw_pkg/__init__.py": "", "rw_pkg/_real/__init__.py": "", "rw_pkg/_real/core.py": "X = 5\n"}
    )
    alias = type(sys)("rw_alias")
    alias.__path__ = [root.base + "rw_pkg/_real"]
    sys.modules["rw_alias"] = alias
    try:
        assert importlib.import_module("rw_alias.core").X == 5
    finally:
        del sys.modules["rw_alias"]
        sys.modules.pop("rw_alias.core", None)


def test_a_newer_mount_wins_and_gives_way_again(mount: Mounter) -> None:
    mount("rw_pkg", {"rw_pkg.py": "V = 1\n"}, "1")
    newer = mount("rw_pkg", {"rw_pkg.py": "V = 2\n"}, "2")
    assert importlib.import_module("rw_pkg").V == 2
    undo.remove([newer])
    assert importlib.import_module("rw_pkg").V == 1


def test_reload_and_pickle(mount: Mounter) -> None:
    import pickle

    mount("rw_pkg", {"rw_pkg.py": "class C:\n    def __eq__(self, other):\n        return True\n    __hash__ = None\n"})
    module = importlib.import_module("rw_pkg")
    assert importlib.reload(module) is module
    assert pickle.loads(pickle.dumps(module.C())) == module.C()


def test_a_record_is_believed_only_whole_fresh_and_private(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.write_text("x")
    record = {"fresh_until_s": 100.0, "files": [(str(witness), boot.file_token(str(witness)))]}
    path = tmp_path / "record"
    path.write_bytes(boot.dump_record(record))
    path.chmod(0o600)
    assert boot.read_record(str(path), now_s=99.0) == record
    assert boot.read_record(str(path), now_s=101.0) is None
    assert boot.read_record(str(path), now_s=101.0, is_offline=True) == record
    tmp_path.chmod(0o777)  # another user may have put it there
    assert boot.read_record(str(path), now_s=99.0) is None
    tmp_path.chmod(0o700)
    status = witness.stat()
    witness.write_text("y")
    os.utime(witness, ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size, in the same file, at "that time"
    assert boot.read_record(str(path), now_s=99.0) is None
    witness.write_text("changed")
    assert boot.read_record(str(path)) is None
    witness.write_text("x")
    for data in (b"", b"RWB4", marshal.dumps(record), boot.dump_record(record)[:-1]):
        path.write_bytes(data)
        assert boot.read_record(str(path)) is None
    assert boot.read_record(str(tmp_path / "nothing")) is None


def test_keys_tell_requests_apart_and_tell_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def key(action: str = "require", *subjects: str, options: "dict[str, Any] | None" = None, **facts: Any) -> str:
        return boot.record_key(action, subjects or ("a",), options or {}, **{"cache": "/c", **facts})

    keys = {
        key(),
        key("mount"),
        key("require", "a", "b"),
        key(options={"pre": True}),
        key(preferred=[("a", "1")]),
        key(path=["/lib"]),
        key(cache="/d"),
        key(options={"index_url": "folder"}),
    }
    monkeypatch.chdir(tmp_path)
    keys |= {key("mount"), key(options={"index_url": "folder"})}  # a relative path is another file elsewhere
    monkeypatch.setenv("REMOTE_WHEEL_INDEX_URL", "https://me:pw@index.example")
    keys.add(key())
    assert len(keys) == 11
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in keys)
    assert key(options={"offline": True}) == key()


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"HOME": "/h"}, "/h/.cache/remote_wheel"),
        ("linux", {"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/remote_wheel"),
        ("darwin", {"HOME": "/h"}, "/h/Library/Caches/remote_wheel"),
        ("linux", {"REMOTE_WHEEL_CACHE_DIR": "/c"}, "/c"),
    ],
)
def test_cache_folder(monkeypatch: pytest.MonkeyPatch, platform: str, environ: dict[str, str], expected: str) -> None:
    monkeypatch.delenv("REMOTE_WHEEL_CACHE_DIR")
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert boot.cache_folder() == expected
    assert boot.cache_folder("/named") == "/named"
