"""Secrets are where the user put them, and nowhere else: not in what is printed, logged, written, raised or pickled."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex, serve
from tests.servers.faults import Fault, serve_faults
from tests.servers.forge import Forge
from tests.servers.password import PASSWORD, serve_password
from tests.servers.s3 import Bucket

CANARY = "C4NARY"
# Every process logs all there is, and tells with which arguments it was started.
LOUD = """
import logging, os, sys
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s %(pathname)s %(args)s")
with open(os.environ["ARGUMENTS"], "a") as file:
    print(sys.orig_argv, file=file)
"""


@pytest.fixture
def shop(index: LoopbackIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackIndex]:
    """An index behind a password that is in its URL; other secrets in the environment; loud processes."""
    loud = tmp_path / "loud"
    loud.mkdir()
    (loud / "sitecustomize.py").write_text(LOUD)
    monkeypatch.setenv("PYTHONPATH", str(loud))
    monkeypatch.setenv("ARGUMENTS", str(tmp_path / "arguments"))
    index.user = f"me:{CANARY}1"
    index.add("app", "1", requires=["lib"], entry_points="[console_scripts]\napp = lib:main\n")
    index.add("lib", "1", {"lib.py": "def main():\n    print('ran')\n"})
    index.add("gone", "1", requires=["nowhere"])
    index.add("broken", "1", sha256="0" * 64)
    monkeypatch.setenv("REMOTE_WHEEL_INDEX_URL", f"http://me:{CANARY}1@127.0.0.1:{index.port}/simple/")
    monkeypatch.setenv("REMOTE_WHEEL_INDEX_CORP_USERNAME", f"{CANARY}2")
    monkeypatch.setenv("REMOTE_WHEEL_INDEX_CORP_PASSWORD", f"{CANARY}3")
    monkeypatch.setenv("REMOTE_WHEEL_SSH_PASSWORD", f"{CANARY}4")
    monkeypatch.setenv("REMOTE_WHEEL_PREFER_INSTALLED", "0")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{CANARY}5")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{CANARY}6")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{CANARY}7")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text(f"machine localhost login me password {CANARY}8\n")
    netrc.chmod(0o600)
    with serve(LoopbackIndex()) as corp:
        corp.user = f"{CANARY}2:{CANARY}3"
        monkeypatch.setenv("REMOTE_WHEEL_INDEX", f"corp=http://localhost:{corp.port}/simple/")
        yield index


def commands(index: LoopbackIndex) -> list[tuple[int, list[str]]]:
    """Return (exit code, arguments) of every command, in success and in failure."""
    signed = f"http://me:{CANARY}1@127.0.0.1:{index.port}/files/app-1-py3-none-any.whl?sig={CANARY}9"
    missing = signed.replace("app-1", "app-2")
    sftp, s3 = f"sftp://me:{CANARY}A@127.0.0.1:9/x.whl", "s3://bucket/app-1-py3-none-any.whl"
    found: list[tuple[int, list[str]]] = []
    for verb in (["tree"], ["explain"], ["inspect"], ["lock", "-o", "-"], ["prefetch"]):
        found += [(0, [*verb, "app"]), (0, [*verb, f"app @ {signed}"]), (2, [*verb, "gone"]), (2, [*verb, missing])]
    for verb in (["inspect"], ["prefetch"]):
        found += [(2, [*verb, "-v", what]) for what in ("broken", sftp, s3, f"app>=2 @ {signed}")]
    found += [
        (0, ["lock", "app", signed, "-o", "pylock.toml"]),
        (0, ["bundle", "app", "-o", "bundle"]),
        (2, ["bundle", "gone", "-o", "other"]),
        (0, ["run", "--lock", "pylock.toml", "-c", "import app"]),
        (0, ["run", "--with", signed, "-c", "import app"]),
        (0, ["run", "--exe", "app"]),
        (2, ["run", "-v", "--with", "gone", "-c", "1"]),
        (2, ["run", "--with", missing, "-c", "1"]),
        (1, ["run", "--with", signed, "-c", "import app; app.nothing"]),
        (2, ["tree", "app", "--index-url", f"https://me:{CANARY}1@127.0.0.1:9/"]),
        (2, ["tree", "app", "--index", f"=http://me:{CANARY}1@x/"]),
        (2, ["tree", "app", "--offline", "--cache-dir", "empty"]),
        (0, ["unpack", "app", "site"]),
        (2, ["unpack", "gone", "other-site"]),
        (0, ["demo"]),
        (0, ["run", "--sandbox", "--with", signed, "-c", "import app"]),
        (0, ["cache", "dir"]),
        (0, ["cache", "list"]),
        (0, ["cache", "verify"]),
        (0, ["cache", "size", "--json"]),
        (0, ["cache", "prune", "--older-than", "30d"]),
        (0, ["cache", "clean", "lib"]),
    ]
    return found


def check_nowhere(folder: Path, printed: str) -> None:
    assert CANARY not in printed, next(line for line in printed.splitlines() if CANARY in line)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".netrc":
            assert CANARY.encode() not in path.read_bytes(), path
            assert CANARY not in path.name


@pytest.mark.slow
def test_no_command_tells_a_secret(shop: LoopbackIndex, tmp_path: Path) -> None:
    logged = 0
    for expected, arguments in commands(shop):
        command = [sys.executable, COMMAND, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
        printed = done.stdout + done.stderr
        assert done.returncode == expected, (arguments, printed)
        shown = printed.replace(repr(arguments), "")
        logged += "urllib3" in shown
        check_nowhere(tmp_path / "cache", shown)
    library = "import sys, remote_wheel; remote_wheel.prefetch('app', f'app @ {sys.stdin.read()}', refresh=True)"
    signed = f"http://me:{CANARY}1@127.0.0.1:{shop.port}/files/app-1-py3-none-any.whl?sig={CANARY}9"
    subprocess.run([sys.executable, "-c", library], input=signed, text=True, cwd=tmp_path, timeout=120, check=True)
    assert logged > 10, "the logs were not loud: the test proves little"
    # What the user typed is in the command's own arguments; no process that it started has more than a path.
    own = [line for line in (tmp_path / "arguments").read_text().splitlines() if COMMAND not in line]
    assert own
    assert not [line for line in own if CANARY in line]
    check_nowhere(tmp_path / "bundle", (tmp_path / "pylock.toml").read_text())


def test_no_error_holds_a_secret(shop: LoopbackIndex, python: Python) -> None:
    """Of an error: its text, repr, facts, hint, detail, traceback, and what a pickle of it has."""
    signed = f"http://me:{CANARY}1@127.0.0.1:{shop.port}/files/app-2-py3-none-any.whl?sig={CANARY}9"
    code = f"""
        import pickle, traceback, remote_wheel
        mount = lambda: remote_wheel.mount({signed!r})
        for call in (mount, lambda: remote_wheel.require("gone"), lambda: remote_wheel.require("broken")):
            try:
                call()
            except remote_wheel.RemoteWheelError as error:
                text = traceback.format_exc()
                text = "\\n".join(line for line in text.splitlines() if "mount = lambda" not in line)
                print(error, repr(error), error.facts(), error.hint, error.detail, text, pickle.dumps(error))
                print(pickle.loads(pickle.dumps(error)).__cause__, error.__cause__, error.__context__)
        plan = remote_wheel.resolve("app")
        print(plan, repr(plan), plan.to_json(), plan.to_pylock(), pickle.dumps(plan))
    """
    done = python(code)
    assert done.stdout.count("NotFound") > 1
    check_nowhere(Path(os.environ["REMOTE_WHEEL_CACHE_DIR"]), done.stdout + done.stderr)


def test_no_retry_and_no_redirect_tells_a_secret(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """What libraries warn of while they try again, and where a redirect with a signature leads."""
    wheel = shop.files["lib"][0]
    shop.redirects["/moved"] = f"/files/{wheel.filename}?sig={CANARY}9"
    with serve_faults(shop.port) as proxy:
        proxy.faults = [Fault(".whl", "refuse"), Fault(".whl", "truncate", 10)]
        url = f"http://me:{CANARY}1@127.0.0.1:{proxy.port}/files/{wheel.filename}?sig={CANARY}9"
        moved = f"http://me:{CANARY}1@127.0.0.1:{shop.port}/moved"
        code = """
            import os, remote_wheel
            remote_wheel.mount(os.environ["FIRST"]).unmount()
            mount = remote_wheel.mount(os.environ["SECOND"])
            print(mount.source, mount, remote_wheel.explain(mount.import_module("lib")))
        """
        done = python(code, FIRST=url, SECOND=moved.replace("/moved", f"/files/{wheel.filename}?sig={CANARY}9"))
        again = python(
            "import os, remote_wheel; remote_wheel.mount(os.environ['URL'])", URL=f"{moved}?x={CANARY}", expect=1
        )
    assert "Retrying" in done.stderr
    check_nowhere(tmp_path / "cache", done.stdout + done.stderr + again.stdout + again.stderr)


@pytest.fixture
def loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Loud processes; returns the folder that they work in."""
    place = tmp_path / "loud"
    place.mkdir()
    (place / "sitecustomize.py").write_text(LOUD)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("ARGUMENTS", str(tmp_path / "arguments"))
    return tmp_path


def check_silent(folder: Path, secrets: list[str], logger: str, *arguments: str) -> None:
    """Run commands that succeed, and see that *logger* was loud and no secret was told or kept."""
    for verb in (["prefetch"], ["inspect"], ["lock", "-o", "-"], ["run", "-c", "1", "--with"]):
        words = [*verb, *arguments] if verb[0] != "run" else ["run", "--with", *arguments, "-c", "1"]
        command = [sys.executable, COMMAND, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, check=False)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        for secret in secrets:
            assert secret not in printed, next(line for line in printed.splitlines() if secret in line)
        if verb[0] == "prefetch":
            assert logger in printed, "the logs were not loud: the test proves little"
    kept = [path for path in (folder / "cache").rglob("*") if path.is_file()]
    assert kept
    for path in (*kept, folder / "arguments"):
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in data], path


def test_a_bucket_tells_no_key(loud: Path, bucket: Bucket) -> None:
    name, data = make_wheel("app", "1")
    bucket.client.put_object(Bucket=bucket.name, Key=f"silent/{name}", Body=data)
    check_silent(loud, [bucket.environ["AWS_SECRET_ACCESS_KEY"]], "botocore", f"s3://{bucket.name}/silent/{name}")


def test_ssh_tells_no_password(loud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, data = make_wheel("app", "1")
    with serve_password({f"/{name}": data}) as server:
        (loud / "home" / ".ssh").mkdir(mode=0o700)
        (loud / "home" / ".ssh" / "known_hosts").write_text(server.known_hosts_line)
        monkeypatch.setenv("REMOTE_WHEEL_SSH_PASSWORD", PASSWORD)
        monkeypatch.setenv("REMOTE_WHEEL_SSH_PASSWORD_HOST", "127.0.0.1")
        check_silent(loud, [PASSWORD], "paramiko", f"sftp://me@127.0.0.1:{server.port}/{name}")


def test_a_forge_tells_no_token(loud: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    build = "[build-system]\nrequires = []\nbuild-backend = 'flit_core.buildapi'\n"
    project = f"[project]\nname = 'garden'\nversion = '1'\n{build}"
    forge.commit("green/garden", {"garden.py": '"""It."""\nV = 1\n', "pyproject.toml": project}, tag="v1")
    forge.token = "ghp_very-secret"
    monkeypatch.setenv("GITHUB_TOKEN", forge.token)
    check_silent(loud, [forge.token, "one-time-secret"], "urllib3", "github:green/garden@v1")


def test_a_proxy_tells_no_password(loud: Path, index: LoopbackIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add("app", "1")
    came: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.headers.get("Proxy-Authorization", ""))
            path = "/" + self.path.split("/", 3)[3]
            found = index.find(path, self.headers.get("Accept", ""))
            body, kind = found or (b"", "text/plain")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("http_proxy", f"http://me:{CANARY}P@127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("REMOTE_WHEEL_INDEX_URL", "http://index.example/simple/")
        monkeypatch.setenv("REMOTE_WHEEL_ALLOW_INSECURE", "index.example 127.0.0.1")
        try:
            check_silent(loud, [f"{CANARY}P"], "urllib3", "app")
        finally:
            server.shutdown()
            thread.join()
    assert came
    assert all(each.startswith("Basic ") for each in came)
