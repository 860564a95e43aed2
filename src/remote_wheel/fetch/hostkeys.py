"""Which SSH host keys are believed: those of known_hosts (sshd(8)), or the one the user named. No others, ever."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from remote_wheel.errors import UntrustedHost
from remote_wheel.settings import Limits

if TYPE_CHECKING:
    import paramiko


class KnownHosts(NamedTuple):
    """What the files say of one host: keys as (type, blob), the blobs of revoked keys, and the files' names."""

    keys: tuple[tuple[str, bytes], ...]
    revoked: frozenset[bytes]
    files: tuple[str, ...]


def read_known_hosts(paths: Iterable[Path], host: str, port: int) -> KnownHosts:
    """Read what is known of *host*; files that are not there know nothing, lines that can't be read are skipped."""
    name = (host if port == 22 else f"[{host}]:{port}").lower()
    keys: list[tuple[str, bytes]] = []
    revoked: set[bytes] = set()
    files: list[str] = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        files.append(str(path))
        for marker, kind, blob in _entries(lines, name):
            if marker == "@revoked":
                revoked.add(blob)
            elif not marker:  # certificates of a host (@cert-authority) are beyond paramiko
                keys.append((kind, blob))
    return KnownHosts(tuple(keys), frozenset(revoked), tuple(files))


def _entries(lines: Iterable[str], name: str) -> Iterator[tuple[str, str, bytes]]:
    for line in lines:
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if len(fields) < 3 or not _matches(fields[0], name):
            continue
        try:
            yield marker, fields[1], base64.b64decode(fields[2], validate=True)
        except (binascii.Error, ValueError):
            continue


def _matches(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in patterns[3:].split("|"))
        except (ValueError, binascii.Error):
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
    found = False
    for pattern in patterns.lower().split(","):
        is_negated, glob = pattern.startswith("!"), pattern.removeprefix("!").replace("[", "[[]")
        if fnmatchcase(name, glob):
            if is_negated:
                return False
            found = True
    return found


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint as OpenSSH prints it: SHA256:…"""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def make_policy(shown: str, known: KnownHosts, stated: str) -> "paramiko.MissingHostKeyPolicy":
    """Return the check of a server's key: the fingerprint *stated* if there is one, else the known hosts.

    paramiko calls it for every server, as it is given no known hosts of its own. It raises UntrustedHost.
    """
    import paramiko

    class Check(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            blob = key.asbytes()
            shows = fingerprint(blob)
            if blob in known.revoked:
                raise UntrustedHost(url=shown, reason=f"its host key {shows} is marked as revoked", fingerprint=shows)
            if stated:
                if not hmac.compare_digest(shows, stated):
                    reason = f"its host key is {shows}, not {stated} as stated"
                    raise UntrustedHost(url=shown, reason=reason, fingerprint=shows)
                return
            if any(blob == each for _, each in known.keys):
                return
            if same := [each for kind, each in known.keys if kind == key.get_name()]:
                reason = f"its host key has changed: it shows {shows}, and known is {fingerprint(same[0])}"
                raise UntrustedHost(url=shown, reason=reason, fingerprint=shows)
            reason = f"the host key of {hostname}, {shows}, is not known"
            raise UntrustedHost(url=shown, reason=reason, fingerprint=shows)

    return Check()


def make_transport(known: KnownHosts, limits: Limits) -> Callable[..., "paramiko.Transport"]:
    """Return paramiko's transport with the key types first that are known of the host, so that it shows that one."""
    import paramiko

    def make(sock: Any, **options: Any) -> paramiko.Transport:
        transport = paramiko.Transport(sock, **options)
        security = transport.get_security_options()
        kinds = {kind for kind, _ in known.keys}
        if "ssh-rsa" in kinds:  # one key, three signatures (RFC 8332)
            kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
        offered = tuple(security.key_types)
        security.key_types = sorted(offered, key=lambda kind: (kind not in kinds, offered.index(kind)))
        transport.channel_timeout = limits.connect_timeout_s
        return transport

    return make
