"""What child processes see: the mounts of their parent by default, and nothing where that was not wanted."""

import ast
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

CHILD = "import importlib.util, os; print(importlib.util.find_spec('thing') is not None, os.environ.get('PYTHONPATH'))"
PARENT = f"""
    import os, subprocess, sys, remote_wheel
    remote_wheel.require("thing")
    print(subprocess.run([*sys.argv[1:], "-c", {CHILD!r}], capture_output=True, text=True, check=True).stdout.strip())
"""


def test_children_can_be_left_alone(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    assert python(PARENT, sys.executable).stdout.startswith("True ")
    assert python(PARENT, sys.executable, REMOTE_WHEEL_CHILDREN="0").stdout.strip() == "False None"
    assert python(PARENT, sys.executable, "-I").stdout.startswith("False ")


def test_what_another_version_has_left_is_let_be(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """A parent that was started before the library was replaced; the user's own sitecustomize runs whatever happens."""
    index.add("thing", "1")
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.own = True\n")
    code = """
        import os, subprocess, sys, remote_wheel
        remote_wheel.require("thing")
        *rest, mounts = os.environ["REMOTE_WHEEL_CHILD"].split(os.pathsep)
        for text in (mounts, mounts[1:], "*" + mounts[1:], "+nonsense"):
            environ = {**os.environ, "REMOTE_WHEEL_CHILD": os.pathsep.join((*rest, text))}
            environ["PYTHONPATH"] += os.pathsep + os.getcwd()
            child = "import importlib.util, sys; print(importlib.util.find_spec('thing') is not None, sys.own)"
            done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, env=environ)
            print(done.stdout.strip(), "Error" in done.stderr)
    """
    assert python(code).stdout.splitlines() == [
        "True True False",
        "False True False",
        "False True False",
        "False True True",
    ]


def test_another_environments_interpreter_is_left_alone(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("thing", "1")
    venv.create(tmp_path / "other", with_pip=False, symlinks=os.name != "nt")
    other = tmp_path / "other" / ("Scripts" if os.name == "nt" else "bin") / "python"
    assert python(PARENT, str(other)).stdout.startswith("False ")


def test_the_environment_is_given_back(index: LoopbackIndex, python: Python) -> None:
    file = index.add("thing", "1")
    code = f"""
        import os, remote_wheel
        for before in (None, "", "somewhere"):
            os.environ.pop("PYTHONPATH", None)
            if before is not None:
                os.environ["PYTHONPATH"] = before
            with remote_wheel.mount({index.file_url(file)!r}):
                assert "bootstrap" in os.environ["PYTHONPATH"] and "REMOTE_WHEEL_CHILD" in os.environ
            print(repr(os.environ.get("PYTHONPATH")), "REMOTE_WHEEL_CHILD" in os.environ)
    """
    assert python(code).stdout.splitlines() == ["None False", "None False", "'somewhere' False"]


def test_a_helper_does_not_see_the_mounts(index: LoopbackIndex, python: Python) -> None:
    """The helper needs its own packaging, whatever the caller has mounted."""
    index.add("packaging", "1.0", {"packaging/__init__.py": "raise SystemExit('the wrong one')\n"})
    index.add("thing", "1")
    file = index.files["packaging"][0]
    python(f"import remote_wheel; remote_wheel.mount({index.file_url(file)!r}); remote_wheel.require('thing')")


def test_a_mount_whose_image_is_gone_does_not_stop_the_child(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.add("thing", "1")
    code = f"""
        import pathlib, os, subprocess, sys, remote_wheel
        remote_wheel.require("thing")
        for image in pathlib.Path({str(cache)!r}).rglob("*.zip"):
            image.unlink()
        done = subprocess.run([sys.executable, "-c", "import thing"], capture_output=True, text=True)
        print(done.stderr.splitlines()[-1])
    """
    assert python(code).stdout.strip() == "ModuleNotFoundError: No module named 'thing'"


def test_the_bootstrap_is_words_for_any_interpreter() -> None:
    import remote_wheel.mounts.children as children

    source = Path(children.__file__).parent / "bootstrap" / "sitecustomize.py"
    done = subprocess.run([sys.executable, "-I", str(source)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("value", ["0", "false", "no", "off", "OFF", " No "])
def test_all_words_for_no_turn_it_off(index: LoopbackIndex, python: Python, value: str) -> None:
    index.add("thing", "1")
    assert python(PARENT, sys.executable, REMOTE_WHEEL_CHILDREN=value).stdout.strip() == "False None"


@pytest.mark.parametrize(
    ("words", "mounts"),
    [
        (["-m", "pip", "--version"], False),
        (["-mpip", "--version"], False),
        (["-X", "utf8", "-m", "pip", "--version"], False),
        (["-m", "ensurepip", "--version"], False),
        (["-m", "venv", "--help"], False),
        (["-m", "thing"], True),
        (["pip.py"], False),
        (["pip3.11"], False),
        (["pipeline.py"], True),
        (["pip/__pip-runner__.py"], False),
        (["-c", "import sys; sys.argv = ['pip']"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_installers_see_no_mounts(
    index: LoopbackIndex, python: Python, tmp_path: Path, words: list[str], mounts: bool
) -> None:
    """They would take them for installed, and leave an environment that lacks them. Nor do those that they start."""
    index.add("thing", "1", {"thing/__init__.py": "", "thing/__main__.py": ""})
    (tmp_path / "pip").mkdir()
    for name in ("pip.py", "pip3.11", "pipeline.py", "pip/__pip-runner__.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "usercustomize.py").write_text("")
    spy = "import os, sys\nfound = [p for p in sys.path if 'images' in p], os.environ.get('REMOTE_WHEEL_CHILD'), "
    spy += "os.environ.get('PYTHONPATH')\nimport atexit\natexit.register(lambda: os.write(2, repr(found).encode()))\n"
    (tmp_path / "spies").mkdir()
    (tmp_path / "spies" / "sitecustomize.py").write_text(spy)
    code = """
        import json, os, subprocess, sys, remote_wheel
        remote_wheel.require("thing", prefer_installed=False)
        os.environ["PYTHONPATH"] += os.pathsep + os.path.abspath("spies")
        done = subprocess.run([sys.executable, *json.loads(sys.argv[1])], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        print(done.stderr.splitlines()[-1])
    """
    places, child, path = ast.literal_eval(python(code, json.dumps(words)).stdout)
    assert bool(places) == bool(child) == mounts
    assert ("bootstrap" in path) == mounts
    assert path.endswith("spies")


def test_pip_installs_what_is_mounted(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """``require("click")``, then ``%pip install flask``: the environment must get click, too."""
    index.add("thing", "1", requires=["base"])
    index.add("base", "1")
    code = f"""
        import subprocess, sys, remote_wheel
        remote_wheel.require("base")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-cache-dir", "--target", "target", "thing"]
        subprocess.run([*pip, "--index-url", {index.url!r}], check=True)
    """
    python(code, PIP_DISABLE_PIP_VERSION_CHECK="1")
    assert {path.name for path in (tmp_path / "target").iterdir() if path.name.isidentifier()} == {"thing", "base"}


def test_hundreds_of_mounts_have_room(index: LoopbackIndex, python: Python, cache: Path) -> None:
    """They are in a file of the cache then; a variable has room for 128 KiB on Linux, and 32 for all on Windows."""
    count = 300
    for at in range(count):
        index.add(f"thing{at}", "1")
    index.add("all", "1", requires=[f"thing{at}" for at in range(count)])
    code = f"""
        import os, subprocess, sys, remote_wheel
        remote_wheel.require("all")
        print(max(len(value) for value in os.environ.values()) < 16000)
        child = "import " + ", ".join(f"thing{{at}}" for at in range({count})) + "; print(thing7.__version__)"
        print(subprocess.check_output([sys.executable, "-c", child], text=True).strip())
        remote_wheel.require("thing1")
    """
    assert python(code).stdout.splitlines() == ["True", "1"]
    kept = [path for path in (cache / "v1" / "children").iterdir() if not path.name.startswith(".")]
    assert kept
    kept[0].write_bytes(b"something else")
    for path in kept[1:]:
        path.unlink()
    code = """
        import glob, os, subprocess, sys, remote_wheel
        remote_wheel.require("all")
        for path in glob.glob(os.environ["REMOTE_WHEEL_CACHE_DIR"] + "/v1/children/*"):
            open(path, "wb").write(b"something else")
        done = subprocess.run([sys.executable, "-c", "import thing7"], capture_output=True, text=True)
        print(done.returncode, "ModuleNotFoundError" in done.stderr)
    """
    assert python(code).stdout == "1 True\n"


def test_where_there_is_no_room_for_a_file_children_mount_nothing(index: LoopbackIndex, python: Python) -> None:
    for at in range(100):
        index.add(f"thing{at}", "1")
    index.add("all", "1", requires=[f"thing{at}" for at in range(100)])
    code = """
        import os, subprocess, sys, remote_wheel
        from remote_wheel.mounts import children
        children._kept = lambda *_: None  # as on a full disk
        os.environ["PYTHONPATH"] = "own"
        remote_wheel.require("all")
        print(os.environ["PYTHONPATH"], "REMOTE_WHEEL_CHILD" in os.environ)
    """
    assert python(code).stdout == "own False\n"
