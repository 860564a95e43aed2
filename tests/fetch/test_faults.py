"""A network that fails for a moment: what was asked for still comes, and is what was promised."""

import random
from collections.abc import Iterator

import pytest

from remote_wheel.errors import FetchTimeout, InsecureTransport, NetworkError, ServerError
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.port import HttpOptions, Pace
from remote_wheel.settings import Limits
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.faults import Fault, FaultProxy, serve_faults

LARGE = 1_000_000
PAGE, METADATA, WHEEL = "/simple/thing/", ".metadata", ".whl"
TRANSIENT = [
    Fault(PAGE, "refuse"),
    Fault(PAGE, "refuse", times=2),
    Fault(PAGE, "reset", 100),
    Fault(PAGE, "truncate", 100),
    Fault(PAGE, "stall", 100),
    Fault(PAGE, "corrupt", 100),
    Fault(PAGE, "status", 429),
    Fault(PAGE, "status", 500),
    Fault(PAGE, "status", 503, times=2),
    Fault(METADATA, "refuse"),
    Fault(METADATA, "reset", 20),
    Fault(METADATA, "truncate", 20),
    Fault(METADATA, "stall", 20),
    Fault(METADATA, "corrupt", 20),
    Fault(METADATA, "status", 502),
    Fault(WHEEL, "refuse"),
    Fault(WHEEL, "reset", 0),
    Fault(WHEEL, "reset", LARGE // 2),
    Fault(WHEEL, "truncate", LARGE // 2, times=2),
    Fault(WHEEL, "truncate", LARGE),
    Fault(WHEEL, "stall", LARGE // 2),
    Fault(WHEEL, "stall", 0),
    Fault(WHEEL, "corrupt", LARGE // 2),
    Fault(WHEEL, "status", 503),
    Fault(WHEEL, "status", 504),
]


@pytest.fixture
def proxy(index: LoopbackIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy in front of an index that has a small page and a large wheel; the default index of processes."""
    noise = random.Random(1).randbytes(LARGE)
    index.add("thing", "1", {"thing/__init__.py": "V = 1\n", "thing/noise.bin": noise})
    with serve_faults(index.port) as running:
        monkeypatch.setenv("REMOTE_WHEEL_INDEX_URL", running.url)
        yield running


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: f"{fault.part}-{fault.kind}-{fault.at}-{fault.times}")
def test_transient_faults_are_got_over(proxy: FaultProxy, python: Python, fault: Fault) -> None:
    proxy.faults = [Fault(fault.part, fault.kind, fault.at, fault.times)]
    done = python("import remote_wheel; print(remote_wheel.require('thing', timeout_s=0.5).V)")
    assert done.stdout == "1\n"
    assert not proxy.faults[0].times, "the fault was not met: the test proves nothing"


class Received:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.data, self.restarts = bytearray(), 0

    def restart(self) -> None:
        self.data.clear()
        self.restarts += 1

    def write(self, chunk: bytes) -> None:
        self.data += chunk


@pytest.fixture
def client() -> Client:
    return Client(Limits(read_timeout_s=0.5))


def fetch_wheel(client: Client, proxy: FaultProxy) -> Received:
    sink = Received()
    url = f"http://127.0.0.1:{proxy.port}/files/thing-1-py3-none-any.whl"
    answer = client.fetch(url, headers={"Accept-Encoding": "identity"}, max_bytes=9_000_000, sink=sink)
    assert (answer.status, answer.url) == (200, url)
    return sink


def test_a_large_download_goes_on_where_it_broke_off(proxy: FaultProxy, index: LoopbackIndex, client: Client) -> None:
    wheel = index.files["thing"][0].data
    proxy.faults = [Fault(WHEEL, "truncate", 600_000), Fault(WHEEL, "reset", 200_000)]
    sink = fetch_wheel(client, proxy)
    assert bytes(sink.data) == wheel
    assert sink.restarts == 1
    assert [asked for _, asked in proxy.seen][:2] == ["", "bytes=524288-"]
    assert proxy.sent_bytes < len(wheel) + 600_000  # what was under way is sent twice, the rest is not


def test_another_file_starts_over(proxy: FaultProxy, index: LoopbackIndex, client: Client) -> None:
    """A changed ETag, a server without one, and a range that is another one than was asked for."""
    wheel = index.files["thing"][0].data
    proxy.faults = [Fault(WHEEL, "truncate", 600_000), Fault(WHEEL, "wrong-range")]
    sink = fetch_wheel(client, proxy)
    assert (bytes(sink.data), [asked for _, asked in proxy.seen]) == (wheel, ["", "bytes=524288-", ""])
    proxy.seen.clear()
    index.has_etag = False
    proxy.faults = [Fault(WHEEL, "truncate", 600_000)]
    sink = fetch_wheel(client, proxy)
    assert (bytes(sink.data), [asked for _, asked in proxy.seen]) == (wheel, ["", ""])
    index.has_etag = True
    proxy.seen.clear()
    # A server that sends a part of another file, whatever it was told to compare: nothing is joined.
    proxy.faults = [Fault(WHEEL, "truncate", 600_000), Fault(WHEEL, "new-etag")]
    sink = fetch_wheel(client, proxy)
    assert (bytes(sink.data), [asked for _, asked in proxy.seen]) == (wheel, ["", "bytes=524288-", ""])
    proxy.faults = [Fault(WHEEL, "truncate", 600_000)]

    class Changing(Received):
        def write(self, chunk: bytes) -> None:
            super().write(chunk)
            index.files["thing"][0].data = b"another file"

    changed = Changing()
    url = f"http://127.0.0.1:{proxy.port}/files/thing-1-py3-none-any.whl"
    client.fetch(url, headers={"Accept-Encoding": "identity"}, max_bytes=9_000_000, sink=changed)
    assert bytes(changed.data) == b"another file"


@pytest.mark.slow
def test_what_never_comes_ends_with_our_error(proxy: FaultProxy, client: Client) -> None:
    url = f"http://127.0.0.1:{proxy.port}/files/thing-1-py3-none-any.whl"
    proxy.faults = [Fault(WHEEL, "truncate", 100, times=99)]
    with pytest.raises(NetworkError, match="the answer broke off"):
        client.fetch(url, max_bytes=9_000_000)
    proxy.faults = [Fault(WHEEL, "stall", 100, times=99)]
    with pytest.raises(FetchTimeout):
        client.fetch(url, max_bytes=9_000_000)
    proxy.faults = [Fault(WHEEL, "status", 503, times=99)]
    with pytest.raises(ServerError, match="503"):
        client.fetch(url, max_bytes=9_000_000)


@pytest.mark.parametrize("kind", ["drip", "slow-head", "continue"])
def test_a_byte_at_a_time_ends_with_the_total_time(proxy: FaultProxy, index: LoopbackIndex, kind: str) -> None:
    """No single wait is long; all of it is bounded, in the head as in the body."""
    proxy.faults = [Fault(WHEEL, kind, times=99)]
    index.extra["/small.whl"] = bytes(300)  # which would take fifteen seconds, and then be there
    client = Client(Limits(read_timeout_s=5, patience_s=1))
    with pytest.raises(FetchTimeout, match=r"only \d+ bytes came in \d s \(16384 a second are the least"):
        client.fetch(f"http://127.0.0.1:{proxy.port}/small.whl", max_bytes=9_000_000)
    assert proxy.sent_bytes < 200  # it was not waited for the rest


def test_the_time_that_a_request_has_grows_with_what_has_come() -> None:
    """A large file over a slow line is no fault of the server's."""
    limits = Limits()
    assert limits.patience_s == 60  # as long as a page may take that never comes
    pace = Pace(limits, "https://index.example/x")
    before_s = pace.until_s
    pace.take(1 << 30)
    assert pace.until_s - before_s == (1 << 30) / limits.least_bytes_s


def test_redirects(index: LoopbackIndex, client: Client) -> None:
    index.extra["/x"] = b"x"
    index.redirects["/to-ftp"] = "ftp://127.0.0.1/x"
    index.redirects["/to-file"] = "file:///etc/hostname"
    index.redirects["/with-user"] = f"http://me:secret@127.0.0.1:{index.port}/x"
    index.redirects["/loop"] = "/loop"
    for path in ("to-ftp", "to-file"):
        with pytest.raises(ServerError, match="which is not followed"):
            client.fetch(f"{index.root}{path}", max_bytes=9)
    assert client.fetch(f"{index.root}with-user", max_bytes=9).url == f"{index.root}x"
    with pytest.raises(ServerError, match="more than 10 redirects"):
        client.fetch(f"{index.root}loop", max_bytes=9)


def test_a_redirect_to_plain_http_is_refused_before_it_is_asked(index: LoopbackIndex) -> None:
    import requests

    from remote_wheel.fetch.http import HttpTransport

    response = requests.Response()
    response.status_code, response.url = 302, "https://index.example/x"
    response.headers["Location"] = f"{index.root}x"
    session = HttpTransport(HttpOptions())._session
    with pytest.raises(InsecureTransport, match="redirects from https to plain http"):
        session.get_redirect_target(response)
    assert index.requests == []
    assert session.should_strip_auth("http://h.example/", "https://h.example/")
    assert session.should_strip_auth("https://h.example/", "https://h.example:8443/")
    assert not session.should_strip_auth("https://h.example/", "https://h.example:443/x")


def test_a_url_that_two_readers_see_two_hosts_in(index: LoopbackIndex, client: Client) -> None:
    for url in ("https://evil.example\\@index.example/x", "https://index.example \t@evil.example/x"):
        with pytest.raises(ServerError, match="which host it means"):
            client.fetch(url, max_bytes=9, is_held_by_hash=True)
    index.redirects["/x"] = "https://evil.example\\@index.example/x"
    with pytest.raises(ServerError, match="which host it means"):
        client.fetch(f"{index.root}x", max_bytes=9)


def test_buckets_are_no_hosts() -> None:
    from remote_wheel.fetch.secure import is_host_allowed

    allowed = ["index.example", "*.files.example", "s3://bucket"]
    assert is_host_allowed("https://index.example/x", allowed)
    assert is_host_allowed("https://a.b.files.example:8443/x", allowed)
    assert is_host_allowed("s3://bucket/x", allowed)
    for url in ("s3://index.example/x", "gs://index.example/x", "https://files.example/x", "https://xfiles.example/"):
        assert not is_host_allowed(url, allowed), url


def test_netrc_is_for_the_usual_place_alone(index: LoopbackIndex) -> None:
    from remote_wheel.fetch.http import HttpTransport

    transport = HttpTransport(HttpOptions(insecure_hosts=["lab.example"]))
    asked = {url: transport._may_use_netrc(url) for url in (
        "https://corp.example/x", "https://corp.example:443/x", "https://corp.example:8443/x", "http://corp.example/x",
        "http://corp.example:81/x", "http://lab.example/x", index.url,
    )}  # fmt: skip
    assert list(asked.values()) == [True, True, False, False, False, True, True]
    own = HttpTransport(HttpOptions(named=[("https", "corp.example:8443")]))
    assert own._may_use_netrc("https://corp.example:8443/files/x")  # of an index that the user gave
    assert not own._may_use_netrc("https://corp.example:9443/x")
    assert not own._may_use_netrc("http://corp.example:8443/x")


def test_the_body_of_a_redirect_is_not_read(index: LoopbackIndex) -> None:
    import requests

    from remote_wheel.fetch.http import HttpTransport

    class Body:
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"the body is looked at: {name}")

    response, body = requests.Response(), Body()
    response.status_code, response.url, response.raw = 302, index.url, body
    response.headers["Location"] = f"{index.root}x"
    session = HttpTransport(HttpOptions())._session
    session.check_host = lambda _: None
    assert session.get_redirect_target(response) == f"{index.root}x"
    assert response.content == b""
    assert body.is_closed


def test_an_answer_that_nobody_asked_for(index: LoopbackIndex, client: Client) -> None:
    index.statuses["/x"] = 304
    with pytest.raises(ServerError, match="304"):
        client.fetch(f"{index.root}x", max_bytes=9)
    index.statuses["/x"] = 206
    with pytest.raises(ServerError, match="206"):
        client.fetch(f"{index.root}x", max_bytes=9)
