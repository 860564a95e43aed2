"""Every example of docs/how-to runs, and prints what its page says."""

import datetime as dt
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.loopback import LoopbackIndex
from tests.servers.ftp import serve_ftp
from tests.sources.test_files import make_tar

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs" / "how-to").glob("*.md"))
RAKE = make_wheel("rake", "1.0", {"rake.py": "def comb():\n    return 'leaves'\n"})
GREETING = b"def hello():\n    return 'hello'\n"
Places = dict[str, str]  # as the page names a place → where the test has it


def _project(name: str, requires: str = "") -> str:
    return f'[project]\nname = "{name}"\nversion = "1.4"\ndependencies = [{requires}]\n'


@contextmanager
def _github(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    forge = request.getfixturevalue("forge")
    index.add("soil", "1.0")
    bloom = "def bloom():\n    return 'tulips'\n"
    forge.commit(
        "green/garden", {"pyproject.toml": _project("garden", '"soil>=1"'), "src/garden/__init__.py": bloom}, tag="v1.4"
    )
    pots = {"tools/pots/pyproject.toml": _project("pots"), "tools/pots/pots.py": "def count():\n    return 3\n"}
    forge.commit("green/mono", dict(pots))
    yield {forge.url: "https://github.com"}


@contextmanager
def _s3(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    bucket = request.getfixturevalue("bucket")
    bucket.put("math_tools.py", b"def square(x):\n    return x * x\n")
    bucket.put(f"wheels/{RAKE[0]}", RAKE[1])
    yield {}


@contextmanager
def _ssh(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    ssh = request.getfixturevalue("ssh")
    ssh.put("srv/calendar_tools.py", b"import datetime\n\ndef today():\n    return datetime.date.today()\n")
    ssh.put(f"srv/wheels/{RAKE[0]}", RAKE[1])
    here = {f"127.0.0.1:{ssh.port}{ssh.root}/srv": "files.example/srv", ssh.fingerprint: "SHA256:FINGERPRINT"}
    yield {**here, dt.date.today().isoformat(): "2026-11-24"}


@contextmanager
def _http(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    index.extra |= {"/files/greeting.py": GREETING, "/raw/8f3a": GREETING}
    yield {index.root: "https://index.example/"}


@contextmanager
def _local(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    folder = request.getfixturevalue("tmp_path") / "downloads"
    folder.mkdir()
    (folder / RAKE[0]).write_bytes(RAKE[1])
    info = "Metadata-Version: 2.2\nName: spade\nVersion: 2.0\n"
    (folder / "spade-2.0.tar.gz").write_bytes(make_tar({"spade-2.0/PKG-INFO": info, "spade-2.0/spade.py": ""}))
    yield {}


@contextmanager
def _fsspec(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    folder = request.getfixturevalue("tmp_path") / "ftp"
    (folder / "wheels").mkdir(parents=True)
    (folder / "tools.py").write_text("def count():\n    return 3\n")
    (folder / "wheels" / RAKE[0]).write_bytes(RAKE[1])
    with serve_ftp(folder) as url:
        yield {url: "ftp://files.example"}


@contextmanager
def _index(request: pytest.FixtureRequest, index: LoopbackIndex) -> Iterator[Places]:
    main = "def comb():\n    return 'leaves'\n\ndef main():\n    print('usage: rake')\n"
    index.add("rake", "1.0", {"rake.py": main}, entry_points="[console_scripts]\nrake = rake:main\n")
    index.extra["/files/hello-world.py"] = b"print('hello')\n"
    yield {index.root: "https://index.example/"}


SETTINGS: dict[str, Callable[[pytest.FixtureRequest, LoopbackIndex], object]] = {
    "editors": _index,
    "github": _github,
    "local-files": _local,
    "notebook": _index,
    "other-filesystems": _fsspec,
    "s3": _s3,
    "sandbox": _index,
    "scripts": _index,
    "single-modules": _http,
    "ssh": _ssh,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples(page: Path, request: pytest.FixtureRequest, index: LoopbackIndex, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```(python|console)\n(.*?)^```\n\n```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^```(?:python|console)", text, re.MULTILINE)), "each example says its output"
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    with SETTINGS[page.stem](request, index) as places:  # type: ignore[attr-defined]  # they are context managers
        for language, code, output in blocks:
            for here, there in places.items():
                code, output = code.replace(there, here), output.replace(there, here)
            command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
            environ = {**os.environ, "PATH": path}
            done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=120)
            assert (done.stdout, done.returncode) == (output, 0), done.stderr


def test_every_page_has_its_setting() -> None:
    assert {page.stem for page in PAGES} == set(SETTINGS)
