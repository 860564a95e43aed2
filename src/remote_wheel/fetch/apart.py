"""http and https by a process beside this one: what requests imports, and its work, take another core.

Both processes begin at the same time. This one imports what plans and verifies; that one imports requests, and then
carries out what it is asked, one request at a time on each of a few channels: two pipes and a thread. It knows no store
and decides nothing; it ends with this one. docs/decisions/0016-network-apart.md has the reasons.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any, Final, NamedTuple, NoReturn

from remote_wheel.errors import RemoteWheelError, rebuild_error
from remote_wheel.fetch.port import Answer, HttpOptions, Sink, Transport
from remote_wheel.settings import Limits
from remote_wheel.spec.audit import audit, hear

_CHANNELS: Final = 20  # what asks in parallel: planning, and what is fetched ahead of it
_MOST_FILES: Final = 4096
_HEAD_BYTES: Final = 5
# What a frame is, in its first byte; its size in bytes follows, and then that.
_ASK, _AUDIT, _RESTART, _CHUNK, _ANSWER, _BODY, _ERROR = b"q", b"u", b"r", b"c", b"a", b"b", b"e"
_NUMBERS: Final = count()  # of transports: places that one was told of are not another's
_apart: "Apart | None" = None


class _Channel(NamedTuple):
    number: int
    reader: int
    writer: int

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class Apart:
    """Our end of the channels. Where the process is gone, what is asked of it is done in this one."""

    def __init__(self, control: int, channels: list[_Channel]) -> None:
        self._control, self._free, self._count = control, channels, len(channels)
        self._unread = 0  # channels on which something was asked that nobody waits for yet
        self._used = set[int]()
        self._changed = threading.Condition()

    def take(self) -> _Channel | None:
        """Wait for a channel nobody uses; None where that may be for ever."""
        with self._changed:
            while not self._free and self._count > self._unread:
                self._changed.wait()
            if not self._free:
                return None
            channel = self._free.pop()
            self._unread += 1
            is_new = channel.number not in self._used
            self._used.add(channel.number)
        if is_new:
            with contextlib.suppress(OSError):  # it is gone: who asks will see
                os.write(self._control, bytes((channel.number,)))
        return channel

    def read_from(self, channel: _Channel) -> tuple[bytes, bytes]:
        """Wait for a frame. Raises EOFError where the process is gone."""
        try:
            return _receive(channel.reader)
        except EOFError:
            with self._changed:  # nobody need try the others
                for other in self._free:
                    other.close()
                self._count -= len(self._free)
                self._free.clear()
                self._changed.notify_all()
            raise

    def wait_for(self) -> None:
        """Say that somebody waits for what was asked on a channel that was taken."""
        with self._changed:
            self._unread -= 1

    def give_back(self, channel: _Channel) -> None:
        """Let others have it."""
        with self._changed:
            self._free.append(channel)
            self._changed.notify()

    def drop(self, channel: _Channel) -> None:
        """Close a channel on which an answer is left unread: the other end notices."""
        with self._changed:
            channel.close()
            self._count -= 1
            self._changed.notify_all()


class ApartTransport:
    """A fetch.port.Transport that fetches there as *options* say; *here* makes one that does so in this process."""

    def __init__(self, apart: Apart, options: HttpOptions, here: Callable[[], Transport]) -> None:
        self._apart, self._named = apart, options.named
        self._options = json.dumps((next(_NUMBERS), options._replace(named=())), default=list)
        self._make_here, self._lock = here, threading.Lock()
        self._here: Transport | None = None

    def fetch(self, url: str, *, headers: Mapping[str, str], max_bytes: int, sink: Sink | None = None) -> Answer:
        """Get *url*; see Transport.fetch."""
        return self.begin(url, headers=headers, max_bytes=max_bytes, is_streamed=sink is not None)(sink)

    def begin(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, is_streamed: bool = False
    ) -> Callable[[Sink | None], Answer]:
        """Ask for *url*; return what waits for its answer. That is to be called once, if at all."""
        channel = self._apart.take()
        if channel:
            asked = (self._options, tuple(self._named), url, dict(headers), max_bytes, is_streamed)
            with contextlib.suppress(OSError):  # it is gone, which shows again when its answer is read
                _send(channel.writer, _ASK, json.dumps(asked).encode())

        def wait(sink: Sink | None) -> Answer:
            if channel:
                self._apart.wait_for()
            answer = self._receive(channel, sink) if channel else None
            if answer is None:
                return self._in_this_process().fetch(url, headers=headers, max_bytes=max_bytes, sink=sink)
            return answer

        return wait

    def _receive(self, channel: _Channel, sink: Sink | None) -> Answer | None:
        """Take what comes until there is an answer; None where the process is gone."""
        is_done, body = False, b""
        try:
            while not is_done:
                kind, data = self._apart.read_from(channel)
                if kind == _CHUNK and sink:
                    sink.write(data)
                elif kind == _RESTART and sink:
                    sink.restart()
                elif kind == _AUDIT:
                    audit(*json.loads(data))
                elif kind == _BODY:
                    body = data
                else:
                    is_done = True
        except EOFError:
            return None
        finally:
            (self._apart.give_back if is_done else self._apart.drop)(channel)
        if kind == _ERROR:
            raise rebuild_error(*json.loads(data))
        return Answer(*json.loads(data))._replace(body=body)

    def _in_this_process(self) -> Transport:
        with self._lock:
            if self._here is None:
                self._here = self._make_here()
            return self._here


def started() -> Apart | None:
    """Return the channels to the process, if one was started."""
    return _apart


def start() -> None:
    """Start the process, unless there can't be one, or it would be no use.

    For a process that is ours and has one thread yet. Linux alone: elsewhere the system's own libraries may not live
    through a fork.
    """
    global _apart  # one process, one beside it
    if _apart is None:
        _apart = _start()


def _start() -> Apart | None:
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2 or len(sys._current_frames()) > 1:  # noqa: SLF001
        return None
    opened: list[int] = []

    def pipe() -> tuple[int, int]:
        ends = os.pipe()
        opened.extend(ends)
        return ends

    # Ctrl-C must not reach the fork before it is one of its own: there would be two of what goes on in here.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        for stream in range(3):
            os.fstat(stream)  # one that is closed has a number that a pipe would get
        controlled, control = pipe()
        pairs = [(pipe(), pipe()) for _ in range(_CHANNELS)]
        theirs = [_Channel(number, asks[0], answers[1]) for number, (asks, answers) in enumerate(pairs)]
        if not os.fork():
            _be_apart(controlled, theirs)
    except Exception:  # noqa: BLE001  # or no more files or processes may be; or an audit hook does not allow it
        for descriptor in opened:
            os.close(descriptor)
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    os.close(controlled)
    for channel in theirs:
        channel.close()
    ours = [_Channel(number, answers[0], asks[1]) for number, (asks, answers) in enumerate(pairs)]
    return Apart(control, ours)


def detach(*, keep: Collection[int], is_silent: bool) -> None:
    """Let go of what a forked process has open but *keep*, and stderr unless it *is silent*: nobody waits for it.

    What somebody's hooks hold open is nothing from then on: a number that is free would soon be another file's.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no Linux
        opened = list(range(_MOST_FILES))
    for descriptor in opened:
        if descriptor not in keep and (descriptor != 2 or is_silent):
            with contextlib.suppress(OSError):
                os.fstat(descriptor)
                os.dup2(nothing, descriptor, inheritable=descriptor < 3)


# --- the other end -------------------------------------------------------------------------------------------------


def _be_apart(control: int, channels: list[_Channel]) -> NoReturn:
    """Serve each channel from when it is named, until the process that asks has ended."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other's to answer, and its end ours
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        detach(keep=(control, *(end for channel in channels for end in channel[1:])), is_silent=False)
        threading.Thread(target=_import_http, daemon=True).start()  # this one is to notice when the other ends
        transports, heard = _Transports(_make_http), _Heard()
        hear(heard.append)
        while numbers := os.read(control, _CHANNELS):
            for number in numbers:
                threading.Thread(target=_serve, args=(channels[number], transports, heard), daemon=True).start()
    finally:
        os._exit(0)


def _import_http() -> None:
    with contextlib.suppress(Exception):  # raised again where it is used
        importlib.import_module("remote_wheel.fetch.http")


def _make_http(options: HttpOptions) -> Transport:
    from remote_wheel.fetch.http import HttpTransport

    return HttpTransport(options)


class _Heard(threading.local):
    """The audit events of each thread."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def append(self, event: tuple[str, ...]) -> None:
        self.events.append(event)


class _Transports:
    """One transport for all that is asked with the same options."""

    def __init__(self, make: Callable[[HttpOptions], Transport]) -> None:
        self._make, self._made = make, dict[str, tuple[Transport, set[tuple[str, str]]]]()
        self._lock = threading.Lock()

    def get(self, options: str, named: list[list[str]]) -> Transport:
        with self._lock:
            if options not in self._made:
                limits, *rest = json.loads(options)[1]
                places = set[tuple[str, str]]()
                self._made[options] = self._make(HttpOptions(Limits(*limits), *rest)._replace(named=places)), places
            transport, places = self._made[options]
            places.update((scheme, host) for scheme, host in named)
            return transport


def _serve(channel: _Channel, transports: _Transports, heard: _Heard) -> None:
    """Answer what is asked on *channel* until nobody listens; what is unexpected ends it, and is done over there."""
    with contextlib.suppress(Exception), contextlib.closing(channel):
        while True:
            _, data = _receive(channel.reader)
            options, named, url, headers, max_bytes, is_streamed = json.loads(data)
            sink = _Pipe(channel.writer) if is_streamed else None
            result: tuple[Any, ...]
            try:
                answer = transports.get(options, named).fetch(url, headers=headers, max_bytes=max_bytes, sink=sink)
                kind, result = _ANSWER, (answer.url, answer.status, dict(answer.headers), "", answer.is_plain)
                _send(channel.writer, _BODY, answer.body)
            except RemoteWheelError as error:
                kind, result = _ERROR, (type(error).__name__, error.facts())
            for event in heard.events:
                _send(channel.writer, _AUDIT, json.dumps(event).encode())
            heard.events.clear()
            _send(channel.writer, kind, json.dumps(result).encode())


class _Pipe:
    """A fetch.port.Sink whose bytes go through a pipe."""

    def __init__(self, writer: int) -> None:
        self._writer = writer

    def restart(self) -> None:
        _send(self._writer, _RESTART, b"")

    def write(self, chunk: bytes) -> None:
        _send(self._writer, _CHUNK, chunk)


# --- frames --------------------------------------------------------------------------------------------------------


def _send(writer: int, kind: bytes, data: bytes) -> None:
    """Write a frame. Raises OSError where nobody reads."""
    head = kind + len(data).to_bytes(_HEAD_BYTES - 1, "little")
    sent = os.writev(writer, (head, data))
    rest = memoryview(data)[sent - len(head) :] if sent >= len(head) else memoryview(head[sent:] + data)
    while rest:
        rest = rest[os.write(writer, rest) :]


def _receive(reader: int) -> tuple[bytes, bytes]:
    """Read a frame: what it is, and its data. Raises EOFError where there is none to come."""
    head = _read(reader, _HEAD_BYTES)
    return head[:1], _read(reader, int.from_bytes(head[1:], "little"))


def _read(reader: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        pieces.append(os.read(reader, size))
        if not pieces[-1]:
            raise EOFError
        size -= len(pieces[-1])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
