"""The process beside ours that speaks http: it answers as one process would, and nothing is lost where it is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from remote_wheel.fetch.apart import _Transports
from remote_wheel.fetch.http import HttpTransport
from remote_wheel.fetch.port import HttpOptions
from remote_wheel.settings import Limits
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.faults import Fault, serve_faults

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, one process does it"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it is of use on two cores"),
]
SETUP = """
import os, signal, sys, time
from remote_wheel.errors import RemoteWheelError
from remote_wheel.fetch import apart
from remote_wheel.fetch.client import Client
from remote_wheel.settings import Limits

class Kept:
    data = b""
    def restart(self): self.data = b""
    def write(self, chunk): self.data += chunk

def parent(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return 0
def beside(): return [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and parent(pid) == os.getpid()]
def is_apart(): return "requests" not in sys.modules
root = sys.argv[1] if len(sys.argv) > 1 else ""
apart.start()
client = Client(Limits(retries=1), allowed_hosts=("127.0.0.1",), allowed_by="the test")
"""
LARGE = os.urandom(3_000_000)


@pytest.fixture
def things(index: LoopbackIndex) -> LoopbackIndex:
    index.extra |= {"/large": LARGE, "/small": b"small", "/empty": b""}
    index.redirects |= {"/moved": f"{index.root}small", "/away": "https://elsewhere.example/x"}
    index.redirects |= {"/port": "https://127.0.0.1:99999/x", "/odd": "https://me:secret@127.0.0.1\u2100/x"}
    index.statuses["/shut"] = 401
    return index


def test_it_answers_as_one_process_does(things: LoopbackIndex, python: Python) -> None:
    code = SETUP.replace("apart.start()", "if sys.argv[2] == 'apart': apart.start()") + (
        """
heard = []
sys.addaudithook(lambda event, facts: heard.append(facts) if event.startswith("remote_wheel.") else None)
for path in ("small", "empty", "large", "moved", "away", "port", "shut", "nothing", "small"):
    for sink in (None, Kept()):
        try:
            answer = client.fetch(root + path, max_bytes=4_000_000, sink=sink)
        except RemoteWheelError as error:
            print(path, type(error).__name__, error.facts(), error)
        else:
            answer.headers.pop("date")
            print(path, answer._replace(body=b""), hash(answer.body + (sink.data if sink else b"")))
try:
    client.fetch(root + "large", max_bytes=2_000_000, sink=Kept())
except RemoteWheelError as error:
    print(error)
print(heard)
print(is_apart(), file=sys.stderr)
"""
    )
    done = [python(code, things.root, how, PYTHONHASHSEED="1") for how in ("apart", "here")]
    assert [each.stderr for each in done] == ["True\n", "False\n"]
    assert done[0].stdout == done[1].stdout
    lines = done[0].stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith(("away", "shut", "nothing"))] == [
        "RefusedByPolicy", "RefusedByPolicy", "AccessDenied", "AccessDenied", "NotFound", "NotFound",
    ]  # fmt: skip
    assert "larger than 2000000 bytes" in lines[-2]
    assert lines[-1].count("/moved") == lines[-1].count("/shut") == 2


@pytest.mark.slow
def test_many_threads_ask_at_once(things: LoopbackIndex, python: Python) -> None:
    code = SETUP + (
        """
from concurrent.futures import ThreadPoolExecutor
def get(at):
    sink = Kept() if at % 2 else None
    answer = client.fetch(root + ("large" if at % 3 else "small"), max_bytes=4_000_000, sink=sink)
    return len(answer.body) + len(sink.data if sink else b"")
with ThreadPoolExecutor(40) as pool:
    print(set(pool.map(get, range(120))) == {5, 3_000_000}, is_apart(), len(beside()))
"""
    )
    assert python(code, things.root).stdout == "True True 1\n"


@pytest.mark.parametrize("moment", ["before anything", "between two", "in the middle"])
def test_it_is_killed(things: LoopbackIndex, python: Python, moment: str) -> None:
    code = SETUP + (
        f"""
(pid,) = beside()
moment = {moment!r}
if moment == "before anything":
    os.kill(pid, signal.SIGKILL)
elif moment == "between two":
    print(client.fetch(root + "small", max_bytes=9).body == b"small", is_apart())
    os.kill(pid, signal.SIGKILL)
class Killing(Kept):
    def write(self, chunk):
        super().write(chunk)
        if moment == "in the middle" and is_apart():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
sink = Killing()
client.fetch(root + "large", max_bytes=4_000_000, sink=sink)
print(len(sink.data), client.fetch(root + "small", max_bytes=9).body, is_apart())
"""
    )
    expected = ["True True"] if moment == "between two" else []
    assert python(code, things.root).stdout.splitlines() == [*expected, "3000000 b'small' False"]


def test_an_answer_that_nobody_takes_to_its_end(things: LoopbackIndex, python: Python) -> None:
    """As where the disk is full: each costs a channel, and what is asked when none is left is done in this process."""
    code = SETUP + (
        """
class Full(Kept):
    def write(self, chunk): raise OSError(28, "full")
for at in range(25):
    try:
        client.fetch(root + "large", max_bytes=4_000_000, sink=Full())
    except OSError as error:
        assert error.errno == 28
    if at in (0, 18, 24):
        print(client.fetch(root + "small", max_bytes=9).body, is_apart())
print(len(os.listdir("/proc/self/fd")) < 15)
"""
    )
    assert python(code, things.root).stdout.splitlines() == [
        "b'small' True", "b'small' True", "b'small' False", "True",
    ]  # fmt: skip


def test_what_its_libraries_say_is_seen(things: LoopbackIndex, python: Python) -> None:
    code = "import logging; logging.basicConfig(level='DEBUG')\n" + SETUP + "client.fetch(root + 'small', max_bytes=9)"
    assert "GET /small" in python(code, things.root).stderr


def test_a_body_that_starts_over(things: LoopbackIndex, python: Python) -> None:
    things.has_etag = False
    code = SETUP + (
        """
sink = Kept()
client.fetch(root + "large", max_bytes=4_000_000, sink=sink)
print(len(sink.data), is_apart())
"""
    )
    with serve_faults(things.port) as proxy:
        proxy.faults.append(Fault("/large", "truncate", 1_000_000))
        assert python(code, f"http://127.0.0.1:{proxy.port}/").stdout == "3000000 True\n"
        assert len(proxy.seen) == 2


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_nobody_waits_for_holds_nobody_up(things: LoopbackIndex, python: Python, is_killed: bool) -> None:
    code = SETUP + (
        f"""
class Full(Kept):
    def write(self, chunk): raise OSError(28, "full")
for name in ("small", "small", "empty", "moved", "large"):
    client.expect(root + name, headers={{}}, max_bytes=4_000_000)
if {is_killed}:
    os.kill(beside()[0], signal.SIGKILL)
for at in range(25):
    try:
        client.fetch(root + "large?", max_bytes=4_000_000, sink=Full())
    except OSError as error:
        assert error.errno == 28
print(client.fetch(root + "small?", max_bytes=9).body, is_apart(), client.fetch(root + "small", max_bytes=9).body)
"""
    )
    assert python(code, things.root).stdout == "b'small' False b'small'\n"


def test_an_error_that_nobody_foresaw(things: LoopbackIndex, python: Python) -> None:
    """It is raised in our process, as it would be without the other, which says nothing of it."""
    code = SETUP + (
        """
for most in ("many", 9):
    try:
        print(client.fetch(root + "small", max_bytes=most).body)
    except Exception as error:
        print(type(error).__name__, is_apart())
"""
    )
    done = python(code, things.root)
    assert done.stdout.splitlines() == ["TypeError False", "b'small'"]
    assert done.stderr == ""


def test_hooks_that_write_to_their_files(things: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """What somebody's hook has open goes nowhere there, and is no number that a connection could get."""
    code = (
        """
import os, sys
log = os.open("log", os.O_CREAT | os.O_WRONLY)
def hook(event, _):
    if event in ("socket.connect", "import"):
        os.write(log, b"noise" * 9)
sys.addaudithook(hook)
"""
        + SETUP
        + "print(client.fetch(root + 'small', max_bytes=9).body, is_apart())"
    )
    assert python(code, things.root).stdout == "b'small' True\n"


def test_credentials_that_are_learnt_later(things: LoopbackIndex, python: Python) -> None:
    things.user = "me:secret"
    code = SETUP + (
        """
for is_known in (False, True):
    if is_known:
        client.learn(root.replace("//", "//me:secret@"))
    try:
        print(client.fetch(root + "small", max_bytes=9).body)
    except RemoteWheelError as error:
        print(type(error).__name__)
print(is_apart())
"""
    )
    assert python(code, things.root).stdout.split() == ["AccessDenied", "b'small'", "True"]


def test_places_that_are_learnt_later() -> None:
    """~/.netrc may be asked for the user's own places, whatever their port."""
    options = json.dumps((0, HttpOptions()), default=list)
    transports = _Transports(HttpTransport)
    first = transports.get(options, [])
    assert isinstance(first, HttpTransport)
    assert not first._may_use_netrc("https://corp.example:8443/x")
    assert transports.get(options, [["https", "corp.example:8443"]]) is first
    assert first._may_use_netrc("https://corp.example:8443/x")
    assert transports.get(json.dumps((1, HttpOptions(Limits(retries=0))), default=list), []) is not first


def test_where_there_can_be_none(things: LoopbackIndex, python: Python) -> None:
    check = "print(apart.started(), len(os.listdir('/proc/self/fd')), client.fetch(root + 'small', max_bytes=9).body)"
    reasons = {
        "one core": "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])",
        "another thread": "import threading; threading.Thread(target=time.sleep, args=(1,), daemon=True).start()",
        "few files": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))",
        "no stream": "os.close(0)",
        "not allowed": """
def hook(event, _):
    if event == "os.fork":
        raise RuntimeError("not here")
sys.addaudithook(hook)
""",
        "no process": "def refuse(): raise OSError(11, 'no more')\nos.fork = refuse",
    }
    for reason, what in reasons.items():
        code = SETUP.replace("apart.start()", f"{what}\napart.start()") + check
        found, files, body = python(code, things.root).stdout.split()
        assert (found, body) == ("None", "b'small'"), reason
        assert int(files) < 10, reason


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_ours(things: LoopbackIndex, number: int) -> None:
    """However that ends; Ctrl-C reaches both, and is ours to answer."""
    code = SETUP + "print(*beside(), flush=True); client.fetch(root + 'small', max_bytes=9); time.sleep(60)"
    things.hang_s = 3
    with subprocess.Popen(
        [sys.executable, "-c", code, things.root], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        until_s = time.monotonic() + 30
        while not things.requests and time.monotonic() < until_s:
            time.sleep(0.02)
        assert is_running(pid)
        if number == signal.SIGINT:
            os.kill(pid, number)
            time.sleep(0.2)
            assert is_running(pid)
        process.send_signal(number)
    while is_running(pid) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_request_goes_by_it_unless_it_is_offline(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", requires=["lib"])
    index.add("lib", "1")
    code = """
        import sys
        from remote_wheel.api import cold, request_of
        from remote_wheel.fetch import apart
        cold.own_process()
        options = {"prefer_installed": False, "offline": sys.argv[1] == "offline"}
        request = request_of("require", ["thing>=1", "thing<9"], options, sys.argv[2], "key" + sys.argv[1])
        answer = cold.carry_out({**request, "optimize": 0}, cold.Silent())
        loaded = [name for name in ("requests", "urllib3", "http.client", "ssl") if name in sys.modules]
        print(len(answer["plan"]["pins"]), apart.started() is not None, loaded)
    """
    cache = str(Path(os.environ["REMOTE_WHEEL_CACHE_DIR"]))
    assert python(code, "online", cache).stdout == "2 True []\n"
    assert (index.pages(), index.wheels()) == (2, 2)
    assert python(code, "offline", cache).stdout == "2 False []\n"
