"""What child processes see: the mounts of their parent by default, and nothing where that was not wanted."""

import os
import subprocess
import sys
import venv
from pathlib import Path

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
