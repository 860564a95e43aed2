"""120 and more actions that a sandbox has to refuse, as root and as nobody; and what goes with the program."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_wheel.api import confine
from tests.cli.test_sandbox import FORBIDDEN, PROBE, can_sandbox
from tests.conftest import COMMAND, Python
from tests.loopback import LoopbackIndex

pytestmark = pytest.mark.skipif(bool(can_sandbox()), reason=f"NO SANDBOX: {can_sandbox()}")

# Of FORBIDDEN here: what needs nothing but a process outside.
GENERAL = {
    name: code
    for name, code in FORBIDDEN.items()
    if "environ['" not in code.replace("environ['OUTSIDE']", "") and "__file__" not in code and "ptrace" not in name
}
AT = confine._MACHINES.get(os.uname().machine, (0, 0))[0]
CALLS = {
    f"call-{name}": f"check(libc.syscall({numbers[AT]}, -1, -1, -1, -1, -1, -1))"
    for name, numbers in confine._DENIED.items()
    if numbers[AT] is not None and name != "vhangup"  # it would hang up on us, if it could
}
CLONE, PRLIMIT = confine._CLONE[AT], confine._OF_ITSELF["prlimit64"][AT]
MORE = {
    "new-user-namespace": f"check(libc.syscall({CLONE}, 0x10000000 | 17, 0, 0, 0, 0)) or os._exit(0)",
    "new-network-namespace": f"check(libc.syscall({CLONE}, 0x40000000 | 17, 0, 0, 0, 0)) or os._exit(0)",
    "limits-of-another": "__import__('resource').prlimit(int(os.environ['OUTSIDE']), 7)",
    "raw-limits-of-another": f"check(libc.syscall({PRLIMIT}, int(os.environ['OUTSIDE']), 7, None, None))",
    "datagram-pair": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "raw-pair": "socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW)",
    "device": "os.mknod(os.environ['TMPDIR'] + '/device', 0o20600, os.makedev(1, 3))",
    "disk": "os.mknod(os.environ['TMPDIR'] + '/disk', 0o60600, os.makedev(8, 0))",
    "another-user": "os.setuid(12345)",
    "another-group": "os.setgid(12345)",
    "more-groups": "os.setgroups([0, 1, 12345])",
    "first": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "nice": "os.nice(-5)",
    "host-name": "socket.sethostname('x')",
    "clock": "__import__('time').clock_settime(0, 0)",
    "root-folder": "os.chroot('/')",
    "signal-init": "os.kill(1, 0)",
    "signal-all": "os.kill(-1, 0) if os.getpid() == 1 else os.kill(os.getppid(), 0)",
    "memory-of-the-machine": "open('/dev/mem')",
    "kernel-messages": "open('/dev/kmsg')",
    "kernel-settings": "open('/proc/sys/kernel/hostname', 'w')",
    "kernel-trigger": "open('/proc/sysrq-trigger', 'w')",
    "memory-of-init": "open('/proc/1/mem')",
    "own-environment": "open('/proc/self/environ')",
    "passwords": "open('/etc/passwd')",
    "list-the-root": "os.listdir('/')",
    "list-tmp": "os.listdir('/tmp')",
    "shared-memory": "open('/dev/shm/remote_wheel-probe', 'w')",
    "terminal-of-others": "open('/dev/tty')",
    "control-groups": "open('/sys/fs/cgroup/cgroup.procs')",
    "flags-of-files": "fcntl.ioctl(sys.stdin.fileno(), 0x40086602, b'12345678')",
    "more-processes": "raise_limit('RLIMIT_NPROC')",
    "more-memory": "raise_limit('RLIMIT_DATA')",
    "larger-files": "raise_limit('RLIMIT_FSIZE')",
    "inherited-descriptor": "gone(7)",
    "inherited-lease": "[gone(number) for number in range(3, 64) if 'leases' in name_of(number)] or gone(63)",
    "write-beside": "open(os.environ['TMPDIR'] + '-beside', 'w')",
    "run-what-it-wrote": "run_own()",
}
ALL = {**GENERAL, **CALLS, **MORE}
HELPERS = """
def gone(number):
    try:
        os.fstat(number)
    except OSError:
        raise PermissionError
def raise_limit(name):
    import resource
    try:
        resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY,) * 2)
    except ValueError:  # it says so of EPERM, too
        raise PermissionError
def run_own():
    path = os.environ["TMPDIR"] + "/program"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o700), "wb") as file, open("/bin/true", "rb") as given:
        file.write(given.read())
    subprocess.run([path])
def name_of(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
"""


def refused(command: list[str], folder: Path, **options: object) -> dict[str, str]:
    """Return what each action came to; descriptor 7 is open in the process that starts the sandbox."""
    script = folder / "probe.py"
    script.write_text(PROBE.replace("import app, ", "import ") + "pass\n")
    script.write_text(script.read_text().replace("for line in", HELPERS + "for line in", 1))
    script.chmod(0o644)
    lines = "".join(f"{name}\t{code}\n" for name, code in ALL.items())
    words = ["/bin/sh", "-c", 'exec "$@" 7<"$0"', str(script), *command, "run", "--sandbox", "--sandbox-env=OUTSIDE"]
    done = subprocess.run(
        [*words, str(script)], input=lines, text=True, timeout=120, capture_output=True, check=False, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def check(said: dict[str, str]) -> None:
    assert len(ALL) >= 120
    assert said.keys() == ALL.keys()
    lacks = " ".join(confine.shortcomings())
    allowed = {"signal-outside", "signal-init", "signal-all"} if "signals" in lacks else set()
    nothing = ("FileNotFoundError", "ProcessLookupError")  # there is no such thing here
    wrong = {name: how for name, how in said.items() if how != "refused" and not how.startswith(nothing)}
    assert wrong.keys() <= allowed, wrong


@pytest.fixture
def environ(python: Python, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return {**os.environ, "OUTSIDE": str(os.getpid())}


def test_as_this_user(environ: dict[str, str], tmp_path: Path) -> None:
    check(refused([sys.executable, COMMAND], tmp_path, env=environ))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may read, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="remote_wheel-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def everybodys_python() -> str:
    for name in (sys.executable, "/usr/bin/python3"):
        code = "import sys; sys.exit(sys.version_info < (3, 11))"
        try:
            if subprocess.run([name, "-c", code], user=65534, cwd="/", check=False).returncode == 0:
                return name
        except OSError:
            continue
    return ""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="NO ROOT: only root can try it as somebody else")
@pytest.mark.parametrize("user", [0, 65534])
def test_as_root_and_as_nobody_from_what_everybody_may_read(user: int, open_folder: Path) -> None:
    """Root becomes nobody there: all that the program needs may be read by others."""
    interpreter = everybodys_python()
    if not interpreter:
        pytest.skip("NO PYTHON 3.11 or later here that everybody may start")
    package = Path(confine.__file__).parent.parent
    shutil.copytree(package, open_folder / "lib" / "remote_wheel", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (open_folder / "lib").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    cache = open_folder / "cache"
    cache.mkdir(mode=0o755)
    os.chown(cache, user, user)
    environ = {
        "PATH": os.defpath, "PYTHONPATH": str(open_folder / "lib"), "OUTSIDE": str(os.getpid()),
        "REMOTE_WHEEL_CACHE_DIR": str(cache),
    }  # fmt: skip
    command = [interpreter, "-P", "-m", "remote_wheel"]
    options = {"env": environ, "user": user, "group": user, "extra_groups": [], "cwd": str(open_folder)}
    check(refused(command, open_folder, **options))
    code = "import os; print(os.getuid(), os.getgid(), os.getgroups(), open(os.path.expanduser('~/x'), 'w').write('x'))"
    words = [*command, "run", "--sandbox", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.stdout == "65534 65534 [] 1\n", done.stderr
    assert "user id stays" not in done.stderr


def test_root_keeps_no_power(python: Python) -> None:
    code = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')])"
    words = ("run", "--sandbox", "--sandbox-read", "/proc", "-c", code)
    done = python("", COMMAND, *words)
    assert done.stdout == f"{['0' * 16] * 5}\n"
    stays = "import os; print(os.geteuid())"
    said = python("", COMMAND, "run", "--sandbox", "-c", stays)
    assert ("root's user id stays" in said.stderr) == (said.stdout == "0\n")


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
time.sleep(float(sys.argv[1]))
"""


def is_gone(process: int) -> bool:
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [0, signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_ends_with_the_program(python: Python, tmp_path: Path, number: int) -> None:
    script = tmp_path / "s.py"
    script.write_text(DAEMON)
    words = [sys.executable, COMMAND, "run", "--sandbox", str(script), "30" if number else "0.5"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        daemon = int(running.stdout.readline())
        if number:
            running.send_signal(number)
        assert running.wait(20) == -number
        assert is_gone(daemon)


def test_a_daemon_ends_with_what_an_environment_runs(python: Python, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("")
    (tmp_path / "s.py").write_text(DAEMON)
    code = """
        import subprocess, sys, remote_wheel
        env = remote_wheel.environment("./one.py")
        print(env.run(["s.py", "0.3"], sandbox=True, capture_output=True, text=True).stdout.strip())
        try:
            env.run(["s.py", "60"], sandbox=True, capture_output=True, text=True, timeout=3)
        except subprocess.TimeoutExpired as error:
            print(error.stdout.decode().strip())
    """
    for daemon in python(code).stdout.split():
        assert is_gone(int(daemon))


SECRETS = """
import ctypes, os
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
start, end = int(fields[47]), int(fields[48])
print(sorted(os.environ), b"hunter2" in ctypes.string_at(start, end - start) if end > start else False)
print(os.path.expanduser("~") == os.environ["TMPDIR"], os.listdir(os.path.expanduser("~")))
"""


def test_variables_do_not_travel(python: Python, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    monkeypatch.setenv("NAMED", "given")
    for name in ("LC_ALL", "TZ", "TERM"):
        monkeypatch.delenv(name, raising=False)
    script = tmp_path / "s.py"
    script.write_text(SECRETS)
    (tmp_path / "one.py").write_text("")
    words = ("run", "--sandbox", "--sandbox-env", "NAMED", "--sandbox-read=/proc", str(script))
    first, second = python("", COMMAND, *words).stdout.splitlines()
    names, has_secret = first.rsplit(" ", 1)
    assert "'TOKEN'" not in names
    assert "'NAMED'" in names
    assert has_secret == "False"
    assert second == "True []"
    code = f"""
        import remote_wheel
        env = remote_wheel.environment("./one.py")
        for given in ({{"env": ["NAMED"], "reads": ["/proc"]}}, {{"reads": ["/proc"]}}):
            print(env.run([{str(script)!r}], sandbox=given, capture_output=True, text=True).stdout.splitlines()[0])
        own = env.run(["-c", "import os; print(os.environ.get('A'), os.environ.get('TOKEN'))"], sandbox=True,
                      capture_output=True, text=True, env={{"A": "1"}})
        print(own.stdout.strip())
    """
    named, unnamed, own = python(code).stdout.splitlines()
    assert "'NAMED'" in named
    assert "'NAMED'" not in unnamed
    assert "TOKEN" not in named
    assert named.endswith("False")
    assert own == "1 None"


def test_a_limit_that_is_less_than_we_need_ourselves(python: Python) -> None:
    code = "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    assert python("", COMMAND, "run", "--sandbox-limit=files=4", "-c", code).stdout == "4\n"


def test_a_process_may_choose_its_own_processors(python: Python) -> None:
    """As BLAS, OpenMP and torch do."""
    code = "import os; os.sched_setaffinity(0, os.sched_getaffinity(0)); print('done')"
    assert python("", COMMAND, "run", "--sandbox", "-c", code).stdout == "done\n"


def test_folders_nested_deeply_are_removed(python: Python) -> None:
    code = """
import os
print(os.environ["TMPDIR"], flush=True)
os.chdir(os.environ["TMPDIR"])
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
"""
    place = python("", COMMAND, "run", "--sandbox", "-c", code).stdout.strip()
    assert place
    assert not os.path.exists(place)


def test_limits_that_nobody_named(python: Python) -> None:
    kinds = "r.RLIMIT_DATA, r.RLIMIT_NPROC, r.RLIMIT_FSIZE"
    code = f"import resource as r; print([r.getrlimit(each)[1] for each in ({kinds})])"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert python("", COMMAND, "run", "--sandbox", "-c", code).stdout == f"[{memory}, 4096, {4 << 30}]\n"
    words = (
        "run",
        "--sandbox-limit=memory=none",
        "--sandbox-limit",
        "file=none",
        "--sandbox-limit=processes=9",
        "-c",
        code,
    )
    assert python("", COMMAND, *words).stdout == "[-1, 9, -1]\n"


def test_a_daemon_ends_where_the_whole_group_is_killed(python: Python, tmp_path: Path) -> None:
    """As timeout(1) and job control do it: what has to end the rest is in a group of its own."""
    script = tmp_path / "s.py"
    script.write_text(DAEMON)
    words = [sys.executable, COMMAND, "run", "--sandbox", str(script), "30"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        daemon = int(running.stdout.readline())
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(20)
        assert is_gone(daemon)


CHAINS = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        end = time.time() + 40
        while time.time() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)
time.sleep(0.3)
"""


def test_processes_that_fork_and_end_all_the_time_are_ended(python: Python, tmp_path: Path) -> None:
    (tmp_path / "chains_of_this_test.py").write_text(CHAINS)
    began = time.monotonic()
    python("", COMMAND, "run", "--sandbox", "chains_of_this_test.py")
    assert time.monotonic() - began < 30
    named = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"chains_of_this_test" in read_if_there(path)]
    assert named == []


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_where_ended_children_are_ignored(python: Python, tmp_path: Path) -> None:
    """A caller's choice that is inherited: nobody would ever hear of the program's end."""
    code = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-c", code, sys.executable, COMMAND, "run", "--sandbox", "-c", "import sys; sys.exit(7)"]
    assert subprocess.run(words, cwd=tmp_path, timeout=60, check=False, capture_output=True).returncode == 7


def test_what_the_caller_of_an_environments_sandbox_sees(python: Python, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("")
    code = """
        import subprocess, remote_wheel
        env = remote_wheel.environment("./one.py")
        many = ["-c", "import sys; print(len(sys.argv))", *["x" * 50] * 4000]
        done = env.run(many, sandbox=True, capture_output=True, text=True)
        print(done.stdout.strip(), done.args[1:] == many)
        for code, options in {"1/0": {"check": True}, "import time; time.sleep(9)": {"timeout": 1}}.items():
            try:
                env.run(["-c", code], sandbox=True, capture_output=True, **options)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(type(error).__name__, error.cmd[1])
        for wrong in (None, 0, "yes"):
            try:
                env.run(["-c", "1"], sandbox=wrong)
            except remote_wheel.errors.UsageError as error:
                print(error)
    """
    assert python(code).stdout.splitlines() == [
        "4001 True",
        "CalledProcessError -c",
        "TimeoutExpired -c",
        *(f"sandbox is True, or the fields of one, not {wrong!r}" for wrong in (None, 0, "yes")),
    ]


def test_no_more_of_the_cache_is_read_than_is_mounted(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.add("app", "1", {"app/__init__.py": "from app.part import V\n", "app/part.py": "V = 1\n"})
    index.add("other", "1", {"other.py": ""})
    python("import remote_wheel; remote_wheel.prefetch('other')")
    code = f"""
import app, os, subprocess, sys
print(app.V, subprocess.run([sys.executable, "-c", "import app; print(app.V)"], capture_output=True, text=True).stdout)
for room in ("archives", "pages", "locks", "leases", "boot", "trees", "images"):
    try:
        path = os.path.join({str(cache)!r}, "v1", room)
        open(path) if room == "leases" else os.listdir(path)
        print(room, "can be read")
    except PermissionError:
        pass
"""
    for _ in range(2):
        assert python("", COMMAND, "run", "--sandbox", "--with", "app", "-c", code).stdout.split() == ["1", "1"]


@pytest.mark.skipif(not shutil.which("bwrap"), reason="NO SERVER: bubblewrap is not installed here")
def test_bubblewrap_hands_no_variables_on_and_reads_no_pipe_twice(
    python: Python, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    code = "print(b'hunter2' in open('/proc/1/environ', 'rb').read())"
    assert python("", COMMAND, "run", "--sandbox-by", "bwrap", "-c", code).stdout == "False\n"
    numbers = {name: confine._DENIED[name][AT] for name in ("keyctl", "fsopen", "unshare", "inotify_add_watch")}
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in {list(numbers.values())!r}:
    print(libc.syscall(number, -1, -1, -1, -1), ctypes.get_errno())
"""
    assert python("", COMMAND, "run", "--sandbox-by", "bwrap", "-c", code).stdout == "-1 1\n" * 4
    (tmp_path / "one.py").write_text("")
    run = f"""
import remote_wheel
env = remote_wheel.environment("./one.py")
print(env.run(["-c", {code!r}], sandbox={{"by": "bwrap"}}, capture_output=True, text=True).stdout)
"""
    assert python(run).stdout == "-1 1\n" * 4 + "\n"
    said = python("", COMMAND, "run", "--sandbox-by", "bwrap", "-", expect=2, stdin="print('ran')").stderr
    assert "a script on standard input was read already" in said


@pytest.mark.skipif(not shutil.which("bwrap"), reason="NO SERVER: bubblewrap is not installed here")
def test_bubblewrap_behind_an_option_with_a_value(
    python: Python, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    code = "import os, sys; print(sys.argv[1:], 'TOKEN' in os.environ, 'REMOTE_WHEEL_INSIDE' in os.environ)"
    words = ("run", "--cache-dir", str(tmp_path / "cache"), "--sandbox-by", "bwrap")
    assert python("", COMMAND, *words, "-c", code, "--sandbox", "x").stdout == "['--sandbox', 'x'] False False\n"
