"""Index servers that people run, each with quirks of its own: the same answers from all of them.

pip installs the servers, each into a venv of its own; nginx is the system's.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers import indexes
from tests.servers.indexes import PASSWORD, Nginx

pytestmark = pytest.mark.third_party

SERVERS = ("nginx", "pypiserver", "devpi", "simpleindex", "simple-repository-server")


@pytest.fixture(scope="module")
def content() -> LoopbackIndex:
    noise = random.Random(1).randbytes(400_000)  # a wheel that is too large to be fetched for its metadata alone
    index = LoopbackIndex()
    index.add("alpha", "1.0", requires=["beta"])
    index.add("alpha", "2.0", {"alpha.py": "import beta, bulky_thing\nV = 2\n"}, requires=["beta>=1", "Bulky.Thing"])
    index.add("beta", "1.0")
    index.add("bulky-thing", "1.0", {"bulky_thing/__init__.py": "", "bulky_thing/noise.bin": noise}, requires=["beta"])
    return index


@pytest.fixture(scope="module")
def wheels(content: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All wheels in one folder, and in `by-project` beside it, one folder a project."""
    folder = tmp_path_factory.mktemp("wheels")
    (folder / "flat").mkdir()
    for project, files in content.files.items():
        (folder / "by-project" / project).mkdir(parents=True)
        for file in files:
            (folder / "flat" / file.filename).write_bytes(file.data)
            (folder / "by-project" / project / file.filename).write_bytes(file.data)
    return folder


@pytest.fixture(scope="module")
def nginx(content: LoopbackIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with indexes.serve_nginx(content, tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one server after the other."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    with ExitStack() as stack:
        if name == "nginx":
            yield request.getfixturevalue("nginx").url("http")
        elif name == "pypiserver":
            programs = indexes.install(folder / "venv", "pypiserver>=2.3")
            yield stack.enter_context(indexes.serve_pypiserver(programs, wheels / "flat", folder))
        elif name == "devpi":
            programs = indexes.install(folder / "venv", "devpi-server>=6.14", "devpi-client")
            yield stack.enter_context(indexes.serve_devpi(programs, wheels / "flat", folder))
        elif name == "simpleindex":
            programs = indexes.install(folder / "venv", "simpleindex")
            yield stack.enter_context(indexes.serve_simpleindex(programs, wheels / "by-project", folder))
        else:
            programs = indexes.install(folder / "venv", "simple-repository-server")
            yield stack.enter_context(indexes.serve_repository(programs, wheels / "by-project", folder))


@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_the_same_answers(url: str, python: Python, remote_wheel: Python, tmp_path: Path) -> None:
    show = "import remote_wheel; print(*remote_wheel.resolve('alpha', prefer_installed=False).pins, sep=', ')"
    assert python(show, REMOTE_WHEEL_INDEX_URL=url).stdout == "alpha 2.0, beta 1.0, bulky-thing 1.0\n"
    use = "import remote_wheel; print(remote_wheel.require('alpha').V)"
    assert python(use, REMOTE_WHEEL_INDEX_URL=url).stdout == "2\n"
    assert python(use, REMOTE_WHEEL_INDEX_URL=url, REMOTE_WHEEL_OFFLINE="1").stdout == "2\n"
    assert python(use, REMOTE_WHEEL_INDEX_URL=url, REMOTE_WHEEL_REFRESH="1").stdout == "2\n"
    remote_wheel("lock", "alpha", "--index-url", url)
    run = ("run", "--lock", "pylock.toml", "--cache-dir", "other", "-c", "import alpha; print(alpha.V)")
    assert remote_wheel(*run).stdout == "2\n"
    missing = remote_wheel("tree", "no-such-thing", "--index-url", url, expect=2)
    assert missing.stderr.startswith("error: project 'no-such-thing' was not found on ")


def test_nginx_is_asked_for_little(nginx: Nginx, python: Python) -> None:
    """JSON pages, metadata beside the wheels, and on a second look nothing but whether the pages have changed."""
    environ = {"REMOTE_WHEEL_INDEX_URL": nginx.url("http")}
    before = len(nginx.log().splitlines())
    resolve = "import remote_wheel; remote_wheel.resolve('alpha', prefer_installed=False, refresh={})"
    python(resolve.format(False), **environ)
    first = nginx.log().splitlines()[before:]
    assert len(first) == 6, "three pages, three files of metadata"
    assert not any(".whl HTTP" in line for line in first)
    python(resolve.format(True), **environ)
    second = nginx.log().splitlines()[before + 6 :]
    assert [line.split('" ')[1].split()[0] for line in second] == ["304"] * 3


def test_tls_by_an_authority_of_its_own(nginx: Nginx, remote_wheel: Python) -> None:
    tree = ("tree", "alpha", "--index-url", nginx.url("tls"))
    done = remote_wheel(*tree, expect=2)
    assert "its certificate is not accepted" in done.stderr
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        assert remote_wheel(*tree, "--refresh", **{variable: nginx.ca}).stdout.startswith("alpha 2.0\n")
    host = f"127.0.0.1:{nginx.ports['tls']}"
    assert remote_wheel(*tree, "--refresh", "--allow-insecure", host).stdout.startswith("alpha 2.0\n")
    done = remote_wheel(*tree, "--refresh", "--allow-insecure", "127.0.0.1:1", expect=2)
    assert "its certificate is not accepted" in done.stderr
    done = remote_wheel("tree", "alpha", "--index-url", nginx.url("tls").replace("127.0.0.1", "localhost"), expect=2)
    assert "its certificate is not accepted" in done.stderr, "it is for another name"


def test_a_login_over_tls(nginx: Nginx, remote_wheel: Python, tmp_path: Path) -> None:
    environ = {"SSL_CERT_FILE": nginx.ca}
    done = remote_wheel("tree", "alpha", "--index-url", nginx.url("login"), expect=2, **environ)
    assert "401" in done.stderr
    url = nginx.url("login", f"me:{PASSWORD}@")
    assert remote_wheel("tree", "alpha", "--index-url", url, "--refresh", **environ).stdout.startswith("alpha 2.0\n")
    named = {"REMOTE_WHEEL_INDEX_CORP_USERNAME": "me", "REMOTE_WHEEL_INDEX_CORP_PASSWORD": PASSWORD, **environ}
    done = remote_wheel("lock", "alpha", "--index", f"corp={nginx.url('login')}", "--refresh", "-o", "-", **named)
    assert PASSWORD not in done.stdout
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
    netrc.chmod(0o600)
    run = (
        "run",
        "--with",
        "alpha",
        "--index-url",
        nginx.url("login"),
        "--refresh",
        "-c",
        "import alpha; print(alpha.V)",
    )
    assert remote_wheel(*run, **environ).stdout == "2\n"


def test_client_certificates(nginx: Nginx, remote_wheel: Python) -> None:
    tree = ("tree", "alpha", "--index-url", nginx.url("mutual"))
    environ = {"SSL_CERT_FILE": nginx.ca}
    assert remote_wheel(*tree, expect=2, **environ).stderr.startswith("error: can't fetch ")
    assert remote_wheel(*tree, "--client-cert", nginx.client_cert, **environ).stdout.startswith("alpha 2.0\n")
    again = {**environ, "SSL_CLIENT_CERT": nginx.client_cert}
    assert remote_wheel(*tree, "--refresh", **again).stdout.startswith("alpha 2.0\n")


def test_a_proxy(nginx: Nginx, remote_wheel: Python) -> None:
    """What is no loopback is asked for through the proxy that the environment names: nginx itself plays it here."""
    url = nginx.url("http").replace("127.0.0.1", "index.invalid")
    proxy = f"http://127.0.0.1:{nginx.ports['http']}"
    options = ("--index-url", url, "--allow-insecure", "index.invalid")
    assert remote_wheel("tree", "alpha", *options, http_proxy=proxy).stdout.startswith("alpha 2.0\n")
