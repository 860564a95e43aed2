"""The one door out: schemes, credentials, redirects, limits."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from remote_wheel.errors import (
    AccessDenied,
    FetchTimeout,
    InsecureTransport,
    NetworkError,
    NotCached,
    NotFound,
    ServerError,
    TooLarge,
)
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.ranges import read_remote_metadata, size_of_tail
from remote_wheel.fetch.secure import is_secure_enough
from remote_wheel.settings import Limits
from tests.loopback import LoopbackIndex, serve


@pytest.fixture
def client() -> Client:
    return Client(Limits(retries=1))


def test_a_local_file_and_a_local_index(client: Client, tmp_path: Path) -> None:
    (tmp_path / "x y").write_bytes(b"data")
    (tmp_path / "simple" / "thing").mkdir(parents=True)
    (tmp_path / "simple" / "thing" / "index.html").write_bytes(b"<html>")
    assert client.fetch((tmp_path / "x y").as_uri(), max_bytes=9).body == b"data"
    answer = client.fetch((tmp_path / "simple" / "thing").as_uri() + "/", max_bytes=9)
    assert (answer.body, answer.headers["content-type"]) == (b"<html>", "text/html")
    with pytest.raises(TooLarge):
        client.fetch((tmp_path / "x y").as_uri(), max_bytes=3)
    with pytest.raises(NotFound):
        client.fetch((tmp_path / "nothing").as_uri(), max_bytes=9)
    assert client.fetch((tmp_path / "nothing").as_uri() + "/", max_bytes=9, may_be_missing=True).status == 404


def test_offline_is_shut(index: LoopbackIndex) -> None:
    with pytest.raises(NotCached):
        Client(Limits(), is_offline=True).fetch(index.url, max_bytes=1)
    assert index.requests == []


def test_credentials_stay_with_their_host(index: LoopbackIndex, client: Client) -> None:
    index.extra["/x"] = b"secret thing"
    index.user = "me:p@ss"
    with pytest.raises(AccessDenied):
        client.fetch(f"{index.root}x", max_bytes=99)
    clean = client.learn(f"http://me:p%40ss@127.0.0.1:{index.port}/x")
    assert clean == f"{index.root}x"
    assert client.fetch(clean, max_bytes=99).body == b"secret thing"
    with serve(LoopbackIndex()) as other:
        other.user = "me:p@ss"
        index.redirects["/y"] = f"http://localhost:{other.port}/x"
        with pytest.raises(AccessDenied):  # the redirect went there without them
            client.fetch(f"{index.root}y", max_bytes=99)
        assert other.requests == [("/x", 401)]


def test_redirects(index: LoopbackIndex, client: Client) -> None:
    index.extra["/new"] = b"moved"
    index.redirects["/old"] = "/new"
    answer = client.fetch(f"{index.root}old", max_bytes=99)
    assert (answer.body, answer.url) == (b"moved", f"{index.root}new")
    index.redirects["/loop"] = "/loop"
    with pytest.raises(ServerError, match="redirects"):
        client.fetch(f"{index.root}loop", max_bytes=99)
    index.redirects["/nowhere"] = "gopher://x/"
    with pytest.raises(ServerError, match="redirects to gopher:"):
        client.fetch(f"{index.root}nowhere", max_bytes=99)


def test_statuses_are_retried_only_where_it_helps(index: LoopbackIndex, client: Client) -> None:
    index.statuses["/busy"], index.statuses["/no"] = 503, 403
    with pytest.raises(ServerError):
        client.fetch(f"{index.root}busy", max_bytes=9)
    with pytest.raises(AccessDenied):
        client.fetch(f"{index.root}no", max_bytes=9)
    assert (index.count("/busy"), index.count("/no")) == (2, 1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/", True),
        ("http://h/", False),
        ("http://localhost:1/", True),
        ("http://127.8.9.1/", True),
        ("http://[::1]/", True),
        ("http://10.0.0.1/", False),
        ("file:///x", True),
    ],
)
def test_what_is_believed_without_a_hash(url: str, expected: bool) -> None:
    assert is_secure_enough(url) is expected


def test_plain_http_needs_a_hash(client: Client) -> None:
    with pytest.raises(InsecureTransport):
        client.fetch("http://index.example/x", max_bytes=1)


def test_ranges(index: LoopbackIndex, client: Client) -> None:
    file = index.add("thing", "1")
    url, size = index.file_url(file), len(file.data)
    limit = 10_000
    assert read_remote_metadata(client, url, size=size, tail=file.data[-30:], max_bytes=limit) == file.metadata
    assert size_of_tail("bytes 113-122/123", 10) == 123
    assert size_of_tail("bytes 0-9/123", 10) is None
    assert size_of_tail("bytes 113-122/123", 11) is None
    assert size_of_tail("pages 1-2", 2) is None
    index.has_ranges = False
    with pytest.raises(ServerError, match="stopped answering range requests"):
        read_remote_metadata(client, url, size=size, tail=file.data[-30:], max_bytes=limit)


def test_no_cookie_is_taken_or_sent(client: Client) -> None:
    """By the rules of cookies they would reach other ports of the host, and hosts beside it."""
    came: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.headers.get("Cookie"))
            self.send_response(302 if self.path == "/first" else 200)
            self.send_header("Set-Cookie", "session=s3cret; Path=/")
            self.send_header("Location", f"http://127.0.0.1:{servers[1].server_port}/second")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    servers = [HTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    try:
        for path in ("first", "again"):
            client.fetch(f"http://127.0.0.1:{servers[0].server_port}/{path}", max_bytes=9)
        client.fetch(f"http://127.0.0.1:{servers[1].server_port}/last", max_bytes=9)
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
    assert came == [None] * 4


def test_a_bucket_that_drips_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library reads until a piece is whole, and each byte is in time."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            for _ in range(300):
                try:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    limits = Limits(patience_s=1.0, read_timeout_s=5.0, retries=0)
    started_s = time.monotonic()
    try:
        with pytest.raises(FetchTimeout, match="bytes came in 1 s"):
            Client(limits).fetch("s3://bucket/x", max_bytes=200_000)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert time.monotonic() - started_s < 8


def test_tls_is_verified_and_not_left(index: LoopbackIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index.extra["/x"] = b"plain"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("Location", f"{index.root}x")
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"secure")

        def log_message(self, *_args: object) -> None:
            pass

    authority, own = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(own))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        root = f"https://127.0.0.1:{server.server_port}"
        with pytest.raises(NetworkError, match="certificate"):
            Client(Limits(retries=0)).fetch(f"{root}/x", max_bytes=9)
        monkeypatch.setenv("SSL_CERT_FILE", str(own))
        known = Client(Limits(retries=0))
        assert known.fetch(f"{root}/x", max_bytes=9).body == b"secure"
        with pytest.raises(NetworkError, match=r"certificate|doesn't match|not valid"):
            known.fetch(f"https://localhost:{server.server_port}/x", max_bytes=9)
        with pytest.raises(InsecureTransport, match="redirects from https to plain http"):
            known.fetch(f"{root}/away", max_bytes=9)
        index.redirects["/up"] = f"{root}/x"
        assert known.fetch(f"{index.root}up", max_bytes=9).body == b"secure"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert index.requests == [("/up", 302)]
