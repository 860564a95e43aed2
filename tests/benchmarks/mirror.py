"""A loopback mirror of pip's default index: pages and metadata fetched once and kept, answered with a stated delay.

So that every tool of a benchmark sees the same real index, over the same link, and can be counted.
"""

import hashlib
import html
import io
import json
import os
import re
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import requests

from remote_wheel.settings import find_default_index

JSON = "application/vnd.pypi.simple.v1+json"


class Mirror:
    """What is mirrored into *folder*. `asked` counts requests by kind: page, metadata (or a part of a file), file."""

    def __init__(self, folder: Path, rtt_s: float) -> None:
        self.folder, self.rtt_s, self.port = folder, rtt_s, 0
        self.asked: Counter[str] = Counter()
        self._upstream = find_default_index(os.environ).rstrip("/")
        self._session = requests.Session()
        self._urls: dict[str, str] = {}
        self._pages: dict[str, bytes] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def page(self, project: str) -> bytes | None:
        """Return a project's page with the files' URLs led here, None where there is no such project."""
        if project in self._pages:
            return self._pages[project]
        body = self._kept(f"page-{project}", f"{self._upstream}/{project}/", {"Accept": JSON})
        if body is None:
            return None
        page = json.loads(body)
        for file in page["files"]:
            key = hashlib.sha256(file["url"].encode()).hexdigest()[:16]
            self._urls[key] = file["url"]
            file["url"] = f"http://127.0.0.1:{self.port}/files/{key}/{file['filename']}"
            if file["filename"].endswith(".whl"):  # PEP 658, as PyPI has it, whether or not the mirrored index does
                file["core-metadata"] = True
        self._pages[project] = json.dumps(page).encode()
        return self._pages[project]

    def file(self, key: str, name: str) -> bytes | None:
        """Return a wheel, or its metadata."""
        url = self._urls.get(key)
        if url is None:
            return None
        wheel_name = name.removesuffix(".metadata")
        if name == wheel_name:
            return self._kept(f"file-{key}-{name[-80:]}", url, {})
        path = self.folder / f"metadata-{key}"
        if not path.exists():
            wheel = self._kept(f"file-{key}-{wheel_name[-80:]}", url, {})
            if wheel is None:
                return None
            with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
                (member,) = (each for each in archive.namelist() if re.fullmatch(r"[^/]+.dist-info/METADATA", each))
                self._write(path, archive.read(member))
        return path.read_bytes()

    def _kept(self, name: str, url: str, headers: dict[str, str]) -> bytes | None:
        path = self.folder / name
        if not path.exists():
            answer = self._session.get(url, headers=headers, timeout=60)
            if answer.status_code not in (200, 404):
                answer.raise_for_status()
            self._write(path, answer.content if answer.status_code == 200 else b"")
        return path.read_bytes() or None

    def _write(self, path: Path, data: bytes) -> None:
        staging = path.with_suffix(f".{threading.get_ident()}")
        staging.write_bytes(data)
        os.replace(staging, path)


def _as_html(page: bytes) -> bytes:
    """Return a page as HTML (PEP 503)."""
    lines = ["<!DOCTYPE html><html><body>"]
    for file in json.loads(page)["files"]:
        digest = file["hashes"].get("sha256")
        attributes = (
            f' data-requires-python="{html.escape(file["requires-python"])}"' if file.get("requires-python") else ""
        )
        lines.append(
            f'<a href="{file["url"]}{f"#sha256={digest}" if digest else ""}"{attributes}>{file["filename"]}</a>'
        )
    return "\n".join((*lines, "</body></html>")).encode()


class _Handler(BaseHTTPRequestHandler):
    mirror: ClassVar[Mirror]
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one segment, as servers do
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[0] == "simple":
            kind, body, content_type = "page", self.mirror.page(parts[1]), JSON
            if body and JSON not in self.headers.get("Accept", ""):  # the pip inside of pex
                body, content_type = _as_html(body), "text/html"
        else:
            is_part = parts[-1].endswith(".metadata") or "Range" in self.headers
            kind = "metadata" if is_part else "file"
            body, content_type = self.mirror.file(parts[1], parts[-1]), "application/octet-stream"
        self.mirror.asked[kind] += 1
        time.sleep(self.mirror.rtt_s)
        self._answer(body, content_type)

    def _answer(self, body: bytes | None, content_type: str) -> None:
        etag = f'"{hashlib.sha256(body or b"").hexdigest()[:20]}"'
        is_known = self.headers.get("If-None-Match") == etag
        status = 404 if body is None else 304 if is_known else 200
        data = body if body and not is_known else b""
        start = 0
        if status == 200 and (asked := self.headers.get("Range", "").removeprefix("bytes=")):
            first, _, last = asked.partition("-")
            start = int(first) if first else max(0, len(data) - int(last))
            end = int(last) + 1 if first and last else len(data)
            status, total, data = 206, len(data), data[start:end]
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", etag)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{total}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path, rtt_s: float) -> Iterator[Mirror]:
    mirror = Mirror(folder, rtt_s)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mirror": mirror}))
    server.request_queue_size = 128
    server.daemon_threads = True
    mirror.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
