"""Native code: extension modules, the libraries they bring, ctypes, the stable ABI, and files beside them."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.contract.conftest import World

LIBRARY = "int answer(void) { return 42; }\n"
MODULE = """
#include <Python.h>
extern int answer(void);
static PyObject *get(PyObject *self, PyObject *args) { return PyLong_FromLong(answer()); }
static PyMethodDef methods[] = {{"get", get, METH_NOARGS, ""}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "%(name)s", NULL, -1, methods};
PyMODINIT_FUNC PyInit_%(name)s(void) { return PyModule_Create(&module); }
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="$ORIGIN and the compiler's options are ELF's")


class Compiler:
    """Compile C in a folder."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("cc")
        if not found and not os.environ.get("CI"):
            pytest.skip("NOT TESTED: native modules; this test compiles some and there is no C compiler")
        assert found, "install a C compiler"
        self._cc, self._folder = found, folder

    def library(self) -> bytes:
        return self._compile("answer", LIBRARY, "-o", "libanswer.so", result="libanswer.so")

    def module(self, name: str, *options: str) -> bytes:
        include = f"-I{sysconfig.get_path('include')}"
        link = ["-L.", "-lanswer", "-Wl,-rpath,$ORIGIN/../fast.libs", *options]
        return self._compile(name, MODULE % {"name": name}, include, "-o", f"{name}.so", *link, result=f"{name}.so")

    def _compile(self, name: str, source: str, *options: str, result: str) -> bytes:
        (self._folder / f"{name}.c").write_text(source)
        command = [self._cc, "-shared", "-fPIC", f"{name}.c", *options]
        subprocess.run(command, check=True, cwd=self._folder)
        return (self._folder / result).read_bytes()


@pytest.fixture
def fast(world: World, tmp_path: Path) -> World:
    compiler = Compiler(tmp_path)
    library = compiler.library()
    files: dict[str, str | bytes] = {
        "fast/__init__.py": "",
        "fast.libs/libanswer.so": library,
        f"fast/_speed{sysconfig.get_config_var('EXT_SUFFIX')}": compiler.module("_speed"),
        "fast/_speed.py": "raise ImportError('the extension must win')\n",
        "fast/_stable.abi3.so": compiler.module("_stable", "-DPy_LIMITED_API=0x030b0000"),
        "fast/_slow.py": "def get():\n    return 41\n",
        "fast/by_ctypes.py": "import ctypes, os\nhere = os.path.dirname(__file__)\n"
        "get = ctypes.CDLL(os.path.join(here, '..', 'fast.libs', 'libanswer.so')).answer\n",
        "fast/data.txt": "beside",
    }
    tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    world.add("fast", files, tag=f"py3-none-{tag}")
    return world


def test_extension_modules_and_their_libraries(fast: World) -> None:
    code = """
        import fast._speed, fast._stable, fast._slow, fast.by_ctypes, os
        print(fast._speed.get(), fast._stable.get(), fast._slow.get(), fast.by_ctypes.get())
        from importlib.machinery import ExtensionFileLoader
        print(isinstance(fast._speed.__loader__, ExtensionFileLoader), os.path.isfile(fast._speed.__file__))
        print(open(os.path.join(os.path.dirname(fast.__file__), "data.txt")).read())
    """
    assert fast.said(code) == ["42 42 41 42", "True True", "beside"]


def test_extension_modules_in_children(fast: World) -> None:
    code = """
        import multiprocessing
        def work(_):
            import fast._speed
            return fast._speed.get()
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(pool.map(work, [0]))
    """
    assert fast.said(code) == ["[42]", "[42]"]


def test_a_file_that_is_not_there_says_what_helps(world: World) -> None:
    """In memory by order, though the code looks for a file: the message names the setting."""
    world.add("pkg", {"pkg/__init__.py": "open(__file__.replace('__init__.py', 'data.txt'))\n", "pkg/data.txt": ""})
    if world.mode == "memory":
        said = world.run("import pkg", expect=1).stderr
        assert "pkg is in memory and looks for a file beside itself; mount it with unpack=['pkg']" in said
    else:
        world.run("import pkg")
