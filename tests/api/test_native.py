"""A wheel with a native module, compiled here."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

SOURCE = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_speed", NULL, -1, methods};
PyMODINIT_FUNC PyInit__speed(void) { return PyModule_Create(&module); }
"""


@pytest.fixture
def native(tmp_path: Path, index: LoopbackIndex) -> LoopbackIndex:
    """An index with a wheel whose extension module was compiled just now."""
    compiler = shutil.which("cc")
    if not compiler and not os.environ.get("CI"):
        pytest.skip("NOT TESTED: native modules; this test compiles one and there is no C compiler")
    assert compiler, "install a C compiler"
    (tmp_path / "speed.c").write_text(SOURCE)
    built = tmp_path / "speed.so"
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run([compiler, "-shared", "-fPIC", include, "-o", built, tmp_path / "speed.c"], check=True)
    name = f"fast/_speed{sysconfig.get_config_var('EXT_SUFFIX')}"
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = f"{version}-{version}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    files = {
        "fast/__init__.py": "from fast._speed import answer\n",
        name: built.read_bytes(),
        "fast/_speed.py": "raise ImportError('the extension must win')\n",
        "fast/bin/tool.sh": "#!/bin/sh\n",
    }
    index.add("fast", "1", files, tag=tag, executable=["fast/bin/tool.sh"])
    return index


def test_a_native_wheel_is_unpacked_and_its_extension_loads(native: LoopbackIndex, python: Python) -> None:
    code = """
        import os, remote_wheel, importlib.metadata
        fast = remote_wheel.require("fast")
        import fast._speed
        print(fast.answer(), os.path.isfile(fast._speed.__file__), os.path.isfile(fast.__file__))
        print(os.access(os.path.join(os.path.dirname(fast.__file__), "bin", "tool.sh"), os.X_OK))
        print(importlib.metadata.version("fast"))
        print(remote_wheel.explain(fast).splitlines()[-1].split(":")[:2])
    """
    expected = ["42 True True", "True", "1", "['  unpacked', ' native code']"]
    assert python(code).stdout.splitlines() == expected
    native.requests.clear()
    assert python(code).stdout.splitlines() == expected
    assert native.requests == []


def test_a_damaged_tree_or_image_is_made_again(native: LoopbackIndex, python: Python, cache: Path) -> None:
    code = "import remote_wheel; print(remote_wheel.require('fast').answer())"
    python(code)
    (tree,) = (path for path in (cache / "v1" / "trees").iterdir() if path.is_dir())
    shutil.rmtree(tree)
    assert python(code).stdout.strip() == "42"
    (image,) = (cache / "v1" / "images").rglob("*.zip")
    image.write_bytes(image.read_bytes()[:-20])
    assert python(code).stdout.strip() == "42"
    # Damage that leaves size and time as they were is noticed when the image is mapped.
    status, data = image.stat(), image.read_bytes()
    image.write_bytes(data[:-30] + bytes(30))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert python(code).stdout.strip() == "42"
    # What another version of this package noted is made again.
    for facts in (cache / "v1" / "images").rglob("*.facts"):
        body = b'{"name": "fast", "version": "1", "reasons": ["old"]}'
        facts.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert python(code, REMOTE_WHEEL_REFRESH="1").stdout.strip() == "42"
    # A file of the tree that is gone is noticed the next time the record is made.
    (tree / "fast" / "__init__.py").unlink()
    assert python(code, REMOTE_WHEEL_REFRESH="1").stdout.strip() == "42"
    assert (tree / "fast" / "__init__.py").is_file()


def test_settings_override_the_scan(native: LoopbackIndex, python: Python) -> None:
    native.add("plain", "1")
    native.add("dirty", "1", {"dirty.py": "HERE = __file__\n"})
    code = """
        import remote_wheel
        choices = {}, {"unpack": ["Plain"]}, {"unpack": [":all:"], "in_memory": ["dirty"]}, {"in_memory": [":all:"]}
        for options in choices:
            with remote_wheel.mount(SOURCE.format("plain"), **options) as plain:
                with remote_wheel.mount(SOURCE.format("dirty"), **options) as dirty:
                    with remote_wheel.mount(SOURCE.format("fast").replace("py3-none-any", TAG), **options) as fast:
                        modules = [mount.import_module() for mount in (plain, dirty, fast)]
                        print(*["in memory" not in remote_wheel.explain(module) for module in modules])
        try:
            remote_wheel.require("fast", in_memory=["fast"])
        except remote_wheel.errors.MustBeUnpacked as error:
            print(error)
    """
    tag = native.files["fast"][0].filename.removeprefix("fast-1-").removesuffix(".whl")
    head = f"SOURCE, TAG = '{native.root}files/{{}}-1-py3-none-any.whl', '{tag}'\n"
    lines = python(head + textwrap.dedent(code)).stdout.splitlines()
    assert lines[:4] == ["False True True", "True True True", "True False True", "False False True"]
    assert "can't stay in memory: native code is loaded from a file: fast/_speed" in lines[4]


def test_an_environment_names_what_can_not_leave(native: LoopbackIndex, python: Python) -> None:
    code = """
        import remote_wheel
        with remote_wheel.environment("fast") as env:
            print(env.import_module("fast").answer(), env.left_behind)
        print(env.left_behind)
        with env:
            print(env.import_module("fast").answer())
    """
    assert python(code).stdout.splitlines() == ["42 ()", "('fast._speed',)", "42"]
