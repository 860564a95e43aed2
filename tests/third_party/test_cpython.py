"""CPython's own tests of importing from zips, our path hook in front: the same outcomes as zipimport's."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("zip_hook.py")
RESOURCES = ("test_files", "test_resource", "test_open", "test_read", "test_path", "test_contents", "test_custom")
METADATA = ("test_zip", "test_api", "test_main", "test_metadata_api")

# Tests of test_zipimport that a finder of wheels must not pass, and why.
DIFFERENT = {
    "testAFakeZlib": "tests that zipimport survives a zlib of the program's own; our zlib is loaded before",
    "testBadMagic2": "bytecode without source",
    "testImporterAttr": "bytecode without source",
    "testMixedNamespacePackage": "bytecode without source",
    "testNamespacePackage": "bytecode without source",
    "testPackage": "bytecode without source",
    "testPyc": "bytecode without source",
    "testSubNamespacePackage": "bytecode without source",
    "testSubPackage": "bytecode without source",
    "testBoth": "we name a module by its source, as every other finder does; zipimport by its bytecode",
    "testGetCompiledSource": "as testBoth",
    "testZipImporterMethods": "bytecode without source",
    "testZipImporterMethodsInSubDirectory": "bytecode without source",
    "testUncheckedHashBasedPyc": "a wheel's bytecode is not used, only what we compiled from its source",
}


def _modules(package: str, names: tuple[str, ...]) -> list[str]:
    """Return those of *names* that this interpreter's test package has, wherever this version keeps them."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_importlib") is None:
        pytest.skip("NOT TESTED: this interpreter comes without CPython's test package")
    places = ("test.test_importlib", f"test.test_importlib.{package}")
    found = [f"{place}.{name}" for place in places if importlib.util.find_spec(place) for name in names]
    return [name for name in found if importlib.util.find_spec(name)]


def _outcomes(mode: str, modules: list[str], cwd: Path) -> dict[str, str]:
    # These tests were written before today's warnings, and some of them import a module called `main` from the folder.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-P", str(RUNNER), mode, *modules]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def _differing(modules: list[str], cwd: Path) -> dict[str, tuple[str, str]]:
    stock, ours = _outcomes("stock", modules, cwd), _outcomes("hook", modules, cwd)
    assert sum(word == "passed" for word in stock.values()) > 50
    assert stock.keys() == ours.keys()
    return {name: (stock[name], ours[name]) for name in stock if stock[name] != ours[name]}


@pytest.mark.parametrize(("package", "names"), [("resources", RESOURCES), ("metadata", METADATA)])
def test_importlib(package: str, names: tuple[str, ...], tmp_path: Path) -> None:
    differing = _differing(_modules(package, names), tmp_path)
    assert {name: words for name, words in differing.items() if words[1] not in ("passed", "unexpected")} == {}


def test_zipimport(tmp_path: Path) -> None:
    if importlib.util.find_spec("test.test_zipimport") is None:
        pytest.skip("NOT TESTED: this interpreter comes without CPython's test package")
    differing = _differing(["test.test_zipimport"], tmp_path)
    assert {name.rpartition(".")[2] for name in differing} <= set(DIFFERENT)
    assert {words[0] for words in differing.values()} == {"passed"}
