"""What each entry may load. Milliseconds are noisy; names of modules are not."""

import pytest

from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex

# All that a warm path may add to a bare interpreter.
ISLAND = {
    "remote_wheel",
    "remote_wheel.api",
    "remote_wheel.mounts",
    "remote_wheel.mounts.boot",
    "remote_wheel.mounts.children",
    "remote_wheel.mounts.collector",
    "remote_wheel.mounts.finder",
    "remote_wheel.mounts.image",
    "remote_wheel.mounts.leases",
    "remote_wheel.mounts.registry",
    "atexit",
    "fcntl",
    "gc",
    "mmap",
}
BARE = "import sys; print(*sys.modules)"


def _added(python: Python, code: str) -> set[str]:
    """Return the modules that *code* (which ends by printing sys.modules) loads beyond a bare interpreter."""
    return set(python(code).stdout.splitlines()[-1].split()) - set(python(BARE).stdout.split())


def test_the_root_import_is_free(python: Python) -> None:
    assert _added(python, "import sys, remote_wheel; print(*sys.modules)") == {"remote_wheel"}


def test_warm_require(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", requires=["other"])
    index.add("other", "1")
    code = "import sys, remote_wheel; remote_wheel.require('thing'); import other; print(*sys.modules)"
    cold = _added(python, code)
    assert "subprocess" in cold  # the first one asked the helper, or this test proves nothing
    assert _added(python, code) - {"thing", "other"} <= ISLAND


def test_warm_environment(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    code = """
        import sys, remote_wheel
        with remote_wheel.environment('thing'):
            import thing
            print(*sys.modules)
    """
    python(code)
    assert _added(python, code) - {"thing"} <= ISLAND | {"remote_wheel.api.environments", "remote_wheel.mounts.undo"}


def test_warm_mount(index: LoopbackIndex, python: Python) -> None:
    file = index.add("thing", "1")
    source = index.file_url(file)
    code = f"import sys, remote_wheel; remote_wheel.mount({source!r}).import_module(); print(*sys.modules)"
    python(code)
    assert _added(python, code) - {"thing"} <= ISLAND | {"remote_wheel.api.handle"}


def test_warm_run(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    index.add("thing", "1")
    command = ("run", "--with", "thing", "-c", "import sys, thing; print(*sys.modules)")
    remote_wheel(*command)
    added = set(remote_wheel(*command).stdout.split()) - set(python(BARE).stdout.split())
    # The console script that pip writes imports `re` itself, with what that needs; measured without it below.
    code = f"""
        import sys
        sys.argv[:] = ["remote-wheel", *{command!r}]
        from remote_wheel.__main__ import main
        main()
    """
    added = _added(python, code)
    assert added - {"thing"} <= ISLAND | {
        "remote_wheel.__main__",
        "remote_wheel.api.program",
        "remote_wheel.mounts.run",
    }


@pytest.mark.parametrize("heavy", ["requests", "rich", "packaging", "nab_resolver", "installer"])
def test_version_and_help_load_nothing_heavy(python: Python, heavy: str) -> None:
    for option in ("--version", "--help"):
        code = f"""
            import sys
            sys.argv[:] = ["remote-wheel", {option!r}]
            from remote_wheel.__main__ import main
            try:
                main()
            except SystemExit:
                pass
            print(*sys.modules)
        """
        assert heavy not in python(code).stdout.splitlines()[-1].split()


def test_the_command_is_there(python: Python) -> None:
    assert python("", COMMAND, "--version").stdout.startswith("remote-wheel ")
