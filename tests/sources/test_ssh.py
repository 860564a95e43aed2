"""sftp:// and ssh:// against OpenSSH's server: whom it trusts, how it logs in, what it reads."""

import contextlib
import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.wheels import make_wheel, make_zip
from remote_wheel.errors import FetchError, FetchTimeout, NotFound
from remote_wheel.fetch.client import Client
from remote_wheel.settings import Limits
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.password import PASSWORD, serve_password
from tests.servers.ssh import SshServer
from tests.sources.conftest import Mounting

TODAY = b"import datetime\n\ndef today():\n    return datetime.date.today().isoformat()\n"


@pytest.fixture
def known_hosts(ssh: SshServer, tmp_path: Path) -> Path:
    return tmp_path / "home" / ".ssh" / "known_hosts"


Know = Callable[[str], object]


@pytest.fixture
def know(tmp_path: Path) -> Know:
    """Make a host known to the test's home."""
    (tmp_path / "home" / ".ssh").mkdir(mode=0o700, exist_ok=True)
    return (tmp_path / "home" / ".ssh" / "known_hosts").write_text


def test_a_module_with_a_today_function(ssh: SshServer, mounting: Mounting) -> None:
    ssh.put("tools/calendar_tools.py", TODAY)
    for url in (ssh.url("tools/calendar_tools.py"), ssh.url("tools/calendar_tools.py").replace("sftp:", "ssh:")):
        said = mounting.value(url, "m.__name__, m.today() == __import__('datetime').date.today().isoformat()")
        assert said == "calendar_tools True"
    assert mounting.value(ssh.url("tools/calendar_tools.py"), "m.__name__", "name='dates'") == "dates"


def test_offline_afterwards(ssh: SshServer, mounting: Mounting, known_hosts: Path) -> None:
    ssh.put("tools/kept.py", b"V = 3\n")
    assert mounting.value(ssh.url("tools/kept.py"), "m.V") == "3"
    known_hosts.unlink()
    assert mounting.value(ssh.url("tools/kept.py"), "m.V", "offline=True") == "3"


def test_an_index_and_a_flat_folder_over_one_connection(ssh: SshServer, python: Python) -> None:
    names = ["root-project", *(f"part-{letter}" for letter in "abcdef")]
    for name in names:
        filename, data = make_wheel(name, "1.0", requires=names[1:] if name == names[0] else [])
        page = f'<!DOCTYPE html><html><body><a href="../../files/{filename}">{filename}</a></body></html>'
        ssh.put(f"simple/{name}/index.html", page.encode())
        ssh.put(f"files/{filename}", data)
    for folder in ("simple", "files"):
        before = ssh.connections()
        code = f"""
            import remote_wheel
            remote_wheel.require("root-project", index_url="{ssh.url(folder)}", cache_dir="cache-{folder}")
            import part_f
            print(remote_wheel.explain("part_f").splitlines()[1].strip())
        """
        assert python(code).stdout == f"source  {ssh.url('files/part_f-1.0-py3-none-any.whl')}\n"
        assert ssh.connections() - before == 1, "many files, one connection"


def test_a_wheel_and_a_zip_with_dependencies(ssh: SshServer, index: LoopbackIndex, mounting: Mounting) -> None:
    index.add("needed", "1.5")
    filename, data = make_wheel("far-away", "2.0", requires=["needed>=1"])
    ssh.put(filename, data)
    ssh.put("tree.zip", make_zip({"tree-1/branch/__init__.py": "V = 5\n"}))
    said = mounting.value(ssh.url(filename), "mount.distribution.version, __import__('needed').__name__, mount.source")
    assert said == f"2.0 needed {ssh.url(filename)}"
    assert mounting.value(ssh.url("tree.zip"), "m.V") == "5"


# --- whom it trusts -------------------------------------------------------------------------------------------------


def test_an_unknown_host_is_refused(ssh: SshServer, mounting: Mounting, known_hosts: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    known_hosts.unlink()
    before = ssh.connections()
    for options in ("", "refresh=True", "sha256='" + "0" * 64 + "'"):
        said = mounting.error(ssh.url("x.py"), options)
        assert said.startswith(f"UntrustedHost: can't fetch {ssh.url('x.py')}: the host key of ")
        assert "is not known" in said
        assert "?hostkey=SHA256:" in said
    assert ssh.connections() == before
    assert not known_hosts.exists(), "nothing is ever added by itself"


def test_a_config_that_waves_unknown_hosts_through_changes_nothing(
    ssh: SshServer, mounting: Mounting, known_hosts: Path
) -> None:
    ssh.put("x.py", b"V = 1\n")
    known_hosts.unlink()
    (known_hosts.parent / "config").write_text("Host *\n  StrictHostKeyChecking no\n")
    assert mounting.error(ssh.url("x.py")).startswith("UntrustedHost: ")


@pytest.mark.parametrize("marker", ["", "@revoked "])
def test_a_changed_or_revoked_key_is_refused(
    ssh: SshServer, mounting: Mounting, known_hosts: Path, marker: str
) -> None:
    ssh.put("x.py", b"V = 1\n")
    if marker:
        known_hosts.write_text(ssh.known_hosts_line + marker + ssh.known_hosts_line)
    else:
        kind, blob, *_ = (ssh.folder / "id_stranger.pub").read_text().split()
        known_hosts.write_text(f"[127.0.0.1]:{ssh.port} {kind} {blob}\n")
    said = mounting.error(ssh.url("x.py"))
    assert said.startswith("UntrustedHost: ")
    assert ("marked as revoked" if marker else "its host key has changed: it shows SHA256:") in said


def test_hashed_and_wildcard_entries_count(ssh: SshServer, mounting: Mounting, known_hosts: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known_hosts], check=True, capture_output=True)
    assert known_hosts.read_text().startswith("|1|")
    assert mounting.value(ssh.url("x.py"), "m.V") == "1"
    known_hosts.write_text(ssh.known_hosts_line.replace("127.0.0.1", "127.0.*"))
    assert mounting.value(ssh.url("x.py"), "m.V", "refresh=True") == "1"
    known_hosts.write_text(ssh.known_hosts_line.replace("[127", "![127") + ssh.known_hosts_line.replace("[127", "[1?7"))
    assert mounting.value(ssh.url("x.py"), "m.V", "refresh=True") == "1"
    known_hosts.write_text(f"[127.*]:{ssh.port},!" + ssh.known_hosts_line)
    assert mounting.error(ssh.url("x.py"), "refresh=True").startswith("UntrustedHost: ")


def test_a_known_rsa_key_is_asked_for(ssh: SshServer, mounting: Mounting, known_hosts: Path) -> None:
    """The server has two keys; the one that is known must be the one that is shown."""
    ssh.put("x.py", b"V = 1\n")
    kind, blob, *_ = (ssh.folder / "host_rsa.pub").read_text().split()
    known_hosts.write_text(f"[127.0.0.1]:{ssh.port} {kind} {blob}\n")
    assert mounting.value(ssh.url("x.py"), "m.V") == "1"


def test_a_stated_host_key(ssh: SshServer, mounting: Mounting, known_hosts: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    known_hosts.unlink()
    assert mounting.value(f"{ssh.url('x.py')}?hostkey={ssh.fingerprint}", "m.V") == "1"
    assert mounting.value(ssh.url("x.py"), "m.V", f"hostkey='{ssh.fingerprint}', refresh=True") == "1"
    other = "SHA256:" + "A" * 43
    said = mounting.error(f"{ssh.url('x.py')}?hostkey={other}", "refresh=True")
    assert said.startswith(f"UntrustedHost: can't fetch {ssh.url('x.py')}: its host key is SHA256:")
    assert "no SHA256:… fingerprint" in mounting.error(ssh.url("x.py"), "hostkey='something'")


def test_a_host_key_is_compared_on_an_open_connection_too(ssh: SshServer, python: Python) -> None:
    for name in ("one", "two"):
        ssh.put(f"{name}_tool.py", b"V = 1\n")
    wrong = "SHA256:" + "A" * 43
    one, two = ssh.url("one_tool.py"), ssh.url("two_tool.py")
    code = f"""
        import remote_wheel
        try:
            remote_wheel.require({one!r}, {two + "#hostkey=" + wrong!r})
        except remote_wheel.RemoteWheelError as error:
            print(type(error).__name__)
        try:
            remote_wheel.mount({one + "?hostkey=" + ssh.fingerprint!r}, hostkey={wrong!r})
        except remote_wheel.RemoteWheelError as error:
            print(error)
    """
    said = python(code).stdout
    assert said.startswith("UntrustedHost\n")
    assert "it states two different host keys" in said


def test_a_lock_does_not_vouch_for_its_own_host(know: Know, remote_wheel: Python, tmp_path: Path) -> None:
    with serve_password({"/x.py": b"V = 1\n"}) as server:
        know("")
        url = f"sftp://me:{PASSWORD}@127.0.0.1:{server.port}/x.py#hostkey={server.fingerprint}"
        (tmp_path / "pylock.toml").write_text(
            'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "x"\n[packages.archive]\n'
            f'url = "{url}"\nhashes = {{ sha256 = "{"0" * 64}" }}\n'
        )
        run = ("run", "--lock", "pylock.toml", "-c", "")
        done = remote_wheel(*run, expect=2, REMOTE_WHEEL_SSH_PASSWORD=PASSWORD)
    assert "is not known" in done.stderr
    assert PASSWORD not in done.stderr


def test_a_password_for_one_host_alone(mounting: Mounting, know: Know) -> None:
    with serve_password({"/x.py": b"V = 1\n"}) as server:
        know(server.known_hosts_line)
        url, environ = f"sftp://me@127.0.0.1:{server.port}/x.py", {"REMOTE_WHEEL_SSH_PASSWORD": PASSWORD}
        said = mounting.error(url, **environ, REMOTE_WHEEL_SSH_PASSWORD_HOST="other.example")
        assert said.startswith("AccessDenied: ")
        assert mounting.value(url, "m.V", **environ, REMOTE_WHEEL_SSH_PASSWORD_HOST="127.0.0.1") == "1"


@pytest.mark.parametrize("host", ["-oProxyCommand=touch$IFS", "a;b", "$(x)"])
def test_hosts_that_would_mean_something_to_a_shell(mounting: Mounting, know: Know, tmp_path: Path, host: str) -> None:
    know("")
    (tmp_path / "home" / ".ssh" / "config").write_text("Host *\n  ProxyCommand touch ran %h\n")
    for url in (f"sftp://{host}/x.py", f"sftp://{host}@h/x.py"):
        assert mounting.error(url).startswith("InvalidSource: "), url
    assert not (tmp_path / "ran").exists()


# --- how it logs in --------------------------------------------------------------------------------------------------


def test_the_configuration_of_ssh(ssh: SshServer, mounting: Mounting, tmp_path: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    folder = tmp_path / "home" / ".ssh"
    (folder / "id_ed25519").rename(folder / "another_key")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "config").write_text(
        f"Host shelf\n  HostName 127.0.0.1\n  Port {ssh.port}\n  User {user}\n  IdentityFile ~/.ssh/another_key\n"
    )
    url = f"sftp://shelf{ssh.root}/x.py"
    assert mounting.value(url, "m.V, mount.source", USER="nobody-at-all") == f"1 {url}"


def test_a_jump_host_and_a_proxy_command(ssh: SshServer, mounting: Mounting, tmp_path: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    (tmp_path / "home" / ".ssh" / "config").write_text(
        f"Host inner\n  HostName 127.0.0.1\n  Port {ssh.port}\n  ProxyJump 127.0.0.1:{ssh.port}\n"
        f"Host piped\n  HostName 127.0.0.1\n  Port {ssh.port}\n  ProxyCommand nc %h %p\n"
    )
    before = ssh.connections()
    assert mounting.value(f"sftp://inner{ssh.root}/x.py", "m.V") == "1"
    assert ssh.connections() - before == 2
    if not shutil.which("nc"):
        pytest.skip("NO SERVER: no nc here for a ProxyCommand (Debian: netcat-openbsd)")
    assert mounting.value(f"sftp://piped{ssh.root}/x.py", "m.V") == "1"


def test_an_agent(ssh: SshServer, mounting: Mounting, tmp_path: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    (tmp_path / "home" / ".ssh" / "id_ed25519").unlink()
    assert mounting.error(ssh.url("x.py")).startswith("AccessDenied: ")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while not (tmp_path / "agent").exists() and time.monotonic() < until:
            time.sleep(0.05)
        environ = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")}
        subprocess.run(["ssh-add", "-q", ssh.key], check=True, env=environ)
        assert mounting.value(ssh.url("x.py"), "m.V", SSH_AUTH_SOCK=environ["SSH_AUTH_SOCK"]) == "1"
    finally:
        agent.terminate()
        agent.wait(10)


def test_a_key_with_a_passphrase(ssh: SshServer, mounting: Mounting, tmp_path: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    key = tmp_path / "home" / ".ssh" / "id_ed25519"
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "the-passphrase", "-f", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    said = mounting.error(ssh.url("x.py"))
    assert said.startswith("AccessDenied: ")
    assert "REMOTE_WHEEL_SSH_PASSPHRASE" in said
    assert mounting.value(ssh.url("x.py"), "m.V", REMOTE_WHEEL_SSH_PASSPHRASE="the-passphrase") == "1"


def test_a_password_from_the_url_and_the_environment(mounting: Mounting, know: Know, tmp_path: Path) -> None:
    with serve_password({"/x.py": b"V = 1\n"}) as server:
        know(server.known_hosts_line)
        url = f"sftp://me@127.0.0.1:{server.port}/x.py"
        assert mounting.value(url, "m.V", REMOTE_WHEEL_SSH_PASSWORD=PASSWORD) == "1"
        with_password = url.replace("me@", f"me:{PASSWORD}@")
        said = mounting.value(with_password, "m.V, mount, remote_wheel.explain(m)", "refresh=True")
        assert said.startswith("1 <Mount x.py")
        assert PASSWORD not in said
        said = mounting.error(url, "refresh=True", REMOTE_WHEEL_SSH_PASSWORD="not-the-password")
        assert said.startswith(f"AccessDenied: can't fetch {url}: the server accepts neither the keys nor a password")
        assert "not-the-password" not in said
        said = mounting.error(with_password.replace(PASSWORD, "wrong-one"), "refresh=True")
        assert said.startswith("AccessDenied: ")
        assert "wrong-one" not in said
        assert not any(
            PASSWORD.encode() in each.read_bytes() for each in (tmp_path / "cache").rglob("*") if each.is_file()
        )


def test_a_password_typed_at_the_terminal(know: Know) -> None:
    with serve_password({"/x.py": b"V = 1\n"}) as server:
        know(server.known_hosts_line)
        code = f"import remote_wheel; print(remote_wheel.mount('sftp://me@127.0.0.1:{server.port}/x.py').import_module().V)"
        shown = _at_a_terminal(code, "Password for me@127.0.0.1: ", PASSWORD)
    assert shown.endswith("1\n")
    assert PASSWORD not in shown


def _at_a_terminal(code: str, prompt: str, typed: str) -> str:
    """Run *code* in a terminal of its own, type *typed* at *prompt*; return all that was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", textwrap.dedent(code)])
    shown, until, is_typed = b"", time.monotonic() + 60, False
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            shown += piece
        if not is_typed and prompt.encode() in shown:
            os.write(terminal, typed.encode() + b"\n")
            is_typed = True
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert is_typed, shown
    assert os.waitstatus_to_exitcode(status) == 0, shown
    return shown.decode().replace("\r\n", "\n")


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_what_goes_wrong_is_said(ssh: SshServer, mounting: Mounting, tmp_path: Path) -> None:
    ssh.put("x.py", b"V = 1\n")
    assert "no such file" in mounting.error(ssh.url("nothing.py"))
    (ssh.root / "a-folder.py").mkdir(exist_ok=True)
    assert mounting.error(ssh.url("a-folder.py")).startswith("NotFound: ")
    said = mounting.error(f"sftp://127.0.0.1:9{ssh.root}/x.py")
    assert said.startswith("NetworkError: ")
    assert "refused" in said
    said = mounting.error("sftp://host.invalid/x.py")
    assert "the host name host.invalid can't be resolved" in said
    (tmp_path / "home" / ".ssh" / "id_ed25519").unlink()
    assert mounting.error(ssh.url("x.py")).startswith("AccessDenied: ")


def test_a_path_in_the_home_folder_and_a_file_that_may_not_be_read(mounting: Mounting, know: Know) -> None:
    with serve_password({"x.py": b"V = 1\n", "/closed.py": None}) as server:
        know(server.known_hosts_line)
        host = f"sftp://me:{PASSWORD}@127.0.0.1:{server.port}"
        assert mounting.value(f"{host}/~/x.py", "m.V") == "1"  # /~/ as curl and git write it: where SFTP starts
        assert "no such file" in mounting.error(f"{host}/x.py")
        said = mounting.error(f"{host}/closed.py")
        assert said.startswith("AccessDenied: ")
        assert "no permission to read it" in said


def test_without_paramiko_the_extra_is_named(mounting: Mounting, tmp_path: Path) -> None:
    (tmp_path / "paramiko.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'paramiko'\", name='paramiko')\n"
    )
    said = mounting.error("sftp://host/x.py", PYTHONPATH=str(tmp_path))
    assert "sftp:// needs paramiko: pip install 'paramiko'" in said


@pytest.mark.slow
def test_a_server_that_drips_is_left_in_time(ssh: SshServer) -> None:
    """Its library reads until a piece is whole, and each packet is in time."""
    place = ssh.put("large.bin", os.urandom(400_000))
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, target: socket.socket, most_at_once: int) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096 if passed < most_at_once else 1):
                target.sendall(data)
                passed += len(data)
                time.sleep(0.05 if passed >= most_at_once else 0)

    def proxy() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", ssh.port))
            back = threading.Thread(target=pass_on, args=(server, client, 12_000), daemon=True)
            back.start()
            pass_on(client, server, 1 << 30)
            server.close()
            back.join(5)
            client.close()

    thread = threading.Thread(target=proxy, daemon=True)
    thread.start()
    started_s = time.monotonic()
    limits = Limits(patience_s=2.0, read_timeout_s=5.0, retries=0)
    url = f"sftp://127.0.0.1:{listener.getsockname()[1]}{place}"
    client = Client(limits)
    clean = client.learn(url, ssh.fingerprint)
    with pytest.raises(FetchTimeout, match="bytes came in 2 s"):
        client.fetch(clean, max_bytes=1_000_000)
    assert time.monotonic() - started_s < 10
    listener.close()
    thread.join(5)


def test_a_channel_that_failed_is_not_used_again(ssh: SshServer) -> None:
    """An answer may be under way on it that nobody waits for any more; a file that is not there is no failure."""
    from remote_wheel.fetch import sftp

    place = ssh.put("some.bin", b"contents")
    client = Client(Limits(read_timeout_s=5.0, retries=0))
    url = client.learn(f"sftp://127.0.0.1:{ssh.port}{place}", ssh.fingerprint)
    made = []
    channel = sftp._Connection.channel

    @contextlib.contextmanager
    def watched(self: sftp._Connection) -> Iterator[Any]:
        with channel(self) as found:
            made.append(found)
            yield found
            if len(made) == 2:
                raise TimeoutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sftp._Connection, "channel", watched)
        assert client.fetch(url, max_bytes=100).body == b"contents"
        with pytest.raises(FetchError):
            client.fetch(url, max_bytes=100)
        assert client.fetch(url, max_bytes=100).body == b"contents"
        with pytest.raises(NotFound):
            client.fetch(f"{url}-gone", max_bytes=100)
        assert client.fetch(url, max_bytes=100).body == b"contents"
    first, second, third, fourth, fifth = made
    assert first is second
    assert third is not second
    assert third is fourth is fifth
