"""A real simple index on loopback, with switches for what real servers lack, that counts what it is asked."""

import base64
import hashlib
import html
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from fixtures.wheels import make_wheel

JSON = "application/vnd.pypi.simple.v1+json"


@dataclass
class IndexedFile:
    """A file of the index and what its page says of it."""

    filename: str
    data: bytes
    metadata: bytes = b""
    requires_python: str = ""
    yanked: str | None = None
    sha256: str = ""  # what the page states; empty: the truth
    upload_time: str = ""


@dataclass
class LoopbackIndex:
    """The index. Change its fields before or between requests."""

    speaks_json: bool = True
    has_metadata: bool = True
    has_ranges: bool = True
    no_suffix_ranges: bool = False  # answers "the last N bytes" with 416, as some object stores do
    has_hashes: bool = True
    has_etag: bool = True
    cache_control: str = ""
    last_modified: str = ""  # of all that it has
    user: str = ""  # "user:password" demands basic authentication
    files: dict[str, list[IndexedFile]] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)  # path → content
    content_types: dict[str, str] = field(default_factory=dict)  # of these, by path
    statuses: dict[str, int] = field(default_factory=dict)  # path → status answered instead
    status_body: bytes = b""  # what comes with it
    redirects: dict[str, str] = field(default_factory=dict)  # path → Location
    cut: dict[str, int] = field(default_factory=dict)  # path → bytes after which the connection is closed
    hang_s: float = 0.0
    drip_s: float = 0.0  # between pieces of 64 KiB of a file
    requests: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # the paths as they came, with their queries
    status_of: dict[str, tuple[str, str]] = field(default_factory=dict)  # project → status and reason (PEP 792)
    html_at: dict[str, str] = field(default_factory=dict)  # path → an HTML page that is none of a project
    json_of: dict[str, str] = field(default_factory=dict)  # project → JSON answered instead of its page
    pages_of: dict[str, str] = field(default_factory=dict)  # project → HTML answered instead of its page
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def add(self, name: str, version: str, files: Any = None, **recipe: Any) -> IndexedFile:
        """Add a wheel by recipe; `requires_python`, as in the real world, goes to page and METADATA."""
        facts = {key: recipe.pop(key) for key in ("yanked", "sha256", "upload_time") if key in recipe}
        filename, data = make_wheel(name, version, files, **recipe)
        return self.add_file(name, filename, data, requires_python=recipe.get("requires_python", ""), **facts)

    def add_file(self, name: str, filename: str, data: bytes, **facts: Any) -> IndexedFile:
        """Add any file to the project's page."""
        file = IndexedFile(filename, data, _metadata_of(data) if filename.endswith(".whl") else b"", **facts)
        self.files.setdefault(name.lower().replace("_", "-"), []).append(file)
        return file

    def file_url(self, file: IndexedFile) -> str:
        return f"{self.root}files/{file.filename}"

    def count(self, part: str = "") -> int:
        """Return how many requests had *part* in their path."""
        return sum(part in path for path, _ in self.requests)

    def pages(self) -> int:
        return self.count("/simple/")

    def wheels(self) -> int:
        return sum(path.endswith(".whl") for path, _ in self.requests)

    def metadata_files(self) -> int:
        return self.count(".metadata")

    def json_page(self, project: str) -> bytes:
        files = []
        for file in self.files[project]:
            entry: dict[str, Any] = {
                "filename": file.filename,
                "url": f"../../files/{file.filename}",
                "hashes": {"sha256": file.sha256 or hashlib.sha256(file.data).hexdigest()} if self.has_hashes else {},
                "size": len(file.data),
            }
            if file.requires_python:
                entry["requires-python"] = file.requires_python
            if file.yanked is not None:
                entry["yanked"] = file.yanked or True
            if file.upload_time:
                entry["upload-time"] = file.upload_time
            if self.has_metadata and file.metadata:
                entry["core-metadata"] = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
            files.append(entry)
        page: dict[str, Any] = {"meta": {"api-version": "1.4"}, "name": project, "versions": [], "files": files}
        if project in self.status_of:
            status, reason = self.status_of[project]
            page["project-status"] = {"status": status, "reason": reason}
        return json.dumps(page).encode()

    def html_page(self, project: str) -> bytes:
        rows = []
        for file in self.files[project]:
            digest = file.sha256 or hashlib.sha256(file.data).hexdigest()
            fragment = f"#sha256={digest}" if self.has_hashes else ""
            attributes = f' data-requires-python="{html.escape(file.requires_python)}"' if file.requires_python else ""
            attributes += f' data-yanked="{file.yanked}"' if file.yanked else " data-yanked" * (file.yanked == "")
            if self.has_metadata and file.metadata:
                attributes += f' data-core-metadata="sha256={hashlib.sha256(file.metadata).hexdigest()}"'
            rows.append(f'<a href="../../files/{file.filename}{fragment}"{attributes}>{file.filename}</a><br>')
        status, reason = self.status_of.get(project, ("active", ""))
        head = f'<head><meta name="pypi:project-status" content="{status}">'
        head += f'<meta name="pypi:project-status-reason" content="{html.escape(reason)}"></head>'
        return (f"<!DOCTYPE html><html>{head}<body>" + "\n".join(rows) + "</body></html>").encode()

    def find(self, path: str, accept: str) -> tuple[bytes, str] | None:
        """Return (content, content type) of a path."""
        if path in self.html_at:
            return self.html_at[path].encode(), "text/html"
        if path in self.extra:
            return self.extra[path], self.content_types.get(path, "application/octet-stream")
        parts = path.strip("/").split("/")
        if parts[0] == "simple" and len(parts) == 2 and parts[1] in self.pages_of:
            return self.pages_of[parts[1]].encode(), "text/html"
        if parts[0] == "simple" and len(parts) == 2 and parts[1] in self.files:
            if parts[1] in self.json_of:
                return self.json_of[parts[1]].encode(), JSON
            if self.speaks_json and "json" in accept:
                return self.json_page(parts[1]), JSON
            return self.html_page(parts[1]), "text/html; charset=utf-8"
        if parts[0] == "files" and len(parts) == 2:
            for file in (file for files in self.files.values() for file in files):
                if parts[1] == file.filename:
                    return file.data, "application/octet-stream"
                if parts[1] == f"{file.filename}.metadata" and self.has_metadata:
                    return file.metadata, "application/octet-stream"
        return None


def _metadata_of(data: bytes) -> bytes:
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return next((archive.read(n) for n in archive.namelist() if n.endswith(".dist-info/METADATA")), b"")
    except zipfile.BadZipFile:
        return b""


class _Handler(BaseHTTPRequestHandler):
    index: LoopbackIndex
    lock: threading.Lock
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.index.asked.append(self.path)
        path = unquote(self.path.partition("?")[0])
        if self.index.hang_s:
            threading.Event().wait(self.index.hang_s)
        if self.index.user:
            expected = "Basic " + base64.b64encode(self.index.user.encode()).decode()
            if self.headers.get("Authorization") != expected:
                return self._send(401, b"", {})
        if path in self.index.redirects:
            return self._send(302, b"", {"Location": self.index.redirects[path]})
        if path in self.index.statuses:
            return self._send(self.index.statuses[path], self.index.status_body, {})
        return self._answer_file(path)

    def _answer_file(self, path: str) -> None:
        found = self.index.find(path, self.headers.get("Accept", ""))
        if found is None:
            return self._send(404, b"", {})
        body, content_type = found
        headers = {"Content-Type": content_type}
        if self.index.cache_control:
            headers["Cache-Control"] = self.index.cache_control
        if self.index.has_etag:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if self.headers.get("If-None-Match") == headers["ETag"]:
                return self._send(304, b"", headers)
        if self.index.last_modified:
            headers["Last-Modified"] = self.index.last_modified
            if self.headers.get("If-Modified-Since") == self.index.last_modified:
                return self._send(304, b"", headers)
        is_same = self.headers.get("If-Range") in (None, headers.get("ETag"))
        if "Range" in self.headers and is_same and self.index.has_ranges and path.endswith(".whl"):
            return self._answer_range(body, headers)
        return self._send(200, body, headers, cut=self.index.cut.get(path))

    def _answer_range(self, body: bytes, headers: dict[str, str]) -> None:
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        if not first and self.index.no_suffix_ranges:
            return self._send(416, b"", {})
        start = int(first) if first else max(0, len(body) - int(last))
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return self._send(206, body[start : end + 1], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        with self.lock:  # before it is sent, so that who has the answer finds it counted
            self.index.requests.append((unquote(self.path.partition("?")[0]), status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body if cut is None else body[:cut]
        if self.index.drip_s and len(body) > 1 << 16:
            for at in range(0, len(body), 1 << 16):
                self.wfile.write(body[at : at + (1 << 16)])
                threading.Event().wait(self.index.drip_s)
        else:
            self.wfile.write(body)
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that went away is what some tests are about


@contextmanager
def serve(index: LoopbackIndex) -> Iterator[LoopbackIndex]:
    """Serve *index* on a free port of 127.0.0.1 until the context ends."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index, "lock": threading.Lock()}))
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
