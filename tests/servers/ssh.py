"""OpenSSH's server, read-only."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.process import free_port, listens, running, wait_until


@dataclass(frozen=True)
class SshServer:
    """An OpenSSH server that lets `key` in and serves `root` read-only."""

    port: int
    folder: Path
    root: Path
    log: Path

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def fingerprint(self) -> str:
        shown = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / "host_ed25519.pub"], capture_output=True, text=True, check=True
        )
        return shown.stdout.split()[1]

    @property
    def known_hosts_line(self) -> str:
        kind, blob, *_ = (self.folder / "host_ed25519.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    def url(self, path: str, user: str = "") -> str:
        return f"sftp://{user + '@' if user else ''}127.0.0.1:{self.port}{self.root}/{path}"

    def put(self, path: str, data: bytes) -> Path:
        """Write a file below the root."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def connections(self) -> int:
        """Return how many times somebody has logged in."""
        return self.log.read_text(errors="replace").count("Accepted publickey")


@contextmanager
def serve_ssh(folder: Path) -> Iterator[SshServer]:
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if not sshd:
        pytest.skip("NO SERVER: no OpenSSH server here (Debian: openssh-server)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host_ed25519", "host_rsa", "id_ed25519", "id_stranger"):
        kind = "rsa" if name.endswith("rsa") else "ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / name], check=True)
    (folder / "authorized_keys").write_text((folder / "id_ed25519.pub").read_text())
    root = folder / "root"
    root.mkdir()
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_ed25519\nHostKey {folder}/host_rsa\n"
        f"PidFile {folder}/sshd.pid\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp -R\nAllowTcpForwarding yes\nX11Forwarding no\nLogLevel VERBOSE\n"
    )
    with running([sshd, "-D", "-e", "-f", str(config)], folder) as log:
        wait_until(listens(port), log)
        yield SshServer(port, folder, root, log)
