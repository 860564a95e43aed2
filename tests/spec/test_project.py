"""What source trees say of themselves, by build backend: which files, which version, which dependencies."""

from collections.abc import Mapping

import pytest

from remote_wheel.errors import InvalidMetadata, MustBeBuilt
from remote_wheel.spec.backends import SourceTree
from remote_wheel.spec.poetry import requirements_of_poetry, specifiers_of_poetry
from remote_wheel.spec.project import Description, describe


def tree(files: Mapping[str, str], version_hint: str = "") -> SourceTree:
    return SourceTree(
        subject="it", paths=files.keys(), read=lambda path: files[path].encode(), version_hint=version_hint
    )


def described(files: Mapping[str, str], version_hint: str = "") -> Description:
    description = describe(tree(files, version_hint))
    assert description is not None
    return description


def metadata(files: Mapping[str, str], version_hint: str = "") -> str:
    return described(files, version_hint).files["METADATA"].decode()


def backend(name: str, rest: str = "", project: str = 'name = "a-b"\nversion = "1"\n') -> str:
    return f'[build-system]\nrequires = []\nbuild-backend = "{name}"\n[project]\n{project}{rest}'


SRC = {"src/a_b/__init__.py": '__version__ = "2.5"\n', "src/a_b/data.txt": "", "tests/t.py": ""}
FLAT = {"a_b/__init__.py": '__version__ = "2.5"\n', "a_b/data.txt": "", "docs/conf.py": "", "tests/t.py": ""}


@pytest.mark.parametrize(
    ("pyproject", "files", "roots"),
    [
        (backend("flit_core.buildapi"), SRC, {("src/a_b", "a_b")}),
        (backend("flit_core.buildapi"), {"a_b.py": ""}, {("a_b.py", "a_b.py")}),
        (
            backend("flit_core.buildapi", '[tool.flit.module]\nname = "other"\n'),
            {"other/__init__.py": ""},
            {("other", "other")},
        ),
        (backend("uv_build"), SRC, {("src/a_b", "a_b")}),
        (
            backend("uv_build", '[tool.uv.build-backend]\nmodule-root = ""\nmodule-name = ["x", "y.z"]\n'),
            {"x/__init__.py": "", "y/z/__init__.py": ""},
            {("x", "x"), ("y/z", "y/z")},
        ),
        (backend("pdm.backend", '[tool.pdm.build]\npackage-dir = "lib"\n'), {"lib/a_b/__init__.py": ""}, {("lib", "")}),
        (
            backend("hatchling.build"),
            FLAT,
            {("a_b/__init__.py", "a_b/__init__.py"), ("a_b/data.txt", "a_b/data.txt")},
        ),
        (
            backend("hatchling.build", '[tool.hatch.build.targets.wheel]\npackages = ["src/a_b"]\n'),
            SRC,
            {("src/a_b/__init__.py", "a_b/__init__.py"), ("src/a_b/data.txt", "a_b/data.txt")},
        ),
        (
            backend(
                "hatchling.build", '[tool.hatch.build.targets.wheel]\ninclude = ["/a_b/**/*.py"]\nexclude = ["c.py"]\n'
            ),
            {**FLAT, "a_b/c.py": "", "a_b/deep/d.py": ""},
            {("a_b/__init__.py", "a_b/__init__.py"), ("a_b/deep/d.py", "a_b/deep/d.py")},
        ),
        (
            backend(
                "hatchling.build",
                '[tool.hatch.build.targets.wheel]\nonly-include = ["src/a_b"]\nsources = ["src"]\n'
                '[tool.hatch.build.targets.wheel.force-include]\n"extra/x.py" = "a_b/x.py"\n',
            ),
            {"src/a_b/__init__.py": "", "extra/x.py": ""},
            {("src/a_b/__init__.py", "a_b/__init__.py"), ("extra/x.py", "a_b/x.py")},
        ),
        (
            backend(
                "setuptools.build_meta", '[tool.setuptools]\npackages = ["p", "p.q"]\npackage-dir = {"" = "lib"}\n'
            ),
            {"lib/p/__init__.py": "", "lib/p/q/__init__.py": ""},
            {("lib/p", "p"), ("lib/p/q", "p/q")},
        ),
        (
            backend("setuptools.build_meta", '[tool.setuptools]\npy-modules = ["m"]\n'),
            {"m.py": "", "docs/x.py": ""},
            {("m.py", "m.py")},
        ),
        (
            backend(
                "setuptools.build_meta", '[tool.setuptools.packages.find]\nwhere = ["lib"]\nexclude = ["tests*"]\n'
            ),
            {"lib/p/__init__.py": "", "lib/tests/__init__.py": "", "lib/space/m.py": ""},
            {("lib/p", "p"), ("lib/space", "space")},
        ),
        (backend("setuptools.build_meta"), SRC, set()),  # setuptools' own search, which verify.tree does
    ],
)  # fmt: skip
def test_which_files(pyproject: str, files: Mapping[str, str], roots: set[tuple[str, str]]) -> None:
    assert set(described({**files, "pyproject.toml": pyproject}).roots) == roots


POETRY = """
[build-system]
requires = []
build-backend = "poetry.core.masonry.api"
[tool.poetry]
name = "a-b"
version = "1.5"
packages = [{ include = "a_b", from = "src" }, { include = "only-sdist", format = "sdist" }]
[tool.poetry.dependencies]
python = "^3.9"
needed = "^2.1"
other = { version = "~1.4", extras = ["x"], markers = "sys_platform == 'linux'" }
perhaps = { version = "*", optional = true }
[tool.poetry.extras]
more = ["perhaps"]
[tool.poetry.scripts]
run-it = "a_b:main"
"""


def test_poetry() -> None:
    description = described({**SRC, "pyproject.toml": POETRY})
    assert description.roots == (("src/a_b", "a_b"),)
    lines = description.files["METADATA"].decode().splitlines()
    assert lines[1:] == [
        "Name: a-b",
        "Version: 1.5",
        "Requires-Python: >=3.9,<4",
        "Requires-Dist: needed>=2.1,<3",
        "Requires-Dist: other[x]>=1.4,<1.5 ; (sys_platform == 'linux')",
        "Provides-Extra: more",
        'Requires-Dist: perhaps ; extra == "more"',
    ]
    assert description.files["entry_points.txt"] == b"[console_scripts]\nrun-it = a_b:main\n"


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("*", ""),
        ("1.2", "==1.2"),
        ("1.*", "==1.*"),
        (">=1,<2", ">=1,<2"),
        (">=1 <2", ">=1,<2"),
        ("~=1.4", "~=1.4"),
        ("!=1.5", "!=1.5"),
    ],
)
def test_poetrys_constraints(constraint: str, expected: str) -> None:
    assert specifiers_of_poetry(constraint) == expected


def test_what_pep_508_can_not_say() -> None:
    with pytest.raises(ValueError, match="a choice"):
        specifiers_of_poetry("^1 || ^2")
    with pytest.raises(ValueError, match="from a path or a repository"):
        requirements_of_poetry({"dependencies": {"x": {"git": "https://h/x"}}})


# --- versions ---------------------------------------------------------------------------------------------------------

DYNAMIC = 'name = "a-b"\ndynamic = ["version"]\n'


@pytest.mark.parametrize(
    ("name", "rest", "files", "hint", "version"),
    [
        ("flit_core.buildapi", "", SRC, "", "2.5"),
        ("hatchling.build", '[tool.hatch.version]\npath = "src/a_b/__init__.py"\n', SRC, "", "2.5"),
        ("pdm.backend", '[tool.pdm.version]\nsource = "file"\npath = "src/a_b/__init__.py"\n', SRC, "", "2.5"),
        ("setuptools.build_meta", '[tool.setuptools.dynamic]\nversion = {attr = "a_b.__version__"}\n', SRC, "", "2.5"),
        (
            "setuptools.build_meta",
            '[tool.setuptools.dynamic]\nversion = {file = "VERSION"}\n',
            {**SRC, "VERSION": "3.1\n"},
            "",
            "3.1",
        ),
        ("setuptools.build_meta", "[tool.setuptools_scm]\n", SRC, "4.0", "4.0"),
        ("hatchling.build", '[tool.hatch.version]\nsource = "vcs"\n', SRC, "4.0", "4.0"),
        (
            "hatchling.build",
            '[tool.hatch.version]\nsource = "code"\npath = "x.py"\n',
            {**SRC, "x.py": "v = f()"},
            "5",
            "5",
        ),
        (
            "setuptools.build_meta",
            "[tool.setuptools_scm]\n",
            {**SRC, ".git_archival.txt": "node: 0\ndescribe-name: v6.2\n"},
            "",
            "6.2",
        ),
        ("setuptools.build_meta", "[tool.setuptools_scm]\n", SRC, "", "0"),  # nobody can know: the oldest of all
    ],
)  # fmt: skip
def test_versions_that_a_build_would_find(
    name: str, rest: str, files: Mapping[str, str], hint: str, version: str
) -> None:
    text = metadata({**files, "pyproject.toml": backend(name, rest, DYNAMIC)}, hint)
    assert f"\nVersion: {version}\n" in text


def test_an_sdist_says_its_version() -> None:
    files = {**SRC, "pyproject.toml": backend("hatchling.build", "", DYNAMIC), "PKG-INFO": "Name: a-b\nVersion: 8\n"}
    assert "\nVersion: 0\n" in metadata(files), "before PEP 643 nothing in PKG-INFO is sure"
    files["PKG-INFO"] = "Metadata-Version: 2.2\nName: a-b\nVersion: 8\n"
    assert "\nVersion: 8\n" in metadata(files)
    files["PKG-INFO"] = "Metadata-Version: 2.2\nName: other\nVersion: 8\n"
    with pytest.raises(InvalidMetadata, match="PKG-INFO is of other"):
        metadata(files)


# --- setup.cfg and setup.py -------------------------------------------------------------------------------------------

CFG = """
[metadata]
name = a-b
version = attr: a_b.__version__
[options]
packages = find:
package_dir =
    = src
python_requires = >=3.8
install_requires =
    needed>=1
    other; python_version < "3.9"
[options.packages.find]
where = src
[options.extras_require]
more = extra-thing
[options.entry_points]
console_scripts =
    run-it = a_b:main
"""
SETUP = """
from setuptools import setup
NEEDS = ["needed>=1"]
setup(name="a-b", version="1.5", py_modules=["m"], install_requires=NEEDS, extras_require={"more": ["x"]},
      entry_points=\"\"\"
      [console_scripts]
      run-it = m:main
      \"\"\")
"""


def test_setup_cfg() -> None:
    description = described({**SRC, "setup.cfg": CFG, "setup.py": "from setuptools import setup\nsetup()\n"})
    assert description.files["METADATA"].decode().splitlines()[1:] == [
        "Name: a-b",
        "Version: 2.5",
        "Requires-Python: >=3.8",
        "Requires-Dist: needed>=1",
        'Requires-Dist: other; python_version < "3.9"',
        "Provides-Extra: more",
        'Requires-Dist: extra-thing ; extra == "more"',
    ]
    assert description.files["entry_points.txt"] == b"[console_scripts]\nrun-it = a_b:main\n"
    assert description.roots == (("src/a_b", "a_b"),)


def test_setup_py() -> None:
    description = described({"m.py": "", "docs/conf.py": "", "setup.py": SETUP})
    assert description.roots == (("m.py", "m.py"),)
    lines = description.files["METADATA"].decode().splitlines()
    assert lines[1:4] == ["Name: a-b", "Version: 1.5", "Requires-Dist: needed>=1"]
    assert description.files["entry_points.txt"] == b"[console_scripts]\nrun-it = m:main\n"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"setup.py": "setup(**everything())"}, "computes its metadata"),
        ({"setup.py": "setup(name='x', **more)"}, "computes its dependencies"),
        ({"setup.py": "r = ['a']\nr += ['b']\nsetup(name='x', install_requires=r)"}, "computes its dependencies"),
        ({"setup.py": "r = ['a']\nr.append('b')\nsetup(name='x', install_requires=r)"}, "computes its dependencies"),
        ({"setup.py": "if y:\n  setup(name='x')\nelse:\n  setup(name='x', version='2')"}, "computes its dependencies"),
        ({"setup.py": "setup(name='x', install_requires=read('r.txt'))"}, "computes its dependencies"),
        ({"setup.py": "setup(name='x', ext_modules=[Extension('y', [])])"}, "compiles native code"),
        ({"setup.py": "setup(name='x')", "x/fast.pyx": ""}, "x/fast.pyx is to be compiled"),
        ({"pyproject.toml": backend("maturin")}, "maturin, compiles"),
        ({"pyproject.toml": backend("own").replace("[project]", 'backend-path = ["."]\n[project]')}, "code of its own"),
        ({"pyproject.toml": backend("hatchling.build", "[tool.hatch.build.hooks.custom]\n")}, "hook of its own"),
        ({"pyproject.toml": POETRY + '[tool.poetry.build]\nscript = "b.py"\n'}, "script of its own"),
        ({"pyproject.toml": backend("hatchling.build", "", 'name = "x"\nversion = "1"\ndynamic = ["dependencies"]\n')},
         "its dependencies are computed"),
        ({"pyproject.toml": '[build-system]\nbuild-backend = "some.backend"\n'}, "its metadata is computed"),
    ],
)  # fmt: skip
def test_what_must_be_built(files: Mapping[str, str], reason: str) -> None:
    with pytest.raises(MustBeBuilt, match=reason):
        describe(tree({**files, "x/__init__.py": ""}))


def test_dependencies_in_files() -> None:
    rest = (
        '[tool.setuptools.dynamic]\ndependencies = {file = ["r.txt"]}\noptional-dependencies.more = {file = "m.txt"}\n'
    )
    project = 'name = "a"\nversion = "1"\ndynamic = ["dependencies", "optional-dependencies"]\n'
    files = {"r.txt": "# all\nneeded>=1 # because\n\n", "m.txt": "x\n"}
    text = metadata({**files, "pyproject.toml": backend("setuptools.build_meta", rest, project), "a/__init__.py": ""})
    assert text.splitlines()[3:] == [
        "Requires-Dist: needed>=1",
        "Provides-Extra: more",
        'Requires-Dist: x ; extra == "more"',
    ]


def test_old_spellings() -> None:
    cfg = """
[metadata]
name = a
version = 1
[options]
install_requires = file: r.txt
"""
    setup = """setup(extras_require={
        "more": ["x"], ':python_version>"3.0"': ["always"], 'more:sys_platform=="win32"': ["sometimes"]})"""
    text = metadata({"setup.cfg": cfg, "setup.py": setup, "r.txt": "needed # why\n", "a.py": ""})
    assert text.splitlines()[3:] == [
        "Requires-Dist: needed",
        'Requires-Dist: always ; python_version>"3.0"',
        "Provides-Extra: more",
        'Requires-Dist: x ; extra == "more"',
        'Requires-Dist: sometimes ; (sys_platform=="win32") and extra == "more"',
    ]


def test_a_project_table_with_the_packages_of_setup_py() -> None:
    files = {"lib/app/__init__.py": "", "setup.py": "setup(packages=['app'], package_dir={'': 'lib'})"}
    assert described({**files, "pyproject.toml": backend("setuptools.build_meta")}).roots == (("lib/app", "app"),)


def test_hatchs_packages_with_one_beginning() -> None:
    rest = '[tool.hatch.build.targets.wheel]\npackages = ["src/app", "src/app_cli"]\n'
    files = {"src/app/__init__.py": "", "src/app_cli/main.py": ""}
    roots = described({**files, "pyproject.toml": backend("hatchling.build", rest)}).roots
    assert dict(roots) == {"src/app/__init__.py": "app/__init__.py", "src/app_cli/main.py": "app_cli/main.py"}


def test_poetry_2_fills_what_the_project_table_leaves_open() -> None:
    project = 'name = "a"\ndynamic = ["version", "dependencies"]\n'
    rest = '[tool.poetry]\nversion = "1.2.3"\n[tool.poetry.dependencies]\nneeded = "^2"\n'
    files = {"a/__init__.py": "", "pyproject.toml": backend("poetry.core.masonry.api", rest, project)}
    assert metadata(files).splitlines()[2:] == ["Version: 1.2.3", "Requires-Dist: needed>=2,<3"]
    choice = backend("poetry.core.masonry.api", rest.replace('"^2"', '"^1 || ^2"'), project)
    with pytest.raises(MustBeBuilt, match="can't be said as requirements"):
        metadata({**files, "pyproject.toml": choice})


def test_flits_old_table() -> None:
    pyproject = """
[build-system]
requires = []
build-backend = "flit.buildapi"
[tool.flit.metadata]
module = "old"
author = "me"
requires = ["needed"]
requires-python = ">=3"
[tool.flit.scripts]
run-it = "old:main"
"""
    description = described({"old.py": '__version__ = "3.4"\n', "pyproject.toml": pyproject})
    assert description.roots == (("old.py", "old.py"),)
    lines = description.files["METADATA"].decode().splitlines()
    assert lines[1:] == ["Name: old", "Version: 3.4", "Requires-Python: >=3", "Requires-Dist: needed"]


def test_broken_entry_points_are_bad_metadata() -> None:
    for text in ("foo = pkg:main", "[console_scripts]\na = b:c\na = d:e"):
        setup = f"setup(name='x', version='1', entry_points={text!r})"
        with pytest.raises(InvalidMetadata, match="entry points can't be read"):
            describe(tree({"setup.py": setup, "x.py": ""}))


def test_a_mere_folder_of_modules_is_no_project() -> None:
    assert describe(tree({"x/__init__.py": ""})) is None
    assert describe(tree({"x/__init__.py": "", "setup.cfg": "[flake8]\nmax-line-length = 120\n"})) is None


def test_a_line_end_starts_no_field() -> None:
    project = 'name = "a"\nversion = "1"\ndescription = "one\\nRequires-Dist: evil"\n'
    text = metadata({"pyproject.toml": backend("hatchling.build", "", project), "a/__init__.py": ""})
    assert "Summary: one Requires-Dist: evil" in text
