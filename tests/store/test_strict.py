"""Nobody but this user can put something in the store's place, or in the place of what is mounted from it."""

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from remote_wheel.errors import StoreError
from remote_wheel.store.cache import Store
from remote_wheel.store.strict import check_way_to
from tests.conftest import Python
from tests.loopback import LoopbackIndex

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
ROOT = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="NO ROOT: only root can be two users")
SOMEBODY = 12345


@pytest.mark.parametrize(("mode", "is_refused"), [(0o777, True), (0o1777, False), (0o757, True), (0o755, False)])
def test_a_folder_above_that_others_write_to(tmp_path: Path, mode: int, is_refused: bool) -> None:
    above = tmp_path / "above"
    (above / "between").mkdir(parents=True)
    above.chmod(mode)
    if not is_refused:
        Store(above / "between" / "cache", "v1")
        return
    with pytest.raises(StoreError, match=f"above.*others can write it .mode {mode:04o}.*in the cache's place"):
        Store(above / "between" / "cache", "v1")


@ROOT
def test_a_folder_of_a_group(tmp_path: Path) -> None:
    """Root's own group is like a user's private one; that of many is not."""
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o775)
    check_way_to(above)
    os.chown(above, 0, SOMEBODY)
    with pytest.raises(StoreError, match="others can write it"):
        check_way_to(above)


@ROOT
def test_a_folder_above_of_somebody_else(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "cache").mkdir(parents=True, mode=0o700)
    os.chown(above, SOMEBODY, SOMEBODY)
    with pytest.raises(StoreError, match=f"above.*belongs to user {SOMEBODY}, who could put another in its place"):
        Store(above / "cache", "v1")


@ROOT
def test_a_link_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Store(tmp_path / "link" / "cache", "v1")  # our own
    os.chown(tmp_path / "link", SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(StoreError, match=f"link.*belongs to user {SOMEBODY}"):
        Store(tmp_path / "link" / "cache", "v1")


def test_where_links_lead_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "open" / "real").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(tmp_path / "open" / ".." / "open" / "real")
    with pytest.raises(StoreError, match=r"open.*others can write it"):
        Store(tmp_path / "first", "v1")
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(StoreError):
        Store(tmp_path / "round", "v1")


def test_a_cache_that_is_a_link_of_the_same_user(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = Store(tmp_path / "link", "v1")
    store.write_note("metadata", "key", b"data")
    assert list((tmp_path / "real" / "v1" / "metadata").iterdir())


def test_what_is_made_on_the_way_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Store(tmp_path / "a" / "b" / "cache", "v1")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "cache"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


@pytest.mark.parametrize("which", ["version", "boot", "images", "interpreter", "image", "trees", "tree"])
def test_what_others_can_write_is_not_mounted(index: LoopbackIndex, python: Python, cache: Path, which: str) -> None:
    """When warm, too: the cold way is taken, and says why, or makes it again."""
    files: dict[str, str | bytes] = {"native/__init__.py": "V = 1\n", "native/_x.so": b"\x7fELF"}
    index.add("native", "1", files, tag="py3-none-linux_x86_64")
    code = """
        import remote_wheel
        try:
            print(remote_wheel.require("native").V)
        except remote_wheel.errors.StoreError as error:
            print(error)
    """
    for _ in range(2):
        assert python(code).stdout == "1\n"
    root = cache / "v1"
    (image,) = (root / "images").glob("*/*.zip")
    (tree,) = (each for each in (root / "trees").iterdir() if each.is_dir())
    path = {
        "version": root, "boot": root / "boot", "images": root / "images", "interpreter": image.parent, "image": image,
        "trees": root / "trees", "tree": tree,
    }[which]  # fmt: skip
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o777)
    inode = path.stat().st_ino
    said = python(code).stdout
    if which in ("image", "tree"):
        assert said == "1\n"
        (again,) = (root / "images").glob("*/*.zip") if which == "image" else (tree,)
        assert again.stat().st_ino != inode, "another one was made"
        assert not stat.S_IMODE(again.stat().st_mode) & 0o022
    else:
        assert "others can write it (mode 0777)" in said
        path.chmod(mode)
        assert python(code).stdout == "1\n"


@ROOT
def test_a_cache_of_another_user_in_the_place_of_ours(tmp_path: Path) -> None:
    """What was reported: somebody moves root's cache away and puts his own there."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "cache" / "v1" / "boot").mkdir(parents=True)
    for path in (shared / "cache", *(shared / "cache").rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    (tmp_path / "m.py").write_text("V = 1\n")
    code = textwrap.dedent("""
        import remote_wheel
        try:
            remote_wheel.mount("m.py")
        except remote_wheel.errors.StoreError as error:
            print(error)
    """)
    environ = {**os.environ, "REMOTE_WHEEL_CACHE_DIR": str(shared / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert "shared" in done.stdout, done.stderr
    assert "can't be used" in done.stdout or "others can write it" in done.stdout


@pytest.mark.parametrize("kind", ["mode", "group", pytest.param("owner", marks=ROOT)])
def test_settings_that_others_could_have_written(
    index: LoopbackIndex, python: Python, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pyproject.toml in a shared folder names an index: it is told, and the next one above counts."""
    index.add("app", "1", {"app.py": "V = 1\n"})
    monkeypatch.delenv("REMOTE_WHEEL_CONFIG_FILE", raising=False)
    monkeypatch.delenv("REMOTE_WHEEL_INDEX_URL", raising=False)
    table = "[tool.remote-wheel]\nindex-url = '{}'\n"
    (tmp_path / "pyproject.toml").write_text(table.format(index.url))
    shared = tmp_path / "shared"
    shared.mkdir()
    theirs = shared / "pyproject.toml"
    theirs.write_text(table.format("http://127.0.0.1:9/simple/"))
    if kind == "owner":
        os.chown(theirs, SOMEBODY, SOMEBODY)
    elif kind == "group":
        theirs.chmod(0o664)
        if os.geteuid() == 0:
            os.chown(theirs, 0, SOMEBODY)
    else:
        theirs.chmod(0o666)
    code = "import os; os.chdir('shared'); import remote_wheel; print(remote_wheel.require('app').V)"
    done = python(code)
    assert done.stdout == "1\n"
    assert f"settings in {theirs} are not used: " in done.stderr
    assert ("belongs to user" if kind == "owner" else "others can write it") in done.stderr
    named = python(code, REMOTE_WHEEL_CONFIG_FILE=str(theirs), expect=1)
    assert "127.0.0.1:9" in named.stderr
    theirs.write_text("[project]\nname = 'x'\n")
    assert "are not used" not in python(f"{code}; remote_wheel.require('app', refresh=True)").stderr
