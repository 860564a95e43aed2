"""What GitHub, GitLab and Bitbucket look like from outside: git over HTTP, ``git archive`` behind redirects, assets."""

import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest

_MARKS = {"/-/archive/": "gitlab", "/archive/": "github", "/get/": "bitbucket"}


@dataclass
class Forge:
    """Repositories below `root`, served by real git. With `token`, all of it is private.

    Archives come from another "host" (another port), as GitHub's do from codeload.
    """

    root: Path
    port: int = 0
    codeload_port: int = 0
    token: str = ""
    speaks_git: bool = True
    compression: int = 6  # of the zips; real servers change theirs without notice
    releases: dict[str, bytes] = field(default_factory=dict)  # owner/name/tag/file → asset
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # (server, path, Authorization)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sent_to(self, server: str) -> list[str]:
        """Return the paths that *server* (home or codeload) was asked for."""
        return [path for name, path, _ in self.requests if name == server]

    def git(self, path: str, *arguments: str) -> str:
        """Run git in the repository *path*; return what it prints."""
        who = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
        environ = {**os.environ, **dict.fromkeys(who, "t@index.example"), "GIT_CONFIG_GLOBAL": os.devnull}
        command = ["git", "-C", str(self.root / path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout.strip()

    def commit(self, path: str, files: dict[str, str | bytes], *, tag: str = "") -> str:
        """Commit *files* to the repository *path* (owner/name), made if need be; return the commit id."""
        folder = self.root / path
        if not folder.exists():
            folder.mkdir(parents=True)
            self.git(path, "init", "-q", "-b", "main")
        for name, content in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git(path, "add", "-A")
        self.git(path, "commit", "-q", "--allow-empty", "-m", "a step")
        if tag:
            self.git(path, "tag", "-f", "-m", tag, tag)
        return self.git(path, "rev-parse", "HEAD")

    def archive(self, path: str, ref: str, kind: str) -> bytes | None:
        """Return an archive of *ref*, None where there is no such reference."""
        try:
            commit = self.git(path, "rev-parse", "--verify", "-q", f"{ref}^{{commit}}")
        except (subprocess.CalledProcessError, FileNotFoundError):
            return None
        name = ref.removeprefix("refs/tags/").removeprefix("refs/heads/").replace("/", "-")
        name = name[1:] if name[:1] == "v" and name[1:2].isdigit() else name
        prefix = f"--prefix={path.rpartition('/')[2]}-{name}/"
        level = [f"-{self.compression}"] if kind == "zip" else []
        command = ["git", "-C", str(self.root / path), "archive", f"--format={kind}", *level, prefix, commit]
        return subprocess.run(command, capture_output=True, check=True).stdout


class _Handler(BaseHTTPRequestHandler):
    forge: ClassVar[Forge]
    protocol_version = "HTTP/1.1"

    def send(self, status: int, body: bytes = b"", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def note(self, server: str) -> str:
        """Count the request; return its path."""
        self.forge.requests.append((server, self.path, self.headers.get("Authorization", "")))
        return unquote(urlsplit(self.path).path)

    def log_message(self, *_: object) -> None:
        pass


class _Home(_Handler):
    """The host that people know."""

    def do_GET(self) -> None:
        path = self.note("home")
        if self.forge.token and not self._has_token():
            self.send(401 if path.endswith("info/refs") else 404)  # as the real one hides what is private
        elif path.endswith(".git/info/refs"):
            self._refs(self.forge.root / path.removesuffix(".git/info/refs").strip("/"))
        elif path.startswith("/assets/"):
            self.send(200, self.forge.releases[path.removeprefix("/assets/")])
        elif path.startswith("/api/v3/"):
            self._release(path)
        elif "/releases/download/" in path and not self.forge.token:
            asset = self.forge.releases.get(path.strip("/").replace("/releases/download/", "/"))
            self.send(404) if asset is None else self.send(200, asset)
        else:
            self._redirect(path)

    def _has_token(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        return self.forge.token in (base64.b64decode(value).decode() if kind == "Basic" else value)

    def _refs(self, folder: Path) -> None:
        if not self.forge.speaks_git or not folder.is_dir():
            self.send(404)
            return
        command = ["git", "upload-pack", "--http-backend-info-refs", str(folder)]
        refs = subprocess.run(command, capture_output=True, check=True).stdout
        self.send(200, b"001e# service=git-upload-pack\n0000" + refs)

    def _release(self, path: str) -> None:
        repository, _, tag = path.removeprefix("/api/v3/repos/").partition("/releases/tags/")
        mine = [name for name in self.forge.releases if name.startswith(f"{repository}/{tag}/")]
        assets = [{"name": name.rpartition("/")[2], "url": f"{self.forge.url}/assets/{name}"} for name in mine]
        self.send(200, json.dumps({"assets": assets}).encode()) if mine else self.send(404)

    def _redirect(self, path: str) -> None:
        for mark, like in _MARKS.items():
            repository, found, rest = path.removeprefix("/").partition(mark)
            if found:
                kind = "tar.gz" if rest.endswith(".tar.gz") else "zip"
                ref = rest.rpartition("/")[0] if like == "gitlab" else rest.removesuffix(f".{kind}")
                there = f"http://127.0.0.1:{self.forge.codeload_port}/{repository}/{kind}/{ref}?token=one-time-secret"
                self.send(302, location=there)
                return
        self.send(404)


class _Codeload(_Handler):
    """The host that archives come from."""

    def do_GET(self) -> None:
        path = self.note("codeload")
        for kind in ("zip", "tar.gz"):
            repository, found, ref = path.strip("/").partition(f"/{kind}/")
            if found and (data := self.forge.archive(repository, ref, kind)):
                self._send_chunks(data)
                return
        self.send(404)

    def _send_chunks(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")  # the real one gives no length
        self.end_headers()
        for at in range(0, len(data), 8192):
            chunk = data[at : at + 8192]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serve_forge(folder: Path) -> Iterator[Forge]:
    if not shutil.which("git"):
        pytest.skip("NO SERVER: no git here")
    forge = Forge(folder)
    handlers = [type(base.__name__, (base,), {"forge": forge}) for base in (_Home, _Codeload)]
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in handlers]
    forge.port, forge.codeload_port = (server.server_address[1] for server in servers)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield forge
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
