"""Secrets are where the user put them, and nowhere else: not in what is printed, logged, written, raised or pickled."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex, serve
from tests.servers.faults import Fault, serve_faults

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
