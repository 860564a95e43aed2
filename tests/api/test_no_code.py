"""Nothing of a distribution runs before somebody imports it, whatever is done with it."""

from fixtures.wheels import make_zip
from tests.conftest import Python
from tests.loopback import LoopbackIndex

# Every file that Python, pip, setuptools, pytest or a shell would run sooner or later.
TRAP = "import os; open(os.environ['TRAP'], 'a').write(__name__ if '__name__' in dir() else 'trap')\n"
OURS = ("requests/__init__.py", "packaging/__init__.py", "remote_wheel/__init__.py")  # this process has them already
TRAPS = {
    "evil/__init__.py": TRAP,
    "evil/__main__.py": TRAP,
    "evil/conftest.py": TRAP,
    "evil.pth": TRAP,
    "evil-nspkg.pth": TRAP,
    "evil.start": TRAP,
    "sitecustomize.py": TRAP,
    "usercustomize.py": TRAP,
    "setup.py": TRAP,
    "conftest.py": TRAP,
    "json.py": TRAP,
    "requests/__init__.py": TRAP,
    "packaging/__init__.py": TRAP,
    "remote_wheel/__init__.py": TRAP,
    "evil-1.data/scripts/evil": f"#!python\n{TRAP}",
    "evil-1.data/data/etc/profile.d/evil.sh": "touch $TRAP\n",
}
WATCH = """
import os, sys, sysconfig
from pathlib import Path
import remote_wheel
from remote_wheel.api import cold, plans
ours = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
ours += [sys.base_prefix, str(Path(remote_wheel.__file__).parent), "<string>", "<frozen", "<"]
seen, is_watching = [], False
def hook(event, arguments):
    if not is_watching:
        return
    if event == "exec":
        name = getattr(arguments[0], "co_filename", "<string>")
        if not name.startswith(tuple(ours)):
            seen.append(("exec", name))
    elif event == "import" and "evil" in arguments[0]:
        seen.append((event, arguments[0]))
    elif event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "ctypes.dlopen") and arguments[0]:
        seen.append((event, str(arguments[0])))
sys.addaudithook(hook)
cold.stay_here(cold.Silent)  # everything happens here, where it is watched
"""
DONE = """
assert not seen, seen
assert not os.path.exists(os.environ["TRAP"])
"""


def test_no_code_runs_before_an_import(index: LoopbackIndex, python: Python) -> None:
    scripts = "[console_scripts]\nevil = evil:main\n[gui_scripts]\nevilw = evil:main\n"
    file = index.add(
        "evil", "1", {name: text for name, text in TRAPS.items() if name not in OURS}, entry_points=scripts
    )
    project = '[project]\nname = "tree"\nversion = "1"\n[build-system]\nrequires = ["evil"]\nbuild-backend = "evil"\n'
    tree = {"tree/__init__.py": TRAP, "setup.py": TRAP, "conftest.py": TRAP, "pyproject.toml": project}
    index.extra["/tree-1.zip"] = make_zip(tree)
    code = f"""
{WATCH}
url, tree = {index.file_url(file)!r}, {index.root!r} + "tree-1.zip"
is_watching = True
plan = plans.resolve("evil", prefer_installed=False)
plan.tree(), plan.explain("evil"), plan.to_pylock()
plans.prefetch("evil", prefer_installed=False)
Path("pylock.toml").write_text(plans.lock(["evil"], folder=".", prefer_installed=False))
plans.load_lock("pylock.toml").mount().unmount()
plans.inspect("evil", prefer_installed=False)
plans.bundle("evil", folder="bundle", prefer_installed=False)
mount = remote_wheel.mount(url)
mount.modules, mount.distribution.entry_points, mount.distribution.files
import importlib.metadata, pkgutil
list(pkgutil.iter_modules())
importlib.metadata.entry_points(group="console_scripts")
mount.unmount()
remote_wheel.mount(tree, deps=False).unmount()
with remote_wheel.environment("evil", prefer_installed=False) as env:
    env.entry_points()
is_watching = False
{DONE}
"""
    python(code, TRAP="trap")


def test_an_import_runs_what_was_imported_and_no_more(index: LoopbackIndex, python: Python) -> None:
    """The other half: the watching sees what runs."""
    index.add("evil", "1", dict(TRAPS))
    code = f"""
{WATCH}
is_watching = True
with remote_wheel.environment("evil", prefer_installed=False):
    import evil
is_watching = False
import json
assert "evil" not in json.__file__
assert [event for event, _ in seen] == ["import", "exec"], seen
assert open(os.environ["TRAP"]).read() == "evil"
"""
    python(code, TRAP="trap")


def test_what_is_ignored_is_told(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    index.add("evil", "1", {"evil.py": "", "evil.pth": TRAP, "sitecustomize.py": TRAP, "evil.start": TRAP})
    code = "import remote_wheel; print(remote_wheel.explain(remote_wheel.require('evil')))"
    assert "  ignored evil.pth, evil.start, sitecustomize.py\n" in python(code).stdout
    assert "evil.pth, evil.start, sitecustomize.py" in remote_wheel("inspect", "evil").stdout
