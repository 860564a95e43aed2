"""What the user's process sees of us: nothing it did not ask for."""

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

OURS = ["requests", "urllib3", "packaging", "rich", "installer", "filelock", "nab_resolver", "pip"]


def test_our_dependencies_never_enter_the_users_process(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    code = f"""
        import sys, remote_wheel
        remote_wheel.require("thing")
        print(*[name for name in {OURS!r} if name in sys.modules])
    """
    assert python(code).stdout.strip() == ""


@pytest.mark.parametrize(("name", "version"), [("requests", "2.30.0"), ("packaging", "23.2"), ("rich", "10.0")])
def test_our_own_dependencies_can_be_required_in_other_versions(
    index: LoopbackIndex, python: Python, name: str, version: str
) -> None:
    index.add(name, version)
    code = f"""
        import remote_wheel, importlib.metadata
        module = remote_wheel.require("{name}=={version}")
        print(module.__version__, importlib.metadata.version("{name}"))
    """
    assert python(code).stdout.split() == [version, version]


def test_installed_distributions_are_preferred_unless_told_otherwise(index: LoopbackIndex, python: Python) -> None:
    index.add("packaging", "99.0")
    code = """
        import remote_wheel
        module = remote_wheel.require("packaging", prefer_installed={})
        print(module.__version__, "site-packages" in module.__file__)
    """
    assert python(code.format(True)).stdout.split()[1] == "True"
    assert index.requests == []  # what is installed satisfies: no index was asked
    assert python(code.format(False)).stdout.split() == ["99.0", "False"]


def test_a_dependency_that_is_installed_is_used(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", requires=["packaging"])
    index.add("packaging", "99.0")
    code = """
        import remote_wheel
        remote_wheel.require("thing", prefer_installed={})
        import packaging
        print(packaging.__version__)
    """
    assert python(code.format(True)).stdout.strip() != "99.0"
    assert python(code.format(False)).stdout.strip() == "99.0"


def test_a_record_that_relied_on_an_installed_distribution_notices_when_it_goes(
    index: LoopbackIndex, python: Python, tmp_path: "object"
) -> None:
    index.add("gone", "2")
    code = """
        import pathlib, shutil, sys, remote_wheel
        site = pathlib.Path("site-packages")
        info = site / "gone-1.dist-info"
        sys.path.append(str(site.absolute()))
        if sys.argv[1] == "there":
            info.mkdir(parents=True)
            (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: gone\\nVersion: 1\\n")
            (info / "top_level.txt").write_text("gone\\n")
            (site / "gone.py").write_text("__version__ = '1'\\n")
        else:
            shutil.rmtree(info)
            (site / "gone.py").unlink()
        print(remote_wheel.require("gone").__version__)
    """
    assert python(code, "there").stdout.strip() == "1"
    assert python(code, "not there").stdout.strip() == "2"


def test_scripts_folder_and_standard_library_come_before_mounts(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", {"thing.py": "WHO = 'wheel'\n", "json/__init__.py": "WHO = 'wheel'\n", "own.py": ""})
    code = """
        import pathlib, remote_wheel
        pathlib.Path("own.py").write_text("WHO = 'script folder'\\n")
        remote_wheel.require("thing")
        import thing, json, own
        print(thing.WHO, hasattr(json, "WHO"), own.WHO, sep=",")
    """
    assert python(code).stdout.strip() == "wheel,False,script folder"


def test_pth_and_sitecustomize_of_a_wheel_never_run(index: LoopbackIndex, python: Python) -> None:
    files = {
        "thing/__init__.py": "import os\nDATA = os.path.dirname(__file__)\n",  # reads __file__: unpacked
        "evil.pth": "import sys; sys.evil = True\n",
        "sitecustomize.py": "import sys; sys.evil = True\n",
    }
    index.add("thing", "1", files)
    code = """
        import sys, remote_wheel
        remote_wheel.require("thing")
        try:
            import sitecustomize
        except ImportError:
            pass
        assert not hasattr(sys, "evil")
    """
    python(code)
