"""sftp://user@host:port/path, by paramiko: OpenSSH's own configuration, keys and known hosts; never an unknown host."""

import logging
import os
import queue
import re
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from remote_wheel.errors import AccessDenied, FetchError, FetchTimeout, InvalidSource, NetworkError, TooLarge
from remote_wheel.fetch.hostkeys import make_policy, make_transport, read_known_hosts
from remote_wheel.fetch.port import (
    PAGES,
    Answer,
    Pace,
    Sink,
    SshAccess,
    import_extra,
    ranged_headers,
    receive,
    requested_range,
    stopped_in_time,
)
from remote_wheel.settings import Limits
from remote_wheel.spec.listing import LISTING, dump_listing
from remote_wheel.spec.source import redact

if TYPE_CHECKING:
    import paramiko

_CHUNK_BYTES: Final = 256 * 1024
_CHANNELS: Final = 4  # an OpenSSH server allows ten sessions a connection (MaxSessions)
PASSWORD_VARIABLE: Final = "REMOTE_WHEEL_SSH_PASSWORD"  # noqa: S105  # its name
HOST_VARIABLE: Final = "REMOTE_WHEEL_SSH_PASSWORD_HOST"  # its name; the only host that gets it
PASSPHRASE_VARIABLE: Final = "REMOTE_WHEEL_SSH_PASSPHRASE"  # noqa: S105  # its name


_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:%+-]*")


class _Login(NamedTuple):
    """What OpenSSH's configuration makes of ``user@host:port``."""

    host: str
    port: int
    user: str
    options: Mapping[str, Any]


class SftpTransport:
    """One connection to each login, with a few channels that threads take turns on."""

    def __init__(self, limits: Limits, access: SshAccess) -> None:
        self._limits, self._access = limits, access
        import_extra("sftp", "paramiko")
        logging.getLogger("paramiko").addHandler(logging.NullHandler())  # errors are ours to tell
        self._connections: dict[tuple[str, str], _Connection] = {}
        self._lock = threading.Lock()

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Read the file; see Transport.fetch. Size and time of change stand for an ETag."""
        parts = urlsplit(url)
        path = unquote(parts.path)
        if path.startswith("/~/"):  # relative to the home folder, where SFTP starts
            path = path[3:]
        with self._translated(url):
            with self._lock:
                place = parts.netloc, self._access.hostkeys.get(parts.netloc, "")
                if place not in self._connections or not self._connections[place].is_open:
                    self._connections[place] = self._connect(url, *place)
                connection = self._connections[place]
            with connection.channel() as sftp:
                try:
                    return self._read(sftp, url, path, headers, max_bytes, sink)
                except FileNotFoundError:
                    return Answer(url=url, status=404)

    def _read(
        self,
        sftp: "paramiko.SFTPClient",
        url: str,
        path: str,
        headers: Mapping[str, str],
        max_bytes: int,
        sink: Sink | None,
    ) -> Answer:
        pace, content_type = Pace(self._limits, url), ""
        if path.endswith("/"):
            files = {each.filename: each.st_size or 0 for each in sftp.listdir_attr(path) if _is_file(each)}
            page = next((name for name in PAGES if name in files), None)
            if page is None:
                return Answer(url=url, status=200, headers={"content-type": LISTING}, body=dump_listing(files.items()))
            path, content_type = path + page, PAGES[page]
        status = sftp.stat(path)
        if not _is_file(status):
            return Answer(url=url, status=404)
        size = status.st_size or 0
        etag = f'"{size:x}-{status.st_mtime or 0:x}"'
        if headers.get("If-None-Match") == etag:
            return Answer(url=url, status=304, headers={"etag": etag})
        asked = requested_range(headers, size)
        start, end = asked or (0, size)
        if end - start > max_bytes:
            raise TooLarge(url=redact(url), reason=f"it is larger than {max_bytes} bytes")
        stop = getattr(sftp.get_channel(), "close", lambda: None)
        with stopped_in_time(pace, stop), sftp.open(path, "rb") as file:
            chunks = _chunks(file, start, end)
            body = receive(chunks, pace=pace, url=url, max_bytes=max_bytes, sink=sink)
        told = ranged_headers(asked, size, etag, content_type)
        return Answer(url=url, status=206 if asked else 200, headers=told, body=body)

    # --- connecting --------------------------------------------------------------------------------------------------

    def _connect(self, url: str, netloc: str, hostkey: str) -> "_Connection":
        login = _read_login(netloc, url)
        password = self._access.passwords.get(netloc) or _password_for(login)
        return _Connection(self._open(url, login, hostkey, password), self._limits)

    def _open(self, url: str, login: _Login, hostkey: str, password: str | None) -> "paramiko.SSHClient":
        import paramiko

        known = read_known_hosts(_known_hosts_files(login), login.host, login.port)
        limit = self._limits.connect_timeout_s
        keys = [
            path for name in login.options.get("identityfile", ()) if os.path.isfile(path := os.path.expanduser(name))
        ]

        def attempt(secret: str | None) -> "paramiko.SSHClient":
            client = paramiko.SSHClient()
            client.set_missing_host_key_policy(make_policy(redact(url), known, hostkey))
            client.connect(
                login.host,
                port=login.port,
                username=login.user,
                password=secret,
                passphrase=os.environ.get(PASSPHRASE_VARIABLE),
                key_filename=keys,  # type: ignore[arg-type]  # the stub knows one, paramiko takes several
                look_for_keys=not keys,
                allow_agent=str(login.options.get("identitiesonly", "no")).lower() != "yes",
                sock=self._proxy(url, login),
                timeout=limit,
                banner_timeout=limit,
                auth_timeout=self._limits.read_timeout_s,
                transport_factory=make_transport(known, self._limits),
            )
            return client

        try:
            return attempt(password)
        except (paramiko.AuthenticationException, paramiko.SSHException) as error:
            is_refused = isinstance(error, paramiko.AuthenticationException) or "No authentication" in str(error)
            prompted = None if password or not is_refused else _ask(f"Password for {login.user}@{login.host}: ")
            if prompted is None:
                raise
            return attempt(prompted)

    def _proxy(self, url: str, login: _Login) -> Any:
        """Return the socket to the host through ProxyJump or ProxyCommand, None for a direct connection."""
        import paramiko

        jump = login.options.get("proxyjump", "none")
        if jump != "none":
            hops = [_read_login(hop.strip(), url) for hop in jump.split(",")]
            if len(hops) > 1:
                raise NetworkError(url=redact(url), reason="ProxyJump over more than one host is not supported")
            client = self._open(url, hops[0], "", _password_for(hops[0], is_jump=True))
            transport = client.get_transport()
            assert transport is not None  # a programming error: connect() returned
            return transport.open_channel("direct-tcpip", (login.host, login.port), ("", 0))
        command = login.options.get("proxycommand", "none")
        return None if command == "none" else paramiko.ProxyCommand(command)

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        import paramiko
        from paramiko.ssh_exception import NoValidConnectionsError

        shown = redact(url)
        try:
            yield
        except (FetchError, InvalidSource):
            raise
        except paramiko.PasswordRequiredException as error:
            raise AccessDenied(url=shown, reason=f"a key needs its passphrase ({PASSPHRASE_VARIABLE})") from error
        except paramiko.AuthenticationException as error:
            raise AccessDenied(url=shown, reason="the server accepts neither the keys nor a password") from error
        except PermissionError as error:
            raise AccessDenied(url=shown, reason="no permission to read it") from error
        except NoValidConnectionsError as error:  # one error for each address of the host
            first = next(iter(error.errors.values()))
            raise NetworkError(url=shown, reason=getattr(first, "strerror", None) or str(first)) from error
        except socket.gaierror as error:
            raise NetworkError(url=shown, reason=f"the host name {urlsplit(url).hostname} can't be resolved") from error
        except TimeoutError as error:
            raise FetchTimeout(url=shown, reason="the host did not answer in time") from error
        except paramiko.SSHException as error:
            if "No authentication methods" in str(error):
                raise AccessDenied(url=shown, reason="there is neither a key nor a password for it") from error
            raise NetworkError(url=shown, reason=f"SSH failed: {error}") from error
        except (OSError, EOFError) as error:
            raise NetworkError(url=shown, reason=getattr(error, "strerror", None) or str(error) or "hung up") from error


class _Connection:
    """One SSH connection; a channel of it serves one thread at a time."""

    def __init__(self, client: "paramiko.SSHClient", limits: Limits) -> None:
        self._client, self._limits = client, limits
        self._idle: queue.LifoQueue[paramiko.SFTPClient | None] = queue.LifoQueue()
        for _ in range(_CHANNELS):
            self._idle.put(None)  # opened when first needed

    @contextmanager
    def channel(self) -> "Iterator[paramiko.SFTPClient]":
        sftp, fresh = self._idle.get(), None
        try:
            if sftp is None:
                sftp = self._client.open_sftp()
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(self._limits.read_timeout_s)
            yield sftp
            fresh = sftp
        except FileNotFoundError:  # the channel is as good as before
            fresh = sftp
            raise
        finally:
            if fresh is None and sftp is not None:  # an answer may be under way that nobody waits for any more
                with suppress(Exception):
                    sftp.close()
            self._idle.put(fresh)

    @property
    def is_open(self) -> bool:
        """Whether it can be used: a server may have hung up."""
        transport = self._client.get_transport()
        return transport is not None and transport.is_active()


def _chunks(file: "paramiko.SFTPFile", start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from *start* to *end*, asked for ahead."""
    file.seek(start)
    if start == 0:
        file.prefetch(end)
    while start < end and (chunk := file.read(min(_CHUNK_BYTES, end - start))):
        start += len(chunk)
        yield chunk
    if start < end:
        raise EOFError("the file ended early")


def _is_file(status: "paramiko.SFTPAttributes") -> bool:
    return status.st_mode is not None and stat.S_ISREG(status.st_mode)


def _read_login(netloc: str, url: str) -> _Login:
    """Return who and where *netloc* is by ~/.ssh/config and the system's (ssh_config(5))."""
    import paramiko

    user, _, place = netloc.rpartition("@")
    parts = urlsplit(f"//{place}")
    alias = parts.hostname or ""
    # They reach ProxyCommand and Match exec, where a leading dash or a shell's characters would mean something else.
    if not _PLAIN_NAME.fullmatch(alias) or (user and not _PLAIN_NAME.fullmatch(unquote(user))):
        raise InvalidSource(source=redact(url), reason="its host or user has characters that no such name has")
    config = paramiko.SSHConfig()
    for path in map(Path, (os.path.expanduser("~/.ssh/config"), "/etc/ssh/ssh_config")):
        try:
            with path.open(encoding="utf-8") as file:
                config.parse(file)
        except OSError:
            continue
        except (paramiko.ConfigParseError, UnicodeDecodeError) as error:
            raise NetworkError(url=redact(url), reason=f"{path} can't be read: {error}") from error
    try:
        options = config.lookup(alias)
    except (ImportError, paramiko.CouldNotCanonicalize) as error:  # "Match exec" needs another library
        raise NetworkError(url=redact(url), reason=f"the ssh configuration can't be used: {error}") from error
    name = unquote(user) or options.get("user") or os.environ.get("USER") or os.environ.get("USERNAME") or "root"
    return _Login(options.get("hostname", alias), parts.port or int(options.get("port", 22)), name, options)


def _password_for(login: _Login, *, is_jump: bool = False) -> str | None:
    """Return the password of the environment, if it is for this host; it is for a jump host only if that is named."""
    host = os.environ.get(HOST_VARIABLE, "")
    is_for_it = host.lower() == login.host.lower() if host else not is_jump
    return os.environ.get(PASSWORD_VARIABLE) if is_for_it else None


def _known_hosts_files(login: _Login) -> list[Path]:
    named = login.options.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    shared = login.options.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
    return [Path(os.path.expanduser(name)) for name in re.split(r"\s+", f"{named} {shared}".strip()) if name != "none"]


def _ask(prompt: str) -> str | None:
    """Ask at the terminal, where there is one that somebody can see."""
    import getpass

    if not os.isatty(2):
        return None
    if os.name == "posix":
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            return None
    return getpass.getpass(prompt) or None
