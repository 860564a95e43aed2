"""mount(): URLs and paths, hashes, unmounting."""

import hashlib
import os
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel, make_zip
from tests.conftest import Python
from tests.loopback import LoopbackIndex


@pytest.fixture
def wheel(index: LoopbackIndex) -> str:
    """The URL of a wheel that needs another one of the index."""
    filename, data = make_wheel("direct", "1", {"direct.py": "import needed\nVALUE = 7\n"}, requires=["needed"])
    index.extra[f"/downloads/{filename}"] = data
    index.add("needed", "1")
    return f"{index.root}downloads/{filename}"


def _sha256(index: LoopbackIndex, url: str) -> str:
    return hashlib.sha256(index.extra["/" + url.split("/", 3)[3]]).hexdigest()


def test_mount_a_wheel_by_url_with_its_dependencies(index: LoopbackIndex, wheel: str, python: Python) -> None:
    code = f"""
        import remote_wheel
        mount = remote_wheel.mount({wheel!r})
        module = mount.import_module()
        print(module.VALUE, mount.modules, mount.distribution.version, mount.sha256, mount.source)
    """
    said = python(code).stdout.strip()
    assert said == f"7 ('direct',) 1 {_sha256(index, wheel)} {wheel}"
    index.requests.clear()
    python(code)
    assert index.requests == []


def test_deps_false_mounts_it_alone(index: LoopbackIndex, wheel: str, python: Python) -> None:
    code = f"""
        import remote_wheel
        mount = remote_wheel.mount({wheel!r}, deps=False)
        mount.import_module()
    """
    assert "No module named 'needed'" in python(code, expect=1).stderr
    assert index.pages() == 0


@pytest.mark.parametrize("way", ["fragment", "argument"])
def test_a_stated_hash_is_enforced(index: LoopbackIndex, wheel: str, python: Python, way: str) -> None:
    right, wrong = _sha256(index, wheel), "0" * 64
    code = """
        import remote_wheel
        try:
            print(remote_wheel.mount(*{!r}, **{!r}).sha256)
        except remote_wheel.errors.DigestMismatch as error:
            print(error.expected, error.actual)
    """

    def run(digest: str) -> str:
        source = f"{wheel}#sha256={digest}" if way == "fragment" else wheel
        options = {"sha256": digest} if way == "argument" else {}
        return python(code.format([source], options)).stdout.strip()

    assert run(wrong) == f"sha256:{wrong} sha256:{right}"
    assert run(right) == right


def test_a_source_zip_with_a_top_folder_and_a_src_layout(index: LoopbackIndex, python: Python) -> None:
    project = '[project]\nname = "tree-thing"\nversion = "3.2"\ndependencies = ["needed"]\n'
    project += '[project.scripts]\ntree-thing = "tree_thing:main"\n'
    index.extra["/archive/main.zip"] = make_zip(
        {
            "tree-thing-main/pyproject.toml": project,
            "tree-thing-main/setup.py": "raise SystemExit('never run')\n",
            "tree-thing-main/tests/test_it.py": "",
            "tree-thing-main/src/tree_thing/__init__.py": "import needed\nVALUE = 9\n",
        }
    )
    index.add("needed", "1")
    code = f"""
        import remote_wheel, importlib.metadata
        with remote_wheel.mount("{index.root}archive/main.zip") as mount:
            print(mount.import_module().VALUE, mount.modules)
            print(importlib.metadata.version("tree-thing"))
            scripts = importlib.metadata.entry_points(group="console_scripts")
            print([script.name for script in scripts if script.dist.name == "tree-thing"])
    """
    assert python(code).stdout.splitlines() == ["9 ('tree_thing',)", "3.2", "['tree-thing']"]


def test_a_flat_source_zip_and_a_subdirectory(index: LoopbackIndex, python: Python) -> None:
    index.extra["/flat.zip"] = make_zip({"flat/__init__.py": "V = 1\n", "tests/__init__.py": "", "setup.py": "boom"})
    index.extra["/many.zip"] = make_zip({"repo/a/one/__init__.py": "V = 2\n", "repo/b/two.py": "V = 3\n"})
    code = f"""
        import remote_wheel
        flat = remote_wheel.mount("{index.root}flat.zip")
        one = remote_wheel.mount("{index.root}many.zip", subdirectory="a")
        two = remote_wheel.mount("{index.root}many.zip#subdirectory=b")
        print(flat.modules, flat.import_module().V, one.import_module().V, two.import_module().V)
    """
    assert python(code).stdout.strip() == "('flat',) 1 2 3"


def test_a_single_module_by_url(index: LoopbackIndex, python: Python) -> None:
    index.extra["/math_tools.py"] = b"def square(x):\n    return x * x\n"
    code = f"""
        import remote_wheel
        with remote_wheel.mount("{index.root}math_tools.py") as mount:
            import math_tools
            print(math_tools.square(12), mount.distribution)
    """
    assert python(code).stdout.strip() == "144 None"


def test_local_paths(python: Python, tmp_path: Path) -> None:
    filename, data = make_wheel("local-thing", "1")
    (tmp_path / filename).write_bytes(data)
    (tmp_path / "alone.py").write_text("NAME = 'alone'\n")
    code = f"""
        import pathlib, remote_wheel
        print(remote_wheel.mount({filename!r}).import_module().__version__)
        print(remote_wheel.mount(pathlib.Path("alone.py").absolute()).import_module().NAME)
        print(remote_wheel.mount({(tmp_path / filename).as_uri()!r}).sha256)
    """
    expected = ["1", "alone", hashlib.sha256(data).hexdigest()]
    assert python(code, REMOTE_WHEEL_OFFLINE="1").stdout.split() == expected


def test_a_changed_local_file_is_seen(python: Python, tmp_path: Path) -> None:
    code = "import remote_wheel; print(remote_wheel.mount('note.py').import_module().NOTE)"
    for note in ("first", "second thing"):
        (tmp_path / "note.py").write_text(f"NOTE = {note!r}\n")
        assert python(code).stdout.strip() == note


def test_unmount_undoes_everything(index: LoopbackIndex, python: Python) -> None:
    entry_points = "[app.plugins]\nplug = thing:plug\n"
    index.add(
        "thing", "1", {"thing/__init__.py": "from thing import sub\n", "thing/sub.py": ""}, entry_points=entry_points
    )
    url = index.file_url(index.files["thing"][0])
    code = f"""
        import gc, importlib.metadata, linecache, sys, remote_wheel

        def state():
            groups = [entry.name for entry in importlib.metadata.entry_points(group="app.plugins")]
            return list(sys.path), list(sys.meta_path), list(sys.path_hooks), sorted(sys.modules), groups

        with remote_wheel.mount({url!r}):
            state()  # loads what of ours and of the standard library all this needs
        before = state()
        with remote_wheel.mount({url!r}) as mount:
            module = mount.import_module()
            assert linecache.getline(module.__file__, 1, module.__dict__) == "from thing import sub\\n"
            assert state()[4] == ["plug"]
            assert module is sys.modules["thing"] and "thing.sub" in sys.modules
        assert state() == before, (state(), before)
        assert not any(name.startswith(str(module.__spec__.loader.root.path)) for name in linecache.cache)
        assert not any(name.startswith(module.__spec__.loader.root.path) for name in sys.path_importer_cache)
        mount.unmount()  # a second time does nothing
        try:
            import thing
        except ModuleNotFoundError:
            print("gone")
        with remote_wheel.mount({url!r}) as again:
            assert again.import_module() is not module
    """
    assert python(code).stdout.strip() == "gone"


def test_what_another_mount_uses_stays(index: LoopbackIndex, wheel: str, python: Python) -> None:
    code = f"""
        import sys, remote_wheel
        needed = remote_wheel.require("needed")
        with remote_wheel.mount({wheel!r}) as mount:
            mount.import_module()
        assert "direct" not in sys.modules and sys.modules["needed"] is needed
        import needed as again
    """
    python(code)


def test_a_wheel_installed_elsewhere_in_another_version_comes_back_after_unmount(
    index: LoopbackIndex, python: Python
) -> None:
    index.add("packaging", "1.0")
    url = index.file_url(index.files["packaging"][0])
    code = f"""
        import remote_wheel
        with remote_wheel.mount({url!r}):
            import packaging
            print(packaging.__version__)
        import packaging
        print(packaging.__version__ != "1.0", "site-packages" in packaging.__file__)
    """
    assert python(code).stdout.split() == ["1.0", "True", "True"]


def test_secrets_in_a_url_are_not_shown(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.extra["/tool.py"] = b"X = 1\n"
    index.user = "me:s3cret"
    url = f"http://me:s3cret@127.0.0.1:{index.port}/tool.py?signature=hidden"
    code = f"""
        import remote_wheel
        mount = remote_wheel.mount({url!r})
        print(mount.source, repr(mount), remote_wheel.explain(mount.import_module()))
    """
    said = python(code).stdout
    assert "s3cret" not in said
    assert "hidden" not in said
    assert not any(b"s3cret" in path.read_bytes() for path in cache.rglob("*") if path.is_file())
    assert not any(b"hidden" in path.read_bytes() for path in cache.rglob("*") if path.is_file())


def test_mount_takes_no_unknown_option(python: Python) -> None:
    code = "import remote_wheel; remote_wheel.mount('x.whl', colour=1)"
    assert "TypeError: unexpected option 'colour'" in python(code, expect=1).stderr


@pytest.mark.skipif(os.name != "posix", reason="mode bits are POSIX")
def test_a_cache_that_others_can_write_is_refused(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.add("thing", "1")
    cache.mkdir()
    cache.chmod(0o777)
    said = python("import remote_wheel; remote_wheel.require('thing')", expect=1).stderr
    assert "others can write it (mode 0777)" in said
