"""What is executed is what was verified, whatever happened to the files of a warm cache since."""

import importlib.machinery
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
EXTENSION = """
#include <Python.h>
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "_fast", 0, -1, 0};
PyMODINIT_FUNC PyInit__fast(void) {
    PyObject *module = PyModule_Create(&def);
    PyModule_AddIntConstant(module, "V", VALUE);
    return module;
}
"""
RUN = "import remote_wheel; m = remote_wheel.require('native'); print(m.V, m._fast.V, m.other.V)"


def make_library(folder: Path, value: int) -> bytes:
    """Return a real extension module whose `V` is *value*."""
    source, library = folder / f"fast{value}.c", folder / f"fast{value}.so"
    source.write_text(EXTENSION.replace("VALUE", str(value)))
    include = sysconfig.get_path("include")
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(library)], check=True)
    return library.read_bytes()


@pytest.fixture
def native(index: LoopbackIndex, tmp_path: Path) -> LoopbackIndex:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}-cp{sys.version_info.major}{sys.version_info.minor}"
    files: dict[str, str | bytes] = {
        "native/__init__.py": "V = 1\nfrom native import _fast, other\n",
        "native/other.py": "V = 3\n",
        f"native/_fast{SUFFIX}": make_library(tmp_path, 2),
        "native.libs/libneeded.so": b"\x7fELF needed",
    }
    index.add("native", "1", files, tag=f"{tag}-linux_{os.uname().machine}")
    return index


def tree_of(cache: Path) -> Path:
    (tree,) = (path for path in (cache / "v1" / "trees").iterdir() if path.is_dir())
    return tree


def damage_code(cache: Path, name: str) -> None:
    """Spoil the compiled code of a module in the image, but nothing that says so when it is opened."""
    (path,) = (cache / "v1" / "images").glob("*/*.zip")
    data = path.read_bytes()
    at = data.index(name.encode() + b"c") + len(name) + 40
    path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
    os.utime(path, ns=(0, 0))


def forget_times(cache: Path) -> None:
    """Have records believe in the image that was just damaged, as after a byte that rotted where it lies."""
    from remote_wheel.mounts import boot

    for path in (cache / "v1" / "boot").iterdir():
        record = boot.read_record(str(path), is_offline=True) or boot.load_record(path.read_bytes())
        assert record is not None
        record["files"] = [(name, boot.file_token(name)) for name, _ in record["files"]]
        path.write_bytes(boot.dump_record(record))


@pytest.mark.parametrize("how", ["changed", "same-size-and-time", "zeros", "cut", "gone", "link"])
def test_a_library_of_a_tree_that_has_changed_is_not_loaded(
    native: LoopbackIndex, python: Python, cache: Path, tmp_path: Path, how: str
) -> None:
    """What would crash the process, or be somebody else's code, is put right from the archive."""
    assert python(RUN).stdout == "1 2 3\n"
    library = tree_of(cache) / "native" / f"_fast{SUFFIX}"
    whole, status = library.read_bytes(), library.stat()
    other = make_library(tmp_path, 9)
    if how == "changed":
        library.write_bytes(other)
    elif how == "same-size-and-time":
        library.write_bytes(other.ljust(len(whole), b"\0")[: len(whole)])
        os.utime(library, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif how == "zeros":
        library.write_bytes(bytes(len(whole)))
    elif how == "cut":
        library.write_bytes(whole[: len(whole) // 2])
    elif how == "gone":
        library.unlink()
    else:
        library.unlink()
        (tmp_path / "other.so").write_bytes(other)
        library.symlink_to(tmp_path / "other.so")
    for _ in range(2):
        assert python(RUN).stdout == "1 2 3\n"
    assert library.read_bytes() == whole
    assert not library.is_symlink()


def test_what_a_library_needs_is_held_to_it_too(native: LoopbackIndex, python: Python, cache: Path) -> None:
    python(RUN)
    needed = tree_of(cache) / "native.libs" / "libneeded.so"
    needed.write_bytes(b"\x7fELF others")
    python(RUN)
    assert needed.read_bytes() == b"\x7fELF needed"


@pytest.mark.parametrize("change", ["V = 9\n", "V = 9", ""], ids=["same-size", "shorter", "empty"])
def test_a_changed_source_is_not_compiled_in_place_of_damaged_code(
    native: LoopbackIndex, python: Python, cache: Path, change: str
) -> None:
    python(RUN)
    damage_code(cache, "native/other.py")
    (tree_of(cache) / "native" / "other.py").write_text(change)
    forget_times(cache)
    assert python(RUN).stdout == "1 2 3\n"


def test_where_the_archive_is_gone_it_is_an_error_once(native: LoopbackIndex, python: Python, cache: Path) -> None:
    """The next start has it made again."""
    python(RUN)
    library = tree_of(cache) / "native" / f"_fast{SUFFIX}"
    library.write_bytes(b"nothing of ours")
    (archive,) = (cache / "v1" / "archives").iterdir()
    archive.unlink()
    assert "has changed since native was verified; start again" in python(RUN, expect=1).stderr
    assert python(RUN).stdout == "1 2 3\n"


def test_damaged_code_in_memory_is_compiled_from_the_archive(index: LoopbackIndex, python: Python, cache: Path) -> None:
    """Also where the source in the image is damaged, too."""
    index.add("pure", "1", {"pure/__init__.py": "from pure.part import V\n", "pure/part.py": "V = 'the very text'\n"})
    run = "import remote_wheel; print(remote_wheel.require('pure').V)"
    python(run)
    (path,) = (cache / "v1" / "images").glob("*/*.zip")
    path.write_bytes(path.read_bytes().replace(b"the very text", b"another text!"))
    forget_times(cache)
    assert python(run).stdout == "the very text\n"


def test_a_cache_that_was_copied_is_compared_once(
    native: LoopbackIndex, python: Python, cache: Path, tmp_path: Path
) -> None:
    """Its files have other inodes and times: what they are is looked at, and noted anew."""
    python(RUN)
    other = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(cache), str(other)], check=True)
    tree = tree_of(other)
    manifest = Path(f"{tree}.files").read_bytes()
    environ = {"REMOTE_WHEEL_CACHE_DIR": str(other)}
    assert python(RUN, **environ).stdout == "1 2 3\n"
    assert Path(f"{tree}.files").read_bytes() != manifest
    noted = Path(f"{tree}.files").stat().st_mtime_ns
    assert python(RUN, **environ).stdout == "1 2 3\n"
    assert Path(f"{tree}.files").stat().st_mtime_ns == noted


def test_bytecode_of_a_wheel_is_in_no_image(index: LoopbackIndex, python: Python, cache: Path) -> None:
    """Stock zipimport, by which child processes without our finder import, would run it in place of the source."""
    files: dict[str, str | bytes] = {
        "thing/__init__.py": "V = 1\n",
        "thing/__init__.pyc": b"other code",
        "thing/__pycache__/__init__.cpython-311.pyc": b"other code",
        "thing/alone.pyc": b"other code",
        "thing/data.so": b"",  # unpacked
    }
    index.add("thing", "1", files, tag=f"py3-none-linux_{os.uname().machine}")
    index.add("pure", "1", {name.replace("thing", "pure"): data for name, data in files.items() if "so" not in name})
    code = """
        import importlib, subprocess, sys, remote_wheel
        for name in ("thing", "pure"):
            module = remote_wheel.require(name)
            try:
                importlib.import_module(f"{name}.alone")
            except ImportError as error:
                assert "bytecode without its source" in str(error), error
        child = f"import sys; sys.path[:0] = {sys.path!r}; import thing, pure; print(thing.V, pure.V)"
        print(subprocess.check_output([sys.executable, "-I", "-S", "-B", "-c", child], text=True))
    """
    assert python(code).stdout.strip() == "1 1"

    for path in (cache / "v1" / "images").glob("*/*.zip"):
        names = zipfile.ZipFile(path).namelist()
        assert all(names.count(name) == 1 for name in names)
        assert not [name for name in names if name.endswith(".pyc") and b"other" in zipfile.ZipFile(path).read(name)]
    assert not list(tree_of(cache).rglob("*.pyc"))


def test_modules_that_are_not_used_are_in_no_image(index: LoopbackIndex, python: Python, cache: Path) -> None:
    """What the parent does not import, a child process can't import either, by whatever way."""
    index.add("six", "1.0", {"six.py": "V = 'the real one'\n"})
    index.add(
        "evil",
        "1.0",
        {"evil.py": "V = 1\n", "six.py": "V = 'a false one'\n", "textwrap.py": "V = 2\n", "json/__init__.py": ""},
        requires=["six"],
    )
    code = """
        import json, subprocess, sys, remote_wheel
        remote_wheel.require("evil", prefer_installed=False)
        places = [path for path in sys.path if "images" in path]
        child = f"import sys; sys.path[:0] = {places!r}; import evil, six, textwrap, json; "
        child += "print(six.V, hasattr(textwrap, 'V'), json.__file__)"
        print(subprocess.check_output([sys.executable, "-I", "-S", "-c", child], text=True).strip())
        print(json.__file__)
    """
    said, own = python(code, "-W", "ignore").stdout.splitlines()
    assert said == f"the real one False {own}"
    shadowed = 'import remote_wheel; print(remote_wheel.require("evil", module="six", allow_shadow=["six"]).V)'
    assert python(shadowed, "-W", "ignore").stdout == "a false one\n"


def test_an_unchanged_library_is_not_read(native: LoopbackIndex, python: Python) -> None:
    python(RUN)
    code = f"import sys\n{RUN}\nprint(json.dumps([name for name in sys.modules if 'originals' in name]))"
    assert json.loads(python(f"import json\n{code}").stdout.splitlines()[-1]) == []
