"""Several interpreters, and several versions of the library, on one cache."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import remote_wheel
from remote_wheel.api.upkeep import Upkeep, open_store
from remote_wheel.store.cache import Store
from tests.conftest import Python
from tests.loopback import LoopbackIndex

VERSIONS = ("3.11", "3.12", "3.13")
CODE = "import sys, remote_wheel; a, b = remote_wheel.require('app', 'native'); print(a.V, b.V, sys.version_info[:2])"


def interpreters() -> dict[str, str]:
    """Return the other supported interpreters that are here, by version."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    places = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = {}
    for version in VERSIONS:
        for program in sorted(places.glob(f"{version}.*/bin/python3")):
            found[version] = str(program)
    return {version: program for version, program in found.items() if version != own}


OTHERS = interpreters()


@pytest.fixture
def shop(index: LoopbackIndex) -> LoopbackIndex:
    index.add("app", "1", {"app/__init__.py": "from lib import V\n"}, requires=["lib"])
    index.add("lib", "1", {"lib.py": "V = 1\n"})
    files: dict[str, str | bytes] = {"native/__init__.py": "V = 2\n", "native/_x.so": b"\x7fELF"}
    index.add("native", "1", files, tag="py3-none-linux_x86_64")
    return index


@pytest.mark.skipif(not OTHERS, reason="no other supported interpreter is here")
def test_three_interpreters_at_once(shop: LoopbackIndex, cache: Path) -> None:
    """Each has images of its own; wheels are fetched once, and unpacked once."""
    # What we need is pure Python, so that one venv's packages do for all.
    path = [str(Path(remote_wheel.__file__).parent.parent), sysconfig.get_path("purelib")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)), "PYTHONDONTWRITEBYTECODE": "1"}
    programs = [sys.executable, *OTHERS.values()]
    for _ in range(2):
        started = [
            subprocess.Popen([program, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ)
            for program in programs
        ]
        for process in started:
            output, errors = process.communicate(timeout=120)
            assert output.startswith(b"1 2 "), errors.decode()
    assert shop.wheels() == 3
    rooms = sorted(path.name for path in (cache / "v1" / "images").iterdir())
    assert len(rooms) == len(programs)
    assert len([path for path in (cache / "v1" / "trees").iterdir() if path.is_dir()]) == 1
    assert not list(Upkeep(open_store(str(cache))).damages())


FORMS = {  # what a later version changes of what it keeps, and where that is said
    "mounts/boot.py": '_MAGIC: "Final" = b"RWB',
    "index/packing.py": "FORMAT: Final = ",
    "api/preparation.py": "_FORMAT = ",
    "spec/metadata.py": "METADATA_FORMAT: Final = ",
}
LAYOUT = {"mounts/boot.py": 'STORE_VERSION: "Final" = "v'}


def later_version(folder: Path, changes: dict[str, str]) -> str:
    """Return the path of a copy of the library that keeps some things in another form."""
    copy = folder / "remote_wheel"
    shutil.copytree(Path(remote_wheel.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, number in changes.items():
        text = (copy / name).read_text()
        raised = re.compile(rf"^({re.escape(number)})(\d+)", re.MULTILINE)
        later, count = raised.subn(lambda found: f"{found[1]}{int(found[2]) + 1}", text)
        assert count == 1, name
        (copy / name).write_text(later)
    return str(folder)


@pytest.mark.parametrize("changes", [FORMS, LAYOUT], ids=["forms", "layout"])
def test_two_versions_of_the_library_at_once(
    shop: LoopbackIndex, cache: Path, tmp_path: Path, changes: dict[str, str]
) -> None:
    """Both run, at first and later, whatever the other leaves; what has the same form is shared."""
    paths = [str(Path(remote_wheel.__file__).parent.parent), later_version(tmp_path / "later", changes)]
    for _ in range(3):
        started = [
            subprocess.Popen(
                [sys.executable, "-c", f"{CODE}; print(remote_wheel.__file__)"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            for path in (*paths, *paths)
        ]
        for path, process in zip((*paths, *paths), started, strict=True):
            output, errors = process.communicate(timeout=120)
            assert output.startswith(b"1 2 "), errors.decode()
            assert path in output.decode()
    assert shop.wheels() == (3 if changes is FORMS else 6)
    for version in ("v1", "v2") if changes is LAYOUT else ("v1",):
        assert not list(Upkeep(Store(cache, version)).damages())


def test_another_layout_beside_ours_is_left_alone(shop: LoopbackIndex, python: Python, cache: Path) -> None:
    """A later version of the library has a folder of its own, and notes of another form count as missing."""
    python(CODE)
    (cache / "v9" / "images").mkdir(parents=True)
    (cache / "v9" / "images" / "x").write_bytes(b"theirs")
    for path in (cache / "v1" / "images").rglob("*.zip"):  # as of an earlier version
        data = path.read_bytes()
        at = data.rindex(b"RWI3")
        path.write_bytes(data[:at] + b"RWI2" + data[at + 4 :])
        path.with_suffix(".facts").unlink()
    assert not list(Upkeep(open_store(str(cache))).damages())
    for path in (cache / "v1" / "images").rglob("*.zip"):
        path.with_suffix(".facts").write_bytes(b"another form")
    for path in (cache / "v1" / "boot").iterdir():
        path.write_bytes(b"RWB9" + path.read_bytes()[4:])
    assert python(CODE).stdout.startswith("1 2 ")
    assert shop.wheels() == 3
    Upkeep(open_store(str(cache))).clean(None, now_s=0)
    assert (cache / "v9" / "images" / "x").read_bytes() == b"theirs"
