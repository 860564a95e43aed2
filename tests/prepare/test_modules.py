"""Which modules files make importable, and which a project's name stands for."""

from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from remote_wheel.mounts.image import EXTENSION, EXTENSION_PACKAGE, MODULE, PACKAGE
from remote_wheel.prepare.modules import choose_module, find_modules

SO = EXTENSION_SUFFIXES[0]


def test_kinds_and_precedence() -> None:
    table = find_modules(
        [
            "a.py", f"a{SO}", "b/__init__.py", "b.py", f"c/__init__{SO}", "c/__init__.py", "d/e.py",
            "x-1.dist-info/METADATA.py", "x-1.data/scripts/s.py", "0001-migration.py", ".py", "b/data/f.txt",
        ]
    )  # fmt: skip
    assert table.modules == {
        "a": (EXTENSION, f"a{SO}"),
        "b": (PACKAGE, "b/__init__.py"),
        "c": (EXTENSION_PACKAGE, f"c/__init__{SO}"),
        "d/e": (MODULE, "d/e.py"),
        "0001-migration": (MODULE, "0001-migration.py"),
    }
    assert table.tops == ("0001-migration", "a", "b", "c")
    assert table.namespaces == ("d",)
    assert {"b", "b/data", "d"} <= table.folders


def test_protected_names_are_no_tops() -> None:
    table = find_modules(["json/__init__.py", "sitecustomize.py", "thing.py"])
    assert table.tops == ("thing",)


@pytest.mark.parametrize(
    ("project", "paths", "expected"),
    [
        ("flask", ["flask/__init__.py"], ("flask",)),
        ("typing-extensions", ["typing_extensions.py"], ("typing_extensions",)),
        ("pyyaml", ["yaml/__init__.py", "_yaml/__init__.py"], ("yaml",)),
        ("pillow", ["PIL/__init__.py"], ("PIL",)),
        ("Markdown".lower(), ["markdown/__init__.py"], ("markdown",)),
        ("google-cloud-storage", ["google/cloud/storage/__init__.py", "google/cloud/_x.py"], ("google.cloud.storage",)),
        ("ruamel-yaml", ["ruamel/yaml/__init__.py"], ("ruamel.yaml",)),
        ("cffi-only", ["_cffi.py"], ("_cffi",)),
        (
            "setuptools",
            ["setuptools/__init__.py", "pkg_resources/__init__.py", "_distutils_hack/__init__.py"],
            ("setuptools",),
        ),
        ("many", ["a.py", "b.py"], ("a", "b")),
        ("nothing", [], ()),
    ],
)
def test_choose_module(project: str, paths: list[str], expected: tuple[str, ...]) -> None:
    assert choose_module(project, find_modules(paths)) == expected
