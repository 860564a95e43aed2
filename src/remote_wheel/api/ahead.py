"""A process beside the helper, on a core of its own: what can be done before anyone asks, and what nobody waits for.

The helper resolves and fetches; each wheel that is likely to be mounted is told here as soon as it has come. It is
prepared, and its modules are compiled in the order in which the caller will probably import them. What is compiled is
published, so that the caller's import finds it. When the record is written, images are made whole behind it.
docs/decisions/0011-lean-images.md has the reasons.
"""

import contextlib
import json
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from remote_wheel.api.records import Recorder
from remote_wheel.fetch.apart import detach
from remote_wheel.prepare.forecast import Forecast
from remote_wheel.resolution.plan import Pin, Plan, plan_from_json, plan_to_json

if TYPE_CHECKING:
    from remote_wheel.api.preparation import Publisher

_NICENESS: Final = 5


class Ahead:
    """The helper's end. Nothing that fails here matters to it: what is not done ahead is done when it is needed."""

    def __init__(self, work: Callable[["Inbox"], None]) -> None:
        """Start a process that does *work*. To be called before there are other threads."""
        reader, self._writer = os.pipe()
        self._lock = threading.Lock()
        try:
            is_helper = bool(os.fork())
        except OSError:  # no more processes may be
            is_helper = True
        if is_helper:
            os.close(reader)
            return
        with contextlib.suppress(BaseException):  # as above, whatever it was
            detach(keep=(reader,), is_silent=True)
            os.setsid()  # neither Ctrl-C nor a terminal that closes is meant for it
            work(Inbox(reader))
        os._exit(0)

    def wheel(self, pin: Pin) -> None:
        """Tell of a wheel that is in the store now and will probably be mounted."""
        self._tell({"wheel": _dump([pin])})

    def recorded(self, pins: Sequence[Pin], planned_metadata: dict[str, str], fresh_until_s: float) -> None:
        """Tell that the record of *pins* is written; it may be believed until *fresh_until_s* once they are whole."""
        self._tell({"record": _dump(pins), "metadata": planned_metadata, "fresh_until_s": fresh_until_s})

    def _tell(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):  # it is gone
            while data:
                data = data[os.write(self._writer, data) :]


class Inbox:
    """The other end: what the helper told."""

    def __init__(self, reader: int) -> None:
        self._reader, self._rest, self.is_open = reader, b"", True

    def read(self, *, may_wait: bool) -> list[dict[str, Any]]:
        """Return the messages that have come; without any, wait for one if that *may* be."""
        found: list[dict[str, Any]] = []
        while self.is_open and not found and (may_wait or select.select([self._reader], [], [], 0)[0]):
            data = os.read(self._reader, 1 << 16)
            self.is_open = bool(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            found = [json.loads(line) for line in lines]
        return found


class Worker:
    """Does what an inbox says. *finish* gets (fresh_until_s) when all of the record's pins are compiled."""

    def __init__(self, recorder: Recorder, wanted: Iterable[str], subjects: Iterable[str]) -> None:
        self._recorder = recorder
        self._subjects = frozenset(subjects)
        self._forecast = Forecast(wanted)
        self._pins: deque[Pin] = deque()
        self._trees: deque[Publisher] = deque()
        self._published: dict[tuple[str, ...], Publisher] = {}
        self._homes: dict[str, Publisher] = {}  # by the key of a module
        self._final: dict[str, Any] | None = None

    def run(self, inbox: Inbox, finish: Callable[[float], None]) -> None:
        """Work until the record is whole, or until the helper is gone without one."""
        is_idle = False
        while inbox.is_open or self._final:
            for message in inbox.read(may_wait=is_idle):
                self._take(message)
            is_idle = False
            # What fails here fails where it is needed, too, and is told there; the rest need not suffer for it.
            if self._pins:
                with contextlib.suppress(Exception):
                    self._prepare(self._pins.popleft())
            elif key := self._forecast.next():
                with contextlib.suppress(Exception):
                    self._compile(key)
            elif self._trees:
                with contextlib.suppress(Exception):
                    self._trees.popleft().unpack(may_wait=True)
            elif self._final:
                os.nice(_NICENESS)  # what follows nobody waits for
                for pin in _load(self._final["record"]):
                    if published := self._published.get(_key_of(pin)):
                        published.compile_rest()
                finish(self._final["fresh_until_s"])
                break
            else:
                is_idle = True
        for published in self._published.values():
            published.close()

    def _take(self, message: dict[str, Any]) -> None:
        if "wheel" in message:
            self._pins += _load(message["wheel"])
            return
        self._final = message
        self._recorder.trust(message["metadata"])
        self._pins += [pin for pin in _load(message["record"]) if _key_of(pin) not in self._published]

    def _prepare(self, pin: Pin) -> None:
        published = self._recorder.publish(pin)
        if published is None:
            return
        self._published[_key_of(pin)] = published
        self._trees.append(published)
        self._homes.update(dict.fromkeys(published.modules, published))
        self._forecast.add(published.modules)
        if pin.name in self._subjects:
            self._forecast.want(published.choices)

    def _compile(self, key: str) -> None:
        if home := self._homes.get(key):
            home.unpack(may_wait=False)  # the caller may do it, and will want the code behind that
            code = home.compile(key)
            if code:
                self._forecast.learn(key, code, is_package=home.is_package(key))


def _key_of(pin: Pin) -> tuple[str, ...]:
    return pin.key, pin.version, pin.url


def _dump(pins: Sequence[Pin]) -> dict[str, Any]:
    return plan_to_json(Plan(requirements=(), pins=tuple(pins)))


def _load(raw: dict[str, Any]) -> tuple[Pin, ...]:
    return plan_from_json(raw, Plan).pins
