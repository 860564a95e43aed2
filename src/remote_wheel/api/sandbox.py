"""A sandbox on request: Landlock for files, signals and TCP, seccomp for what it leaves out, limits, no new rights.

What a kernel can't enforce is told; one that has no Landlock, or another system, is refused: nothing is pretended.
Sources: Documentation/userspace-api/landlock.rst and seccomp_filter.rst of Linux, landlock(7), seccomp(2).
A warm `run --sandbox` waits for all that is imported here, so most of it is imported where it is needed.
"""

import os
import sys

from remote_wheel.mounts.boot import absolute, working_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Final

    from remote_wheel.mounts.finder import Root

_PACKAGE: "Final" = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # prctl's
_CORE = 4  # setrlimit's, on every architecture
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_READ: "Final" = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES: "Final" = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # of a rule on what is no folder
_TCP: "Final" = 0b11  # bind, connect
_SCOPES: "Final" = 0b11  # abstract sockets, signals
# By the version of Landlock that can enforce it: what an older one can't.
_SINCE: "Final" = {
    2: "moving files between writable folders is forbidden altogether",
    3: "files that may be read can be truncated",
    5: "devices that may be opened can be controlled (ioctl)",
    6: "signals can be sent to processes outside",
}
# No Landlock knows of it, and what copies or unpacks files needs it.
_ALWAYS: "Final" = "modes and times of files that are this user's can be changed (chmod, utime)"
# What every program may read, as far as it is there: the system's libraries and what they look up.
_SYSTEM: "Final" = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/localtime", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts",
    "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/mime.types",
    "/etc/alternatives",
    "/dev/random", "/dev/urandom", "/dev/zero", "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo",
)  # fmt: skip
_LIMITS: "Final" = {  # name → resource, an example
    "memory": ("RLIMIT_AS", "2GB"),
    "cpu": ("RLIMIT_CPU", "60"),
    "file": ("RLIMIT_FSIZE", "100MB"),
    "files": ("RLIMIT_NOFILE", "256"),
    "processes": ("RLIMIT_NPROC", "64"),
}
_SINKS: "Final" = ("/dev/null",)
_UNIX, _INET, _INET6 = 1, 2, 10  # families of sockets
_DENIED: "Final" = (
    "ptrace", "process_vm_readv", "process_vm_writev", "io_uring_setup", "bpf", "perf_event_open", "userfaultfd",
    "keyctl", "add_key", "request_key", "mount", "umount2", "pivot_root", "kexec_load", "init_module", "finit_module",
    "delete_module", "reboot", "swapon", "unshare", "setns", "open_by_handle_at", "fchown", "fchownat", "setxattr",
    "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "setxattrat", "removexattrat",
    "setpriority", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "ioprio_set",
)  # fmt: skip
# architecture → (AUDIT_ARCH of linux/audit.h, the number of socket, those of _DENIED in that order, that of ioctl)
_MACHINES: "Final[Mapping[str, tuple[int, int, tuple[int, ...], int]]]" = {
    "x86_64": (
        0xC000003E,
        41,
        (101, 310, 311, 425, 321, 298, 323, 250, 248, 249, 165, 166, 155, 246, 175, 313, 176, 169, 167, 272, 308, 304,
         93, 260, 188, 189, 190, 197, 198, 199, 463, 466, 141, 203, 144, 142, 314, 251,
         92, 94),  # and chown and lchown, which newer architectures do without
        16,
    ),
    "aarch64": (
        0xC00000B7,
        198,
        (117, 270, 271, 425, 280, 241, 282, 219, 217, 218, 40, 39, 41, 104, 105, 273, 106, 142, 224, 97, 268, 265,
         55, 54, 5, 6, 7, 14, 15, 16, 463, 466, 140, 122, 119, 118, 274, 30),
        29,
    ),
}  # fmt: skip
_KEYSTROKES: "Final" = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: to type into the terminal that the caller has, too
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF: ld [k], jeq, jge, ret
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001  # the last with EPERM
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT, _SECOND_AT = 0, 4, 16, 24  # in struct seccomp_data
_X32: "Final" = 0x40000000


class Sandbox:
    """What a program may do beside reading the system's libraries, its interpreter and what is mounted.

    Paths are files or folders with all below them; what may be written may be read. Without *allows_network* there are
    no sockets but pairs.
    """

    __slots__ = ("allows_network", "by", "limits", "reads", "writes")

    def __init__(
        self,
        *,
        reads: "Sequence[str]" = (),
        writes: "Sequence[str]" = (),
        allows_network: bool = False,
        limits: "Sequence[str]" = (),
        by: str = "",
    ) -> None:
        self.reads, self.writes, self.allows_network = tuple(reads), tuple(writes), allows_network
        self.limits = tuple(limits)  # NAME=AMOUNT of _LIMITS
        self.by = by  # "", or "bwrap": bubblewrap, where namespaces do what Landlock does otherwise


def limits_of(texts: "Iterable[str]") -> "list[tuple[int, int]]":
    """Return (resource, amount) of limits as they are written: ``memory=2GB``. Raises UsageError."""
    import resource

    from remote_wheel.spec.amounts import parse_size

    found = []
    for text in texts:
        name, _, amount = text.partition("=")
        if name not in _LIMITS or not amount:
            way = f"As in {', '.join(f'{each}={example}' for each, (_, example) in _LIMITS.items())}."
            raise _wrong(message=f"a sandbox has no limit {text!r}", way_out=way)
        found.append((int(getattr(resource, _LIMITS[name][0])), parse_size(amount)))
    return found


def check_paths(sandbox: Sandbox) -> None:
    """Raise UsageError for a path of the sandbox that is not there, and for a limit that is none."""
    for path in (*sandbox.reads, *sandbox.writes):
        if not os.path.exists(path):
            raise _wrong(message=f"the sandbox is to let {path!r} be used, and it is not there")
    if sandbox.by not in ("", "bwrap"):
        raise _wrong(message=f"a sandbox is not made by {sandbox.by!r}", way_out="By bwrap, or say nothing.")
    if sandbox.limits:
        limits_of(sandbox.limits)


def shortcomings() -> "list[str]":
    """Return what of a sandbox this kernel can't enforce. Raises SandboxUnavailable where it is too little."""
    if sys.platform != "linux":
        raise _unavailable(f"{sys.platform} has no Landlock")
    if os.uname().machine not in _MACHINES or sys.maxsize < 1 << 32:
        raise _unavailable(f"the system calls of {os.uname().machine} are not known here")
    version = _abi()
    if version < 1:
        raise _unavailable("this kernel has no Landlock, or it is switched off")
    return [*(text for since, text in _SINCE.items() if version < since), _ALWAYS]


def restrict(sandbox: Sandbox, reads: "Iterable[str]") -> None:
    """Restrict this process, and all that it starts, for good; *reads* are what it must read to work at all.

    Raises SandboxUnavailable, or UsageError for a path of the sandbox that is not there.
    """
    shortcomings()
    check_paths(sandbox)
    if sandbox.limits:
        _limit(sandbox.limits)
    from remote_wheel.api import libc

    _call(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
    _call(libc.setrlimit(_CORE, bytes(16)), "no core dumps")  # one would have what was read
    _restrict_files(libc, sandbox, (*_SYSTEM, *sandbox.reads, *reads))
    _restrict_calls(libc, allows_network=sandbox.allows_network)


def enter(sandbox: Sandbox, reads: "Iterable[str]", tell: "Callable[[Sequence[str]], None]") -> None:
    """Restrict this process; it has a folder for temporary files of its own, which is removed when it has ended.

    *tell* gets what can't be enforced. Raises SandboxUnavailable and UsageError as restrict does.
    """
    check_paths(sandbox)
    if sandbox.by:
        _become_wrapped(sandbox, reads)
    tell([f"the sandbox: {text}" for text in shortcomings()])
    temporary = _make_temporary()
    _remove_behind_us(temporary)
    os.environ["TMPDIR"] = temporary
    if "tempfile" in sys.modules:  # it has looked for a folder already
        setattr(sys.modules["tempfile"], "tempdir", temporary)  # noqa: B010  # for type checkers it has no such name
    sandbox.writes = (*sandbox.writes, temporary)
    restrict(sandbox, reads)


def _become_wrapped(sandbox: Sandbox, reads: "Iterable[str]") -> None:
    """Start this command again inside of bubblewrap, without its own sandbox; it finds in the cache what it needs."""
    arguments, at = [], 0
    given = sys.argv[1:]
    while at < len(given) and (given[at].startswith("-") or at == 0):  # up to the program's own
        word, at = given[at], at + 1
        name, equals, _ = word.partition("=")
        if not name.startswith("--sandbox"):
            arguments.append(word)
            if name in ("-m", "-c", "--exe"):
                break
        elif not equals and name not in ("--sandbox", "--sandbox-network"):
            at += 1
    command = [sys.executable, "-P", "-m", "remote_wheel", *arguments, *given[at:]]
    if sandbox.limits:
        _limit(sandbox.limits)
    os.execv(_bwrap(), ["bwrap", *wrapping(sandbox, reads), *command])  # noqa: S606  # what was asked for


def wrapping(sandbox: Sandbox, reads: "Iterable[str]") -> "list[str]":
    """Return bubblewrap's arguments for a sandbox, up to those of the program."""
    words = [
        "--unshare-all",
        *(["--share-net"] if sandbox.allows_network else []),
        "--die-with-parent",
        "--new-session",
    ]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  # its own
    of_system = (path for path in _SYSTEM if not path.startswith(("/dev/", "/proc/", "/sys/")))
    bound: list[str] = []
    for path in (*of_system, *sandbox.reads, *reads):
        if not any(path == above or path.startswith(f"{above}{os.sep}") for above in bound):
            bound.append(path)
            words += ["--ro-bind-try", path, path]
    for path in sandbox.writes:
        words += ["--bind", path, path]
    folder = working_folder() or "/"
    return [*words, "--dir", folder, "--chdir", folder, "--setenv", "TMPDIR", "/tmp", "--"]  # noqa: S108


def _bwrap() -> str:
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = next((path for place in places if os.access(path := os.path.join(place, "bwrap"), os.X_OK)), None)
    if found is None:
        raise _unavailable("bubblewrap (bwrap) is not installed")
    return found


def _remove_behind_us(folder: str) -> None:
    """Have a process that is nobody's child remove *folder* when this one, and all that it has forked, have ended.

    A shell, for a fork would share our memory, and each page of it would be copied when the program touches it.
    """
    reader, _writer = os.pipe()  # which the system closes with us
    script = "trap '' HUP INT QUIT TERM; (read end <&3; exec rm -rf -- \"$1\") </dev/null >/dev/null 2>&1 &"
    environ, actions = {"PATH": "/usr/bin:/bin"}, [(os.POSIX_SPAWN_DUP2, reader, 3)]
    try:
        between = os.posix_spawn("/bin/sh", ["sh", "-c", script, "sh", folder], environ, file_actions=actions)
    except OSError as error:
        os.rmdir(folder)
        raise _unavailable(f"/bin/sh can't be started ({error.strerror})") from error
    os.close(reader)
    os.waitpid(between, 0)


def _limit(texts: "Iterable[str]") -> None:
    import resource

    for kind, amount in limits_of(texts):
        hard = resource.getrlimit(kind)[1]
        most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (most, most))


def _make_temporary() -> str:
    """Make a folder for temporary files, as tempfile would, which is much to import."""
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    for place in (*filter(None, named), "/tmp", "/var/tmp", "/usr/tmp", working_folder() or "/"):  # noqa: S108  # tempfile's own
        path = os.path.join(absolute(place), f"remote_wheel-sandbox-{os.urandom(8).hex()}")
        try:
            os.mkdir(path, 0o700)
        except OSError:
            continue
        return path
    raise _unavailable("there is no folder for temporary files")


def run_sandboxed(
    command: "Sequence[str]", given: "bool | Mapping[str, Any]", roots: "Sequence[Root]", options: "dict[str, Any]"
) -> "subprocess.CompletedProcess[Any]":
    """Do what subprocess.run does with *options*, in a sandbox that has the mounts of *roots* and the program."""
    import subprocess
    import tempfile
    import warnings

    from remote_wheel.mounts.finder import make_tree

    fields = {} if given is True or given is False else {**given}
    known = ("reads", "writes", "allows_network", "limits", "by")
    if unknown := [name for name in fields if name not in known]:
        raise _wrong(message=f"a sandbox has no {unknown[0]!r}", way_out=f"It has {', '.join(known)}.")
    for name in ("reads", "writes", "limits"):
        if isinstance(fields.get(name), (str, bytes)):
            raise _wrong(message=f"{name} of a sandbox is a list, not {fields[name]!r}")
    for text in () if fields.get("by") else shortcomings():
        warnings.warn(f"the sandbox: {text}", stacklevel=3)
    for root in roots:
        if root.is_pending:
            make_tree(root)
    places = [place for root in roots for place in (root.path, root.image.path)]
    program = [os.path.join(options.get("cwd") or "", word) for word in _program_in(command[1:])]
    with tempfile.TemporaryDirectory(prefix="remote_wheel-sandbox-") as temporary:
        paths = {name: tuple(map(os.path.abspath, fields.get(name, ()))) for name in ("reads", "writes")}
        sandbox = Sandbox(
            reads=paths["reads"],
            writes=(*paths["writes"], temporary),
            allows_network=bool(fields.get("allows_network")),
            limits=tuple(fields.get("limits", ())),
            by=str(fields.get("by", "")),
        )
        check_paths(sandbox)
        reads = [*interpreter_places(), *places, *map(os.path.abspath, program), _PACKAGE]
        environ = {**options["env"], "TMPDIR": temporary}
        if sandbox.by:
            limit = (lambda: _limit(sandbox.limits)) if sandbox.limits else None
            command = [_bwrap(), *wrapping(sandbox, reads), *command]
            return subprocess.run(command, **{"check": False, **options, "env": environ, "preexec_fn": limit})
        changed = {"check": False, **options, "env": environ, "preexec_fn": lambda: restrict(sandbox, reads)}
        return subprocess.run(command, **changed)  # check is among them


def interpreter_places() -> "list[str]":
    """Return what this interpreter reads of itself, and what it finds modules in, but beside its own program."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = os.path.dirname(absolute(program)) if program else ""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [path for path in sys.path if path and (path != beside or path in named)]
    return [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable, *paths]


def _program_in(arguments: "Sequence[str]") -> "list[str]":
    """Return the script among an interpreter's arguments, if there is one."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        if arguments[at] in ("-c", "-m", "-") or arguments[at][:2] in ("-c", "-m"):
            return []
        at += 2 if arguments[at] in ("-W", "-X", "--check-hash-based-pycs") else 1
    return list(arguments[at : at + 1])


def _wrong(message: str, way_out: str = "") -> Exception:
    from remote_wheel.errors import UsageError

    return UsageError(message=message, way_out=way_out)


def _unavailable(reason: str) -> Exception:
    from remote_wheel.errors import SandboxUnavailable

    return SandboxUnavailable(reason=reason)


def _packed(*fields: "tuple[int, int]") -> bytes:
    """Return numbers, each with its size in bytes, as a structure of C has them on a little-endian machine."""
    return b"".join(value.to_bytes(size, "little") for value, size in fields)


def _abi() -> int:
    from remote_wheel.api import libc

    return int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION))


def _call(result: int, what: str) -> int:
    if result < 0:
        from remote_wheel.api.libc import last_error

        raise _unavailable(f"{what}: {last_error()}")
    return result


def _restrict_files(libc: "Any", sandbox: Sandbox, reads: "Iterable[str]") -> None:
    version = _abi()
    most = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    handled = (1 << most) - 1
    tcp = _TCP if version >= 4 and not sandbox.allows_network else 0
    attributes = _packed((handled, 8), (tcp, 8), (_SCOPES if version >= 6 else 0, 8))
    size = len(attributes)
    rules = _call(libc.syscall(_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset")
    try:
        for paths, allowed in ((reads, _READ), (_SINKS, _READ | _WRITE_FILE), (sandbox.writes, handled & ~_EXECUTE)):
            for path in dict.fromkeys(paths):
                _allow(libc, rules, path, allowed & handled)
        _call(libc.syscall(_RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(libc: "Any", rules: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # one of the system's that is not there
        return
    try:
        is_folder = os.fstat(place).st_mode & 0o170000 == 0o040000
        rule = _packed((allowed if is_folder else allowed & _OF_FILES, 8), (place, 4))
        _call(libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0), "landlock_add_rule")
    finally:
        os.close(place)


def _restrict_calls(libc: "Any", *, allows_network: bool) -> None:
    code = b"".join(_program(allows_network=allows_network))
    buffer = libc.buffer_of(code)
    head = _packed((len(code) // 8, 8), (libc.address_of(buffer), 8))  # a short, padding, a pointer
    _call(libc.prctl(_SECCOMP, _FILTER, head, 0, 0), "seccomp")


def _program(*, allows_network: bool) -> "Iterator[bytes]":
    """Yield the filter's instructions: the denied calls are refused, and sockets but those of an allowed network."""

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return _packed((code, 2), (if_true, 1), (if_false, 1), (value, 4))

    architecture, socket, denied, control = _MACHINES[os.uname().machine]
    yield step(_LOAD, _ARCHITECTURE_AT)
    yield step(_EQUAL, architecture, 1, 0)
    yield step(_RETURN, _KILL)
    yield step(_LOAD, _NUMBER_AT)
    yield step(_AT_LEAST, _X32, 0, 1)
    yield step(_RETURN, _REFUSE)
    for number in denied:
        yield step(_EQUAL, number, 0, 1)
        yield step(_RETURN, _REFUSE)
    yield step(_EQUAL, control, 0, 5)
    yield step(_LOAD, _SECOND_AT)
    yield step(_EQUAL, _KEYSTROKES[0], 2, 0)
    yield step(_EQUAL, _KEYSTROKES[1], 1, 0)
    yield step(_RETURN, _ALLOW)
    yield step(_RETURN, _REFUSE)
    yield step(_EQUAL, socket, 1, 0)
    yield step(_RETURN, _ALLOW)
    yield step(_LOAD, _ARGUMENT_AT)
    for family in (_INET, _INET6) if allows_network else ():
        yield step(_EQUAL, family, 0, 1)
        yield step(_RETURN, _ALLOW)
    yield step(_RETURN, _REFUSE)
