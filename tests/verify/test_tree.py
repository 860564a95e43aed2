"""Source trees: where their packages are and what they say of themselves."""

import pytest

from fixtures.wheels import make_zip
from remote_wheel.errors import InvalidMetadata, InvalidSource, UnsafeArchive
from remote_wheel.settings import Limits
from remote_wheel.verify.tree import verify_module, verify_tree
from remote_wheel.verify.wheel import Verified


def tree(files: dict[str, str], subdirectory: str = "") -> Verified:
    data = make_zip(files)
    return verify_tree(data, filename="x.zip", sha256="0" * 64, limits=Limits(), subdirectory=subdirectory)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["repo-1/pkg/__init__.py", "repo-1/README.md"], {"pkg/__init__.py"}),
        (["pkg/__init__.py", "pkg/data.txt"], {"pkg/__init__.py", "pkg/data.txt"}),
        (["r/src/pkg/__init__.py", "r/src/other.py", "r/setup.py"], {"pkg/__init__.py", "other.py"}),
        (["r/pkg/__init__.py", "r/tests/__init__.py", "r/docs/conf.py", "r/setup.py"], {"pkg/__init__.py"}),
        (["r/module.py", "r/setup.py", "r/tests/test_module.py"], {"module.py"}),
        (["r/space/inner/__init__.py", "r/README"], {"space/inner/__init__.py"}),
        (["r/src/__init__.py", "r/x"], {"src/__init__.py"}),
    ],
)
def test_layouts(files: list[str], expected: set[str]) -> None:
    assert set(tree(dict.fromkeys(files, "")).files) == expected


def test_static_project_metadata() -> None:
    project = """
[project]
name = "My.Tree"
version = "2.0"
description = "A tree."
requires-python = ">=3.8"
dependencies = ["a>=1", "b; python_version > '3'"]
[project.optional-dependencies]
extra = ["c", "d; sys_platform == 'linux'"]
[project.scripts]
tool = "pkg:main"
[project.entry-points."some.group"]
plug = "pkg.plug"
"""
    verified = tree({"r/pyproject.toml": project, "r/pkg/__init__.py": ""})
    assert verified.dist_info == "my_tree-2.0.dist-info"
    assert verified.metadata is not None
    assert [r.text for r in verified.metadata.requires] == [
        "a>=1",
        'b; python_version > "3"',
        'c; extra == "extra"',
        'd; sys_platform == "linux" and extra == "extra"',
    ]
    assert verified.read("my_tree-2.0.dist-info/entry_points.txt") == (
        b"[console_scripts]\ntool = pkg:main\n[some.group]\nplug = pkg.plug\n"
    )


def test_no_project_table_means_no_metadata() -> None:
    verified = tree({"r/pyproject.toml": "[build-system]\nrequires = []\n", "r/pkg/__init__.py": ""})
    assert verified.metadata is None


@pytest.mark.parametrize(
    ("project", "said"),
    [
        ("[project]\n", "without a name"),
        ("not toml", "can't be read"),
        ('[project]\nname = "x"\nversion = "1"\ndependencies = ["?"]\n', "Expected"),
    ],
)
def test_bad_project_tables(project: str, said: str) -> None:
    with pytest.raises(InvalidMetadata, match=said):
        tree({"r/pyproject.toml": project, "r/pkg/__init__.py": ""})


@pytest.mark.parametrize(
    "target", ["../../escaped.py", "a\\\\..\\\\b.py", "/x.py", "PKG/__init__.py", "x\\n.py", "pkg"]
)
def test_tables_place_nothing_outside(target: str) -> None:
    pyproject = (
        '[build-system]\nbuild-backend = "hatchling.build"\n[project]\nname = "pkg"\nversion = "1"\n'
        f'[tool.hatch.build.targets.wheel]\npackages = ["pkg"]\nforce-include = {{ "extra.py" = "{target}" }}\n'
    )
    files = {"r/pyproject.toml": pyproject, "r/pkg/__init__.py": "", "r/extra.py": ""}
    if target == "/x.py":  # hatch, too, takes it as relative to the wheel's root
        assert "x.py" in tree(files).files
        return
    with pytest.raises(UnsafeArchive, match="as its tables place it"):
        tree(files)


def test_nothing_to_import() -> None:
    with pytest.raises(InvalidSource, match="no Python package or module"):
        tree({"r/README.md": ""})
    with pytest.raises(InvalidSource, match="it has no folder 'nowhere'"):
        tree({"r/pkg/__init__.py": ""}, subdirectory="nowhere")


def test_modules() -> None:
    assert verify_module(b"x = 1", filename="ok.py", sha256="").read("ok.py") == b"x = 1"
    with pytest.raises(InvalidSource, match="no Python identifier"):
        verify_module(b"", filename="not-ok.py", sha256="")
