"""What every test has: an environment of its own, a loopback index, and fresh interpreters."""

import os
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loopback import LoopbackIndex, serve
from tests.servers.forge import Forge, serve_forge
from tests.servers.s3 import Bucket, serve_s3
from tests.servers.ssh import SshServer, serve_ssh

_FOREIGN = (
    "PIP_",
    "UV_",
    "REMOTE_WHEEL_",
    "SSL_CERT_",
    "REQUESTS_CA_",
    "CURL_CA_",
    "PYTHON",
    "XDG_",
    "AWS_",
    "GITHUB_",
    "GH_",
)
# How this machine reaches the real index; only tests with the marker real_index give it back to their processes.
NETWORK = {
    name: os.environ[name]
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "PIP_INDEX_URL")
    if name in os.environ
}
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

COMMAND = str(Path(sysconfig.get_path("scripts"), "remote-wheel"))
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine sets, and give the test a home and a cache of its own."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("REMOTE_WHEEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REMOTE_WHEEL_COMPILE", "before")  # nothing is under way behind a test's back


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache folder of the test; made by the first request."""
    return tmp_path / "cache"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackIndex]:
    """An empty index, which is the default one of the test's processes."""
    with serve(LoopbackIndex()) as running:
        monkeypatch.setenv("REMOTE_WHEEL_INDEX_URL", running.url)
        yield running


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Run code, or arguments, in a fresh interpreter; fails the test on a wrong exit code."""

    def run(
        code: str = "", *arguments: str, expect: int = 0, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(["-c", textwrap.dedent(code)] if code else []), *arguments]
        environment = {**os.environ, **environ}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120, input=stdin
        )
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def remote_wheel(python: Python) -> Python:
    """Run the command line, as the console script does."""

    def run(*arguments: str, expect: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        return python("", COMMAND, *arguments, expect=expect, **environ)

    return run


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A real S3 server, started once."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as bucket:
        yield bucket


@pytest.fixture
def bucket(s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket that the test's processes have the credentials of."""
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A real SSH server, started once."""
    with serve_ssh(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def ssh(ssh_server: SshServer, tmp_path: Path) -> SshServer:
    """The SSH server, known to the test's home, which has the key to it."""
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(ssh_server.known_hosts_line)
    (folder / "id_ed25519").write_bytes(ssh_server.key.read_bytes())
    (folder / "id_ed25519").chmod(0o600)
    return ssh_server


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forge]:
    """A GitHub of the test's own, which ``github:`` means."""
    folder = tmp_path / "forge"
    folder.mkdir()
    with serve_forge(folder) as running:
        monkeypatch.setenv("GITHUB_SERVER_URL", running.url)
        yield running
