"""Bundles for machines without a network, and locks in use."""

import functools
import json
import os
import subprocess
import sys
import sysconfig
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel, make_zip
from tests.conftest import Python
from tests.loopback import LoopbackIndex

SCRIPTS = Path(sysconfig.get_path("scripts"))
NOWHERE = "http://127.0.0.1:9/simple/"  # where nobody listens


@pytest.fixture
def garden(index: LoopbackIndex) -> LoopbackIndex:
    index.add("Garden", "1.0", {"garden.py": "import soil\nV = 1\n"}, requires=["soil>=1"], requires_python=">=3.8")
    index.add("soil", "2.0", {"soil.py": "V = 2\n"})
    for tag in ("py3-none-linux_x86_64", "py3-none-win_amd64"):
        index.add("rock", "1.0", {"rock.py": f"TAG = {tag!r}\n"}, tag=tag)
    return index


def tool(*command: str, cwd: Path) -> str:
    environ = {**os.environ, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(cwd / "uv"), "UV_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_in_a_bundle(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    assert "2 wheels are in b" in remote_wheel("bundle", "garden", "-o", "b").stderr
    found = sorted(path.relative_to(tmp_path / "b").as_posix() for path in (tmp_path / "b").rglob("*"))
    assert [path for path in found if "." in path] == [
        "README.md",
        "files/Garden-1.0-py3-none-any.whl",
        "files/Garden-1.0-py3-none-any.whl.metadata",
        "files/soil-2.0-py3-none-any.whl",
        "files/soil-2.0-py3-none-any.whl.metadata",
        "pylock.toml",
        *(f"simple/{place}index.{form}" for place in ("garden/",) for form in ("html", "json")),
        "simple/index.html",
        "simple/index.json",
        *(f"simple/soil/index.{form}" for form in ("html", "json")),
    ]
    page = json.loads((tmp_path / "b" / "simple" / "garden" / "index.json").read_text())
    assert page["files"][0]["requires-python"] == ">=3.8"
    assert 'path = "files/soil-2.0-py3-none-any.whl"' in (tmp_path / "b" / "pylock.toml").read_text()
    readme = (tmp_path / "b" / "README.md").read_text()
    assert "Required: garden." in readme
    assert str(tmp_path) not in readme
    before = (tmp_path / "b" / "pylock.toml").read_bytes()
    assert "is there and not empty" in remote_wheel("bundle", "soil", "-o", "b", expect=2).stderr
    assert (tmp_path / "b" / "pylock.toml").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_a_bundle_tells_no_secret_and_no_place(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (file,) = garden.files["soil"]
    url = garden.file_url(file).replace("http://", "http://me:secret@")
    remote_wheel("bundle", f"soil @ {url}", "-o", "b")
    for path in (tmp_path / "b").rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        assert b"secret" not in text, path
        assert str(tmp_path).encode() not in text, path


def test_metadata_in_another_encoding(index: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    filename, data = make_wheel("odd", "1", metadata=b"Metadata-Version: 2.1\nName: odd\nVersion: 1\n\n\xe9")
    index.add_file("odd", filename, data)
    remote_wheel("bundle", "odd", "-o", "b")
    assert remote_wheel("run", "--index-url", "b/simple", "--with", "odd", "-c", "import odd").stdout == ""


def test_a_bundle_needs_a_cache(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    assert "leaves it alone" in remote_wheel("bundle", "--no-cache", "soil", "-o", "b", expect=2).stderr
    assert not (tmp_path / "b").exists()


def test_ours_without_a_network(garden: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path) -> None:
    remote_wheel("bundle", "garden", "-o", "b")
    environ = {"REMOTE_WHEEL_INDEX_URL": NOWHERE, "REMOTE_WHEEL_CACHE_DIR": str(tmp_path / "other")}
    show = ("-c", "import garden, soil; print(garden.V, soil.V)")
    for ways in (["--lock", "b/pylock.toml"], ["--no-index", "--find-links", "b/files", "--with", "garden"]):
        assert remote_wheel("run", *ways, *show, **environ).stdout == "1 2\n"
    assert remote_wheel("run", "--index-url", "b/simple", "--with", "garden", *show, **environ).stdout == "1 2\n"
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "b"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/simple/"
    assert remote_wheel("run", "--index-url", url, "--with", "garden", *show, **environ).stdout == "1 2\n"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "way", [["--no-index", "--find-links", "b/files", "garden"], ["-i", "{}/simple", "garden"], ["-r", "b/pylock.toml"]]
)
def test_pip_without_a_network(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path, way: list[str]) -> None:
    remote_wheel("bundle", "garden", "-o", "b")
    words = [word.format((tmp_path / "b").as_uri()) for word in way]
    tool(sys.executable, "-m", "pip", "install", "-q", "--target", "t", *words, cwd=tmp_path)
    assert (tmp_path / "t" / "soil-2.0.dist-info").is_dir()


@pytest.mark.parametrize(
    "way",
    [
        ["install", "--no-index", "--find-links", "b/files", "garden"],
        ["install", "--default-index", "{}/simple", "garden"],
        ["sync", "--preview-features", "pylock", "b/pylock.toml"],
    ],
)
def test_uv_without_a_network(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path, way: list[str]) -> None:
    remote_wheel("bundle", "garden", "-o", "b")
    words = [word.format((tmp_path / "b").as_uri()) for word in way]
    tool(str(SCRIPTS / "uv"), "pip", *words, "--target", "t", "--python", sys.executable, cwd=tmp_path)
    assert (tmp_path / "t" / "soil-2.0.dist-info").is_dir()


def test_for_another_machine_and_from_a_lock(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    remote_wheel("bundle", "rock", "--platform", "windows", "--python-version", "3.12", "-o", "b")
    names = sorted(path.name for path in (tmp_path / "b" / "files").iterdir())
    assert names[0] == "rock-1.0-py3-none-win_amd64.whl"
    assert "platform windows" in (tmp_path / "b" / "README.md").read_text()
    remote_wheel("lock", "garden")
    garden.add("soil", "3.0")
    remote_wheel("bundle", "--lock", "pylock.toml", "-o", "c")
    assert (tmp_path / "c" / "files" / "soil-2.0-py3-none-any.whl").is_file()
    both = remote_wheel("bundle", "soil", "--lock", "pylock.toml", "-o", "d", expect=2)
    assert "beside it" in both.stderr


def test_what_is_no_wheel_can_not_be_bundled(index: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "tree.zip").write_bytes(make_zip({"tree/tree.py": "V = 1\n"}))
    assert "is no wheel" in remote_wheel("bundle", "./tree.zip", "-o", "b", expect=2).stderr
    filename, data = make_wheel("local", "1.0")
    (tmp_path / filename).write_bytes(data)
    remote_wheel("bundle", f"./{filename}", "-o", "b")
    assert (tmp_path / "b" / "files" / filename).read_bytes() == data


# --- locks -----------------------------------------------------------------------------------------------------------


def test_prefetch_of_a_lock(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    remote_wheel("lock", "garden")
    assert "2 distributions are ready" in remote_wheel("prefetch", "--lock", "pylock.toml").stderr
    garden.requests.clear()
    command = ("run", "--offline", "--lock", "pylock.toml", "-c", "import garden; print(garden.V)")
    assert remote_wheel(*command).stdout == "1\n"
    assert not garden.requests
    assert "--extra and --group" in remote_wheel("prefetch", "garden", "--extra", "x", expect=2).stderr


def test_a_lock_beside_the_script_only_when_asked(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    script = tmp_path / "s" / "app.py"
    script.write_text("import soil; print(soil.__file__.rpartition('/')[2], soil.V)\n")
    assert "there is no s/pylock.app.toml" in remote_wheel("run", "--locked", "s/app.py", expect=2).stderr
    remote_wheel("lock", "garden", "-o", "s/pylock.toml")
    garden.add("soil", "3.0", {"soil.py": "V = 3\n"})
    remote_wheel("lock", "soil", "-o", "s/other.lock", REMOTE_WHEEL_REFRESH="1")
    assert remote_wheel("run", "--with", "soil", "s/app.py", REMOTE_WHEEL_REFRESH="1").stdout == "soil.py 3\n"
    assert remote_wheel("run", "--locked", "s/app.py").stdout == "soil.py 2\n"
    assert remote_wheel("run", "--frozen", "s/app.py").stdout == "soil.py 2\n"
    (tmp_path / "s" / "other.lock").rename(tmp_path / "s" / "pylock.app.toml")
    assert remote_wheel("run", "--frozen", "s/app.py").stdout == "soil.py 3\n"


def test_frozen_takes_the_lock_beside_or_nothing(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    assert "--frozen, and there is no pylock.toml" in remote_wheel("run", "--frozen", "-c", "", expect=2).stderr
    garden.add(
        "tool", "1", {"tool.py": "def main(): print('old')\n"}, entry_points="[console_scripts]\ntool=tool:main\n"
    )
    remote_wheel("lock", "tool")
    garden.add(
        "tool", "2", {"tool.py": "def main(): print('new')\n"}, entry_points="[console_scripts]\ntool=tool:main\n"
    )
    garden.requests.clear()
    assert remote_wheel("run", "--frozen", "--exe", "tool").stdout == "old\n"
    assert garden.pages() == 0


def test_a_requirements_file_that_grows_is_seen(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    remote_wheel("lock", "soil")
    (tmp_path / "req.txt").write_text("soil\n")
    command = ("run", "--locked", "--with-requirements", "req.txt", "-c", "")
    remote_wheel(*command)
    (tmp_path / "req.txt").write_text("soil\ngarden\n")
    assert "does not satisfy 'garden'" in remote_wheel(*command, expect=2).stderr


def test_locked_means_that_the_lock_has_what_is_required(
    garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path
) -> None:
    remote_wheel("lock", "garden")
    show = ("-c", "import soil; print(soil.V)")
    fits = ("run", "--locked", "--with", "soil>=2", "--with", "garden; python_version > '3'", *show)
    assert remote_wheel(*fits).stdout == "2\n"
    said = remote_wheel("run", "--locked", "--with", "soil>2", *show, expect=2).stderr
    assert "the lock pylock.toml does not satisfy 'soil>2': it has soil 2.0" in said
    assert "Lock again" in said
    said = remote_wheel("run", "--locked", "--with", "rock", *show, expect=2).stderr
    assert "it does not have that project" in said
    for asked in ("soil[x]", "soil @ https://index.example/soil-2.0-py3-none-any.whl", "./soil.whl"):
        said = remote_wheel("run", "--locked", "--with", asked, *show, expect=2).stderr
        assert "can't be told" in said
    other = ("run", "--frozen", "--with", "rock", "-c", "import rock, soil; print(rock.TAG, soil.V)")
    assert remote_wheel(*other).stdout.endswith(" 2\n")
