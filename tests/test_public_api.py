"""The public names: all there, all documented, and not shadowed by the package's own modules."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import remote_wheel

ROOT = Path(__file__).resolve().parent.parent
FIXED = {
    "require": "(*requirements: str, module: 'str | None' = None,",
    "mount": "(source: 'str | PathLike[str]', *, sha256: 'str | None' = None, deps: bool = True, subdirectory:",
    "resolve": "(*requirements: str,",
    "prefetch": "(*requirements: str,",
    "explain": "(module: 'ModuleType | str')",
}


def test_exports_equal_the_documented_table() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `remote_wheel\.(\w+)", page, re.MULTILINE))
    assert documented == set(remote_wheel.__all__)


@pytest.mark.parametrize("name", sorted(remote_wheel.__all__))
def test_every_export_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(remote_wheel, name))
    assert name in dir(remote_wheel)


@pytest.mark.parametrize("name", sorted(FIXED))
def test_fixed_signatures(name: str) -> None:
    said = str(inspect.signature(getattr(remote_wheel, name)))
    assert said.startswith(FIXED[name]), said


def test_no_module_of_the_package_takes_a_public_name() -> None:
    for module in pkgutil.walk_packages(remote_wheel.__path__, "remote_wheel."):
        if module.name != "remote_wheel.__main__":
            importlib.import_module(module.name)
    for name in FIXED:
        assert callable(getattr(remote_wheel, name)), f"a module named {name} hides the function"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = remote_wheel.nothing


def test_mount_has_its_documented_members() -> None:
    members = ("unmount", "import_module", "modules", "distribution", "source", "sha256", "__enter__", "__exit__")
    assert all(hasattr(remote_wheel.Mount, name) for name in members)


def test_plan_has_its_documented_members() -> None:
    members = ("pins", "tree", "explain", "size_bytes", "to_pylock", "mount")
    assert all(hasattr(remote_wheel.Plan, name) for name in members)
