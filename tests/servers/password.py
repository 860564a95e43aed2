"""An SSH server that asks for a password: paramiko's, since OpenSSH's would need an account of the system."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from stat import S_IFREG

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from paramiko.sftp import SFTP_NO_SUCH_FILE, SFTP_PERMISSION_DENIED

from remote_wheel.fetch.hostkeys import fingerprint

PASSWORD = "open-sesame-please"


@dataclass
class PasswordServer:
    """Where it listens, and its line of known_hosts."""

    port: int
    known_hosts_line: str
    fingerprint: str


class _Login(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_SUCCESSFUL if (username, password) == ("me", PASSWORD) else AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED


def _make_files(files: Mapping[str, bytes | None]) -> type[paramiko.SFTPServerInterface]:
    class Files(paramiko.SFTPServerInterface):
        def stat(self, path: str) -> paramiko.SFTPAttributes | int:
            if path not in files:
                return SFTP_NO_SUCH_FILE
            found = paramiko.SFTPAttributes()
            found.st_size, found.st_mode, found.st_mtime = len(files[path] or b""), S_IFREG | 0o644, 0
            return found

        def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
            if path not in files:
                return SFTP_NO_SUCH_FILE
            data = files[path]
            if data is None:
                return SFTP_PERMISSION_DENIED
            handle = paramiko.SFTPHandle(flags)
            handle.readfile = BytesIO(data)  # type: ignore[attr-defined]  # as paramiko's documentation has it
            return handle

    return Files


@contextmanager
def serve_password(files: Mapping[str, bytes | None]) -> Iterator[PasswordServer]:
    """Serve *files* by path; one that is None may not be read."""
    key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            transport = paramiko.Transport(client)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _make_files(files))
            transport.start_server(server=_Login(), event=threading.Event())
            transports.append(transport)

    threading.Thread(target=serve, daemon=True).start()
    try:
        line = f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
        yield PasswordServer(port, line, fingerprint(key.asbytes()))
    finally:
        listener.close()
        for transport in transports:
            transport.close()
