"""A sandbox on request: what is forbidden fails, what is needed works, and where there is none nothing is run."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from remote_wheel.api.confine import shortcomings
from remote_wheel.errors import SandboxUnavailable
from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex


def can_sandbox() -> str:
    try:
        shortcomings()
    except SandboxUnavailable as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(can_sandbox()), reason=f"NO SANDBOX: {can_sandbox()}")

# name → code that has to fail with PermissionError, or to find that there is nothing
FORBIDDEN = {
    "read-home": "open(os.environ['SECRET']).read()",
    "list-home": "os.listdir(os.path.dirname(os.environ['SECRET']))",
    "read-shadow": "open('/etc/shadow').read()",
    "read-other-process": "open(f\"/proc/{os.environ['OUTSIDE']}/environ\").read()",
    "write-home": "open(os.environ['SECRET'], 'a')",
    "create-beside-the-script": "open(os.path.join(os.path.dirname(__file__), 'new'), 'w')",
    "overwrite-the-script": "open(__file__, 'w')",
    "truncate": "os.truncate(__file__, 0)",
    "remove": "os.unlink(__file__)",
    "rename": "os.rename(__file__, __file__ + '2')",
    "make-folder": "os.mkdir(os.path.join(os.path.dirname(__file__), 'd'))",
    "link": "os.symlink('/etc/shadow', os.path.join(os.path.dirname(__file__), 'l'))",
    "write-the-store": "open(os.path.join(os.environ['REMOTE_WHEEL_CACHE_DIR'], 'x'), 'w')",
    "write-the-interpreter": "open(os.path.join(sys.prefix, 'x'), 'w')",
    "write-tmp": "open(os.path.join(os.environ['TEMPORARY'], 'remote_wheel-sandbox-probe'), 'w')",
    "run-from-home": "os.execv(os.environ['PROGRAM'], ['x'])",
    "tcp": "socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 2)",
    "listen": "socket.socket().bind(('127.0.0.1', 0))",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "unix-socket": "socket.socket(socket.AF_UNIX).connect(os.environ['UNIX'])",
    "raw-socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "socket.socket(socket.AF_NETLINK)",
    "signal-outside": "os.kill(int(os.environ['OUTSIDE']), 0)",
    "ptrace": "check(libc.ptrace(16, int(os.environ['OUTSIDE']), 0, 0))",
    "unshare": "check(libc.unshare(0x10000000))",
    "mount": "check(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))",
    "io_uring": "check(libc.syscall(425, 1, None))",
    "owner": "os.chown(os.environ['SECRET'], os.getuid(), os.getgid())",
    "owner-of-a-link": "os.chown(os.environ['SECRET'], os.getuid(), os.getgid(), follow_symlinks=False)",
    "attributes": "os.setxattr(os.environ['SECRET'], 'user.x', b'1')",
    "priority-of-another": "os.setpriority(os.PRIO_PROCESS, int(os.environ['OUTSIDE']), 5)",
    "processors-of-another": "os.sched_setaffinity(int(os.environ['OUTSIDE']), {0})",
    "type-into-the-terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "in-a-child": "subprocess.run([sys.executable, '-c', \"open('/etc/shadow')\"], check=True, stderr=-3)",
}
# In a namespace of its own these concern nobody: it has no network, and its own /tmp; a new user may have more rights.
OF_ITS_OWN = {
    "create-beside-the-script",
    "make-folder",
    "link",
    "udp",
    "listen",
    "raw-socket",
    "netlink",
    "unshare",
    "mount",
    "io_uring",
    "write-tmp",
    "ptrace",
}
GIVEN = ("SECRET", "PROGRAM", "PORT", "UNIX", "OUTSIDE", "TEMPORARY", "REMOTE_WHEEL_CACHE_DIR")
PROBE = """
import app, ctypes, fcntl, os, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
for line in sys.stdin:
    name, _, code = line.rstrip("\\n").partition("\\t")
    try:
        eval(code)
        print(name, "DONE")
    except PermissionError as error:
        print(name, "refused")
    except subprocess.CalledProcessError:
        print(name, "refused")
    except BaseException as error:
        print(name, type(error).__name__, error)
"""


@pytest.fixture
def shop(index: LoopbackIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopbackIndex:
    index.add("app", "1", {"app/__init__.py": "V = 1\n", "app/data.txt": "data"})
    secret = tmp_path / "home" / "secret"
    secret.write_text("secret")
    program = tmp_path / "home" / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o700)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("SECRET", str(secret))
    monkeypatch.setenv("PROGRAM", str(program))
    monkeypatch.setenv("PORT", str(index.port))
    monkeypatch.setenv("UNIX", str(tmp_path / "unix"))
    monkeypatch.setenv("OUTSIDE", str(os.getpid()))
    monkeypatch.setenv("TEMPORARY", tempfile.gettempdir())  # everybody's
    return index


def probe(python: Python, script: Path, *options: str, names: tuple[str, ...] = tuple(FORBIDDEN)) -> dict[str, str]:
    script.write_text(PROBE)
    lines = "".join(f"{name}\t{FORBIDDEN[name]}\n" for name in names)
    named = [f"--sandbox-env={name}" for name in GIVEN if options]
    done = python("", COMMAND, "run", *options, *named, "--with", "app", str(script), stdin=lines)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_what_is_forbidden(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    assert len(FORBIDDEN) >= 20
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "unix"))
        listener.listen()
        said = probe(python, tmp_path / "here" / "s.py", "--sandbox")
        lacks = " ".join(shortcomings())
        allowed = {"signal-outside"} if "signals" in lacks else set()
        allowed |= {"truncate"} if "truncated" in lacks else set()
        assert {name for name, result in said.items() if result != "refused"} <= allowed, said
        assert len(said) == len(FORBIDDEN)
        assert (tmp_path / "here" / "s.py").read_text() == PROBE


def test_without_it_most_of_that_works(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """Or the probe proves nothing."""
    names = ("read-home", "list-home", "write-home", "tcp", "listen", "udp", "make-folder", "link", "signal-outside")
    said = probe(python, tmp_path / "here" / "s.py", names=names)
    assert {name for name in names if said.get(name) != "DONE"} == set(), said


def test_what_is_needed_works(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "input.txt").write_text("given")
    script = tmp_path / "here" / "s.py"
    script.write_text("""
import app, os, ssl, subprocess, sys, tempfile, threading, importlib.resources, multiprocessing
print(app.V, (importlib.resources.files("app") / "data.txt").read_text(), open(sys.argv[1]).read())
print(open(os.path.join(sys.argv[2], "x"), "w").write("out"), os.listdir(sys.argv[2]))
with tempfile.TemporaryFile() as file: print(file.write(b"temporary"))
print(subprocess.run([sys.executable, "-c", "import app; print(app.V)"], capture_output=True, text=True).stdout.strip())
print(subprocess.run(["/bin/echo", "system"], capture_output=True, text=True).stdout.strip())
thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
left, right = __import__("socket").socketpair(); left.send(b"pair"); print(right.recv(9).decode())
import asyncio; print(asyncio.run(asyncio.sleep(0, "loop")))
open(os.devnull, "w").write("x")
""")
    for _ in range(2):
        done = python(
            "", COMMAND, "run", "--sandbox-read", "input.txt", "--sandbox-write=out", "--with", "app", str(script),
            "input.txt", "out",
        )  # fmt: skip
        assert done.stdout.splitlines() == [
            "1 data given", "3 ['x']", "9", "1", "system", "thread", "pair", "loop",
        ], done.stderr  # fmt: skip
    assert (out / "x").read_text() == "out"


def test_the_network_when_it_is_allowed(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    said = probe(python, tmp_path / "here" / "s.py", "--sandbox-network")
    assert {name for name, result in said.items() if result == "DONE"} >= {"tcp", "listen", "udp"}
    assert {said[name] for name in ("unix-socket", "netlink", "raw-socket", "read-home", "write-tmp")} == {"refused"}


def test_exit_codes_signals_and_leftovers(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    def run(code: str, expect: int) -> str:
        return python("", COMMAND, "run", "--sandbox", "-c", code, expect=expect).stdout

    assert run("import sys; print('x'); sys.exit(7)", 7) == "x\n"
    assert run("1/0", 1) == ""
    run("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM)
    place = run("import tempfile; print(tempfile.mkdtemp())", 0).strip()
    until_s = time.monotonic() + 20
    while Path(place).parent.exists() and time.monotonic() < until_s:  # what removes it waits for the program's end
        time.sleep(0.02)
    assert not Path(place).parent.exists()
    process = subprocess.Popen(
        [sys.executable, COMMAND, "run", "--sandbox", "-c", "import time; print('up', flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    process.stdout.close()


def test_a_path_that_is_not_there(shop: LoopbackIndex, python: Python) -> None:
    said = python("", COMMAND, "run", "--sandbox-write", "nowhere", "-c", "print('ran')", expect=2)
    assert "nowhere' be used, and it is not there" in said.stderr
    assert said.stdout == ""


def test_an_environment_in_a_sandbox(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import app, os; print(app.V); open(os.environ['SECRET'])\n")
    (tmp_path / "out").mkdir()
    code = """
        import sys, remote_wheel
        env = remote_wheel.environment("app")
        done = env.run(["s.py"], sandbox={"env": ["SECRET"]}, capture_output=True, text=True)
        print(done.stdout.strip(), "PermissionError" in done.stderr, done.returncode)
        write = "import app; print(open('out/x', 'w').write('abc'))"
        print(env.run(["-c", write], sandbox={"writes": ["out"]}, capture_output=True, text=True).stdout.strip())
        print(env.run(["-c", write], sandbox=True, capture_output=True, text=True).returncode)
        try:
            env.run(["-c", "1"], sandbox={"write": ["out"]})
        except remote_wheel.errors.UsageError as error:
            print(error)
    """
    assert python(code).stdout.splitlines() == ["1 True 1", "3", "1", "a sandbox has no 'write'"]


def test_where_there_is_none_nothing_is_run(shop: LoopbackIndex, python: Python) -> None:
    code = """
        import sys
        sys.argv = ["remote-wheel", "run", "--sandbox", "-c", "print('ran')"]
        from remote_wheel.api import confine
        confine._abi = lambda: -1
        from remote_wheel.__main__ import main
        print(main())
    """
    done = python(code)
    assert done.stdout == "2\n"
    assert "no sandbox can be made here: this kernel has no Landlock" in done.stderr


def test_the_pieces_cost_little(shop: LoopbackIndex, python: Python) -> None:
    """No time is measured here: but nothing of the cold path is loaded for a sandbox."""
    code = "import sys; print(sorted({'requests', 'packaging', 'argparse', 'subprocess'} & set(sys.modules)))"
    python("", COMMAND, "run", "--sandbox", "--with", "app", "-c", code)
    assert python("", COMMAND, "run", "--sandbox", "--with", "app", "-c", code).stdout == "[]\n"


def test_limits_and_rights(shop: LoopbackIndex, python: Python) -> None:
    code = (
        "import resource as r; names = ['CORE', 'AS', 'CPU', 'NOFILE']; "
        "print([r.getrlimit(getattr(r, f'RLIMIT_{name}'))[1] for name in names], "
        "[line.split()[1] for line in open('/proc/self/status') if line.startswith(('NoNewPrivs', 'Seccomp:'))])"
    )
    limits = ("--sandbox-limit", "memory=3GB", "--sandbox-limit=cpu=60", "--sandbox-limit", "files=200")
    said = python("", COMMAND, "run", "--sandbox", "--sandbox-read", "/proc", *limits, "-c", code)
    assert said.stdout == "[0, 3000000000, 60, 200] ['1', '2']\n"
    assert "note: the sandbox: modes and times" in said.stderr
    big = "open(__import__('tempfile').mkdtemp() + '/x', 'wb').write(bytes(2_000_000))"
    assert (
        python("", COMMAND, "run", "--sandbox-limit", "file=1MB", "-c", big, expect=1)
        .stderr.rstrip()
        .endswith("File too large")
    )
    for wrong in ("memory", "time=3", "memory=much"):
        python("", COMMAND, "run", "--sandbox-limit", wrong, "-c", "print('ran')", expect=2)


def test_the_program_does_not_outlive_the_command(shop: LoopbackIndex, tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    command = [sys.executable, COMMAND, "run", "--sandbox", "-c", code]
    for number in (signal.SIGKILL, signal.SIGUSR1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as running:
            assert running.stdout is not None
            program = int(running.stdout.readline())
            running.send_signal(number)
            running.wait(20)
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s and Path(f"/proc/{program}/cmdline").exists():
            if Path(f"/proc/{program}/stat").read_text().split()[2] == "Z":
                break
            time.sleep(0.05)
        else:
            assert not Path(f"/proc/{program}/cmdline").exists(), "it goes on"


def test_what_an_environments_sandbox_takes(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("import app, os, sys; print(app.V, sys.argv[1:]); open(os.environ['SECRET'])\n")
    code = """
        import warnings, remote_wheel
        env = remote_wheel.environment("app")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for words in (["s.py", "a"], ["-u", "s.py", "b"], ["-W", "ignore", "-X", "utf8", "s.py", "c"]):
                done = env.run(words, sandbox={"env": ["SECRET"]}, capture_output=True, text=True)
                print(done.stdout.strip(), "PermissionError" in done.stderr)
        print("modes and times" in str(told[0].message), told[0].filename[-8:])
        for wrong in ({"reads": "/etc"}, {"reads": ["/nowhere"]}, {"limits": ["x"]}):
            try:
                env.run(["-c", "1"], sandbox=wrong)
            except remote_wheel.errors.UsageError as error:
                print(error)
    """
    assert python(code).stdout.splitlines() == [
        *("1 ['a'] True", "1 ['b'] True", "1 ['c'] True", "True <string>"),
        "reads of a sandbox is a list, not '/etc'",
        "the sandbox is to let '/nowhere' be used, and it is not there",
        "a sandbox has no limit 'x'",
    ]


@pytest.mark.skipif(not shutil.which("bwrap"), reason="NO SERVER: bubblewrap is not installed here")
def test_bubblewrap_when_it_is_asked_for(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "out").mkdir(parents=True)
    names = [name for name in FORBIDDEN if name not in OF_ITS_OWN]
    said = probe(python, here / "s.py", "--sandbox-by", "bwrap", names=tuple(names))
    assert {name for name, result in said.items() if result == "DONE"} == set(), said  # not there, or read-only
    probe(python, here / "s.py", "--sandbox-by", "bwrap", names=("create-beside-the-script", "make-folder", "link"))
    assert sorted(path.name for path in here.iterdir()) == ["out", "s.py"], "what it made was its own"
    script = here / "t.py"
    script.write_text(
        "import app, os, sys; print(app.V, sys.argv[1:], open('here/out/x', 'w').write('abc')); sys.exit(3)\n"
    )
    command = (
        "run",
        "--sandbox-by=bwrap",
        "--sandbox-write",
        "here/out",
        "--with",
        "app",
        str(script),
        "--sandbox",
        "a",
    )
    done = python("", COMMAND, *command, expect=3)
    assert done.stdout == "1 ['--sandbox', 'a'] 3\n"
    assert (here / "out" / "x").read_text() == "abc"
    code = """
        import remote_wheel
        env = remote_wheel.environment("app")
        read = "import app, os; print(app.V, os.path.exists(os.environ['SECRET']))"
        bwrap = {"by": "bwrap", "env": ["SECRET"]}
        print(env.run(["-c", read], sandbox=bwrap, capture_output=True, text=True).stdout.split()[:2])
        try:
            env.run(["-c", "1"], sandbox={"by": "magic"})
        except remote_wheel.errors.UsageError as error:
            print(error)
    """
    assert python(code).stdout.splitlines() == ["['1', 'False']", "a sandbox is not made by 'magic'"]


def test_without_bubblewrap_nothing_is_run(shop: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    done = python("", COMMAND, "run", "--sandbox-by", "bwrap", "-c", "print('ran')", expect=2, PATH=str(tmp_path))
    assert "bubblewrap (bwrap) is not installed" in done.stderr
    assert done.stdout == ""
