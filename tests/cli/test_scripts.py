"""Scripts that say what they need (PEP 723), scripts by URL, programs that are no entry points, folders for editors."""

import os
import stat
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from remote_wheel.errors import UsageError
from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex, serve

BLOCK = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["app>=1"]
# ///
import app, sys
print(app.V, sys.argv[1:], __file__ == __import__("os").path.abspath("s.py"))
"""


@pytest.fixture
def shop(index: LoopbackIndex) -> LoopbackIndex:
    index.add("app", "1", {"app.py": "V = 1\n"})
    index.add("app", "2", {"app.py": "V = 2\n"}, upload_time="2026-06-01T00:00:00Z")
    index.files["app"][0].upload_time = "2026-01-01T00:00:00Z"
    index.add("other", "1", {"other.py": "V = 'other'\n"})
    return index


def test_a_script_says_what_it_needs(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(BLOCK)
    asked = []
    for _ in range(2):
        assert remote_wheel("run", "s.py", "a", "--b").stdout == "2 ['a', '--b'] True\n"
        asked.append(len(shop.requests))
    assert asked[0] == asked[1]
    (tmp_path / "s.py").write_text(BLOCK.replace("app>=1", "app<2"))
    assert remote_wheel("run", "s.py").stdout.startswith("1 ")
    both = BLOCK + "import other; print(other.V)\n"
    (tmp_path / "s.py").write_text(both)
    assert remote_wheel("run", "--with", "other", "s.py").stdout.endswith("True\nother\n")


def test_the_warm_path_reads_no_toml(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(f"{BLOCK}print(sorted({{'tomllib', 'subprocess', 'json'}} & set(sys.modules)))\n")
    remote_wheel("run", "s.py")
    assert remote_wheel("run", "s.py").stdout.endswith("True\n[]\n")


def test_a_shebang(shop: LoopbackIndex, tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(f"#!/usr/bin/env -S {sys.executable} {COMMAND} run\n{BLOCK}")
    script.chmod(0o700)
    done = subprocess.run(["./s.py", "x"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("2 ['x'] True\n", 0), done.stderr


def test_standard_input(shop: LoopbackIndex, python: Python) -> None:
    source = BLOCK.partition("print")[0] + "print(app.V, sys.argv)\n"
    assert python("", COMMAND, "run", "-", "x", stdin=source).stdout == "2 ['-', 'x']\n"


@pytest.mark.parametrize(
    ("table", "version"),
    [
        ('# [tool.uv]\n# exclude-newer = "2026-03-01"\n', "1"),
        ('# [tool.remote-wheel]\n# exclude-newer = "2026-03-01"\n', "1"),
        ('# [tool.remote-wheel]\n# constraints = ["app<2"]\n', "1"),
        ('# [tool.uv]\n# constraint-dependencies = ["app<2"]\n', "1"),
        ('# [tool.uv]\n# override-dependencies = ["app==1"]\n# preview = true\n', "1"),
        ('# [tool.uv]\n# prerelease = "allow"\n', "2"),
    ],
)
def test_tables_of_a_script(
    shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path, table: str, version: str
) -> None:
    for file in shop.files["other"]:
        file.upload_time = "2026-01-01T00:00:00Z"
    (tmp_path / "s.py").write_text(BLOCK.replace("# ///\n", f"{table}# ///\n"))
    assert remote_wheel("run", "s.py").stdout.startswith(f"{version} ")


def test_indexes_and_sources_of_a_script(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    with serve(LoopbackIndex()) as other:
        file = other.add("app", "7", {"app.py": "V = 7\n"})
        tables = {
            f'# [[tool.uv.index]]\n# url = "{other.url}"\n# default = true\n': "7",
            f'# [[tool.uv.index]]\n# name = "corp"\n# url = "{other.url}"\n': "7",
            f'# [tool.uv]\n# index-url = "{other.url}"\n': "7",
            f'# [tool.uv]\n# extra-index-url = ["{other.url}"]\n': "7",
            f'# [tool.uv.sources]\n# app = {{ url = "{other.file_url(file)}" }}\n': "7",
            f'# [[tool.uv.index]]\n# name = "c"\n# url = "{other.url}"\n# explicit = true\n'
            '# [tool.uv.sources]\n# app = { index = "c" }\n': "7",
        }
        for table, version in tables.items():
            (tmp_path / "s.py").write_text(BLOCK.replace("# ///\n", f"{table}# ///\n"))
            environ = {} if "default" not in table and "index-url = " not in table else {"REMOTE_WHEEL_INDEX_URL": ""}
            assert remote_wheel("run", "s.py", **environ).stdout.startswith(f"{version} "), table


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("# dependencies = [", "is no TOML"),
        ("# dependencies = 'app'", "dependencies is a list of strings"),
        ("# dependencies = ['===']", "'==='"),
        ("# requires-python = '>=4'", "requires Python >=4"),
        ("# requires-python = 'four'", "requires-python: "),
        ("# [tool]\n# uv = 1", "what stands below tool is tables"),
        ("# [tool.remote-wheel]\n# colour = 1", "unknown option 'colour'"),
        ("# ///\n# /// script\n#", ""),
    ],
)
def test_blocks_that_are_wrong(
    shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path, block: str, reason: str
) -> None:
    (tmp_path / "s.py").write_text(f"# /// script\n{block}\n# ///\nprint('ran')\n")
    if reason:
        said = remote_wheel("run", "s.py", expect=2).stderr
        assert said.startswith("error: ")
        assert reason in said
        assert str(tmp_path / "s.py") in said or "'==='" in reason
    else:  # to the last "# ///" of the comment, it is one block
        remote_wheel("run", "s.py", expect=2)


def test_what_is_no_block_is_a_comment(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    for text in ("#/// script\n", " # /// script\n# ///\n", "# /// other\n"):
        (tmp_path / "s.py").write_text(f"if 1:\n  pass\n{text}print('ran')\n")
        assert remote_wheel("run", "s.py").stdout == "ran\n"
    (tmp_path / "s.py").write_text(BLOCK + "\n# /// script\n# ///\n")
    assert "two script blocks" in remote_wheel("run", "s.py", expect=2).stderr
    (tmp_path / "s.py").write_text("# /// script\n# dependencies = ['nowhere']\n\n# ///\nprint('ran')\n")
    assert "has no end" in remote_wheel("run", "s.py", expect=2).stderr


def test_a_script_and_its_lock(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(BLOCK.replace("app>=1", "app<2"))
    remote_wheel("lock", "--script", "s.py")
    assert 'version = "1"' in (tmp_path / "pylock.s.toml").read_text()
    (tmp_path / "s.py").write_text(BLOCK)  # a higher version would do, and the lock has what will do, too
    assert remote_wheel("run", "--locked", "s.py").stdout.startswith("1 ")
    assert remote_wheel("run", "--frozen", "s.py").stdout.startswith("1 ")
    assert remote_wheel("run", "s.py").stdout.startswith("2 ")  # a lock is used only when asked
    (tmp_path / "s.py").write_text(BLOCK.replace("app>=1", "app>=2"))
    assert "app>=2" in remote_wheel("run", "--locked", "s.py", expect=2).stderr
    (tmp_path / "plain.py").write_text("print(1)\n")
    assert "has no script block" in remote_wheel("lock", "--script", "plain.py", expect=2).stderr


def test_a_script_by_url(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    import hashlib

    source = (
        BLOCK.partition("print")[0]
        + "print(app.V, sys.argv, open(__file__).read()[:12])\ndef f(): raise ValueError\nif sys.argv[1:]: f()\n"
    )
    shop.extra["/my-script.py"] = source.encode()
    url = f"{shop.root}my-script.py"
    for _ in range(2):
        assert remote_wheel("run", url).stdout == f"2 ['{url}'] # /// script\n"
    assert shop.count("my-script.py") == 1
    failed = remote_wheel("run", url, "x", expect=1).stderr
    assert "def f(): raise ValueError" in failed  # a traceback has its lines
    good = f"{url}#sha256={hashlib.sha256(source.encode()).hexdigest()}"
    assert remote_wheel("run", good).stdout.startswith("2 ")
    assert "error: " in remote_wheel("run", f"{url}#sha256={'0' * 64}", expect=2).stderr
    shop.extra["/my-script.py"] = b"print('changed')\n"
    said = remote_wheel("run", url, expect=2, REMOTE_WHEEL_REFRESH="1").stderr
    assert "is not what it was on" in said
    assert remote_wheel("run", "--offline", url).stdout.startswith("2 ")


def test_a_program_that_is_no_entry_point(index: LoopbackIndex, remote_wheel: Python, cache: Path) -> None:
    shell = "#!/bin/sh\necho sh $0 \"$@\" | sed 's#/.*/##'\nexit 7\n"
    python = "#!python\nimport sys, tool\nprint('py', tool.V, sys.argv[1:])\n"
    files = {"tool.py": "V = 1\n", "tool-1.data/scripts/tool": shell, "tool-1.data/scripts/tool-py": python}
    index.add("tool", "1", dict(files))
    for _ in range(2):
        assert remote_wheel("run", "--exe", "tool", "a", "--", "b", expect=7).stdout == "sh tool a -- b\n"
    assert remote_wheel("run", "--with", "tool", "--exe", "tool-py", "--", "x").stdout == "py 1 ['x']\n"
    said = remote_wheel("run", "--with", "tool", "--exe", "nothing", expect=2).stderr
    assert "tool, tool-py" in said
    (folder,) = [path for path in (cache / "v1" / "trees").iterdir() if path.name.endswith("-programs")]
    (folder / "tool").write_text("#!/bin/sh\necho damaged here\n")
    assert remote_wheel("run", "--exe", "tool", expect=7).stdout == "sh tool\n"  # what it is not, is made again


def test_unpack(shop: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path) -> None:
    shop.add("tool", "1", {"tool/__init__.py": "V = 1\n", "tool-1.data/scripts/x": "#!python\nprint(1)\n"},
             requires=["app"], entry_points="[console_scripts]\ntool = tool:main\n")  # fmt: skip
    said = remote_wheel("unpack", "tool", "site").stderr
    assert "2 wheels are unpacked in site" in said
    code = "import sys; sys.path.insert(0, 'site'); import tool, app; print(tool.V, app.V, tool.__file__)"
    assert python(code).stdout.startswith("1 2 ")
    names = {path.name for path in (tmp_path / "site").iterdir()}
    assert {"tool", "app.py", "tool-1.dist-info", "app-2.dist-info", "bin"} <= names
    assert (tmp_path / "site" / "bin" / "tool").stat().st_mode & stat.S_IXUSR
    assert (tmp_path / "site" / "tool-1.dist-info" / "INSTALLER").read_text() == "remote_wheel\n"
    remote_wheel("lock", "app<2", "-o", "pylock.toml")
    remote_wheel("unpack", "--lock", "pylock.toml", "site")  # in place of what was there
    assert not (tmp_path / "site" / "tool").exists()
    assert python("import sys; sys.path.insert(0, 'site'); import app; print(app.V)").stdout == "1\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    assert "is there and not empty" in remote_wheel("unpack", "app", "mine", expect=2).stderr
    shop.add("clash", "1", {"app.py": "V = 'clash'\n"}, requires=["app"])
    assert "can't be unpacked beside the others" in remote_wheel("unpack", "clash", "new", expect=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".new", "new"))) == []
    assert os.listdir(tmp_path / "mine") == ["file"]


@pytest.mark.parametrize("error", [OSError(5, "no"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2])
def test_unpack_that_is_broken_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, failing: int
) -> None:
    """Between the two renames there is the new folder or the old one, whatever happens."""
    from remote_wheel.api.unpacking import unpack_wheels

    folder = tmp_path / "site"
    unpack_wheels(folder, [])
    (folder / "earlier.py").write_text("")
    calls, rename = [], Path.rename

    def failing_rename(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == failing:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises((UsageError, KeyboardInterrupt)):
        unpack_wheels(folder, [])
    assert [path.name for path in tmp_path.iterdir() if "site" in path.name] == ["site"]
    assert (folder / "earlier.py").exists()
    unpack_wheels(folder, [])
    assert not (folder / "earlier.py").exists()


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "", "x\\y", "x\x07"])
def test_a_program_with_a_name_that_no_file_has(
    index: LoopbackIndex, remote_wheel: Python, tmp_path: Path, name: str
) -> None:
    index.add("odd", "1", {"odd.py": "V = 1\n"}, entry_points=f"[console_scripts]\n{name} = odd:V\n")
    said = remote_wheel("unpack", "odd", "site", expect=2).stderr
    assert "odd-1-py3-none-any.whl has unusable metadata" in said
    assert "Traceback" not in said
    assert not (tmp_path / "site").exists()


def test_which_version_of_a_program(index: LoopbackIndex, remote_wheel: Python) -> None:
    for version in ("1.0", "2.0"):
        files = {"tool.py": f"import sys\ndef main():\n    print('{version}', sys.argv[1:])\n"}
        index.add("tool", version, files, entry_points="[console_scripts]\ntool = tool:main\n", extras=["more"])
    for word, version in {"tool==1.0": "1.0", "tool@1.0": "1.0", "tool@latest": "2.0", "tool[more]<2": "1.0"}.items():
        assert remote_wheel("run", "--exe", word, "--", "-x").stdout == f"{version} ['-x']\n", word
    assert remote_wheel("run", "--with", "tool==1.0", "--exe", "tool").stdout == "1.0 []\n"


def test_a_byte_order_mark_before_the_block(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_bytes(b"\xef\xbb\xbf" + BLOCK.encode())
    assert remote_wheel("run", "s.py").stdout.startswith("2 ")


def test_dates_as_uv_has_them(index: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    for name in ("app", "lib"):
        for version, year in (("1", 2024), ("2", 2026)):
            index.add(name, version, {f"{name}.py": f"V = {version}\n"}, upload_time=f"{year}-01-01T00:00:00Z")
    for table, expected in {
        "exclude-newer = 2025-01-01T00:00:00Z": "1 1",
        "exclude-newer = '2025-01-01'": "1 1",
        "exclude-newer-package = { app = '2025-01-01' }": "1 2",
        "exclude-newer = 2025-01-01\n# exclude-newer-package = { lib = '2026-02-01' }": "1 2",
    }.items():
        block = f"# /// script\n# dependencies = ['app', 'lib']\n# [tool.uv]\n# {table}\n# ///\n"
        (tmp_path / "s.py").write_text(f"{block}import app, lib; print(app.V, lib.V)\n")
        assert remote_wheel("run", "s.py").stdout == f"{expected}\n", table


def test_folders_and_archives_as_python_runs_them(shop: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__main__.py").write_text(
        "import app, beside, sys; print(app.V, beside.V, sys.argv, __name__, sys.path[0])\n"
    )
    (folder / "beside.py").write_text("V = 'beside'\n")
    zipapp.create_archive(folder, tmp_path / "program.pyz", interpreter="/usr/bin/env python3")
    for place in ("program", "program.pyz"):
        said = remote_wheel("run", "--with", "app", place, "a").stdout
        assert said == f"2 beside ['{place}', 'a'] __main__ {place}\n"
    (folder / "__main__.py").unlink()
    assert "can't find '__main__' module in 'program'" in remote_wheel("run", "program", expect=1).stderr


def test_a_script_by_url_has_children(shop: LoopbackIndex, remote_wheel: Python) -> None:
    shop.extra["/mp.py"] = b"""
import multiprocessing, os
def double(x):
    return 2 * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [1, 2]), os.path.isfile(__file__))
"""
    assert remote_wheel("run", f"{shop.root}mp.py").stdout == "[2, 4] True\n"


def test_a_program_of_what_is_installed_comes_from_its_wheel(
    index: LoopbackIndex, remote_wheel: Python, tmp_path: Path
) -> None:
    files = {"tool.py": "", "tool-1.0.data/scripts/tool": "#!/bin/sh\necho from the wheel $1\n"}
    index.add("tool", "1.0", files, executable=["tool-1.0.data/scripts/tool"])
    info = tmp_path / "site" / "tool-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
    site = str(tmp_path / "site")
    for _ in range(2):
        assert remote_wheel("run", "--exe", "tool", "--", "x", PYTHONPATH=site).stdout == "from the wheel x\n"
    said = remote_wheel("run", "--with", "tool", "--exe", "nothing", expect=2, PYTHONPATH=site).stderr
    assert "no mounted distribution has a script called 'nothing'; they have tool" in said
