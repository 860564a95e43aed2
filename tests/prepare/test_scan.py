"""The rule that decides memory or disk, case by case; the adversarial ones of the measurements included."""

import pytest

from remote_wheel.prepare.scan import Scan


def reasons(files: dict[str, str]) -> tuple[str, ...]:
    scan = Scan()
    for path, text in files.items():
        scan.add_path(path)
        if path.endswith(".py"):
            scan.add_module(path, text.encode(), compile(text, path, "exec"))
    return scan.reasons


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "x = 1"},
        {"a.py": "", "a/py.typed": "", "a.pyi": "", "LICENSE.txt": "", "a/licenses/COPYING": "", "fast.c": ""},
        {"a.py": "if __name__ == '__main__':\n    open(__file__)"},
        {"a/__init__.py": "import importlib.resources as r\nr.files('a')", "a/data.txt": ""},
        {"a/tests/test_x.py": "open(__file__)"},
        {"a.py": "open('x')"},
        {"a.py": "print(other.__path__)"},
    ],
)
def test_stays_in_memory(files: dict[str, str]) -> None:
    assert reasons(files) == ()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.so": "", "a.py": ""}, "native code: a.so"),
        ({"x.libs/libz-12.so.1.2": ""}, "native code"),
        ({"a.dll": ""}, "native code"),
        ({"a.py": "here = __file__"}, "a.py reads its own __file__"),
        ({"a.py": "def f():\n    return __file__"}, "a.py reads its own __file__"),
        ({"a.py": "import b, os\nos.listdir(b.__path__[0])"}, "uses __path__ and listdir"),
        ({"a.py": "open(__spec__.origin)"}, "__spec__.origin and open"),
        ({"a.py": "import inspect\nopen(inspect.getfile(f))"}, "uses getfile and open"),
        ({"a.py": "f.__code__.co_filename; open('x')"}, "uses co_filename and open"),
        ({"a.py": "globals()['__file__']; open('x')"}, "uses __file__ and open"),
        ({"a.py": "", "a/templates/x.html": ""}, "it ships data: a/templates/x.html"),
        ({"a.py": "", "a/doc.md": ""}, "it ships data"),
        ({"a.py": "import importlib.resources\nb.__file__", "a/x.txt": ""}, "it ships data"),
    ],
)
def test_must_be_unpacked(files: dict[str, str], said: str) -> None:
    assert any(said in reason for reason in reasons(files)), reasons(files)


def test_pytest_plugins() -> None:
    scan = Scan()
    scan.add_entry_points("[pytest11]\nplug = a\n")
    assert scan.reasons == ("it has a pytest plugin",)
