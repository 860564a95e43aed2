"""A proxy in front of a loopback server that breaks answers, each fault a given number of times."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_PIECE: Final = 64 * 1024


@dataclass
class Fault:
    """What happens to answers to requests whose path ends in *part*, as long as *times* lasts.

    `kind`: reset, truncate, stall, drip (a byte each 50 ms) or corrupt, behind *at* bytes of the body; reset before any
    byte ("refuse"); an answer of its own ("status", *at* is its code); "slow-head", a byte of the head each 50 ms;
    "continue", one provisional answer (100) after the other; "wrong-range", the range is said to begin a byte later;
    "new-etag", the ETag is another one.
    """

    part: str
    kind: str
    at: int = 0
    times: int = 1


@dataclass
class FaultProxy:
    """Answers for *upstream*. `seen` has the (path, Range header) of each request, `sent_bytes` counts bodies,
    and what drips."""

    upstream: int
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    sent_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def take(self, path: str) -> Fault | None:
        """Return the fault that a request for *path* meets, and count it."""
        with self._lock:
            for fault in self.faults:
                if path.partition("?")[0].endswith(fault.part) and fault.times:
                    fault.times -= 1
                    return fault
        return None


def _answer(proxy: FaultProxy, client: socket.socket, stop: threading.Event) -> None:
    with client:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = client.recv(_PIECE)
            if not piece:
                return
            request += piece
        lines = request.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        asked = next((line.partition(": ")[2] for line in lines if line.lower().startswith("range:")), "")
        proxy.seen.append((path, asked))
        fault = proxy.take(path)
        if fault and fault.kind == "refuse":
            _reset(client)
            return
        if fault and fault.kind == "status":
            client.sendall(f"HTTP/1.1 {fault.at} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        kept = [line for line in lines if not line.lower().startswith("connection:")]
        whole = _ask(proxy.upstream, "\r\n".join([*kept, "Connection: close"]).encode("latin-1") + b"\r\n\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        head += b"\r\nConnection: close\r\n\r\n"
        _send(proxy, client, head, body, fault, stop)


def _ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as upstream:
        upstream.sendall(request)
        pieces = []
        while piece := upstream.recv(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)


def _send(
    proxy: FaultProxy, client: socket.socket, head: bytes, body: bytes, fault: Fault | None, stop: threading.Event
) -> None:
    kind, at = (fault.kind, fault.at) if fault else ("", 0)
    if kind == "wrong-range":
        head = head.replace(b"Content-Range: bytes ", b"Content-Range: bytes 1")
    if kind == "new-etag":
        head = head.replace(b'ETag: "', b'ETag: "x')
    if kind == "slow-head":
        _drip(proxy, client, head + body, stop)
        return
    while kind == "continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if stop.wait(0.05):
            return
    client.sendall(head)
    if kind == "drip":
        _drip(proxy, client, body, stop)
        return
    if kind == "corrupt":
        body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
    is_cut = kind in ("reset", "truncate", "stall")
    part = body[:at] if is_cut else body
    client.sendall(part)
    proxy.sent_bytes += len(part)
    if kind == "stall":
        stop.wait(30)
    if kind == "reset":
        time.sleep(0.05)  # what was sent is to arrive
        _reset(client)


def _drip(proxy: FaultProxy, client: socket.socket, data: bytes, stop: threading.Event) -> None:
    for byte in data:
        client.sendall(bytes([byte]))
        proxy.sent_bytes += 1
        if stop.wait(0.05):
            return


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@contextmanager
def serve_faults(upstream: int) -> Iterator[FaultProxy]:
    """Serve a proxy for the server at port *upstream* until the context ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy, stop = FaultProxy(upstream, listener.getsockname()[1]), threading.Event()

    def answer(client: socket.socket) -> None:
        with suppress(OSError):  # the client went away
            _answer(proxy, client, stop)

    def accept() -> None:
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield proxy
    finally:
        stop.set()
        with socket.create_connection(("127.0.0.1", proxy.port)):  # wakes it up
            pass
        thread.join()
        listener.close()
