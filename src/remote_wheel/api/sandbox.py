"""A sandbox on request: what a program may use, and the processes that see to it. confine.py asks the kernel.

What a kernel can't enforce is told; one that has no Landlock, or another system, is refused: nothing is pretended.
A warm `run --sandbox` waits for all that is imported here, so most of it is imported where it is needed.
"""

import os
import sys

from remote_wheel.api.confine import (
    AS_ROOT,
    close_inherited,
    confine,
    default_limits,
    forget_environment,
    open_filter,
    set_limits,
    shortcomings,
)
from remote_wheel.mounts import children, leases
from remote_wheel.mounts.boot import absolute, working_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Final

    from remote_wheel.mounts.finder import Root

_PACKAGE: "Final" = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

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
_OF_LIMITS: "Final" = {"memory": "RLIMIT_DATA"}  # the default's, where it is another than what is named sets
# What a program gets of the environment: where its tools are, its language, its terminal. All else may be a secret.
_VARIABLES: "Final" = (
    "PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_COLLATE", "LC_MESSAGES", "LC_MONETARY", "LC_NUMERIC",
    "LC_TIME", "TZ", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES",
)  # fmt: skip
_INSIDE: "Final" = "REMOTE_WHEEL_INSIDE"  # set in bubblewrap's: the variables that the program gets, by their names
_SECRETS: "Final" = ("_PASSWORD", "_USERNAME", "_TOKEN")  # how names of variables end that no sandbox gets
_NOT_STARTED: "Final" = 126  # as shells have it


class Sandbox:
    """What a program may do beside reading the system's libraries, its interpreter and what is mounted.

    Paths are files or folders with all below them; what may be written may be read. Without *allows_network* there are
    no sockets but pairs.
    """

    __slots__ = ("allows_network", "by", "env", "limits", "reads", "writes")

    def __init__(
        self,
        *,
        reads: "Sequence[str]" = (),
        writes: "Sequence[str]" = (),
        allows_network: bool = False,
        limits: "Sequence[str]" = (),
        env: "Sequence[str]" = (),
        by: str = "",
    ) -> None:
        self.reads, self.writes, self.allows_network = tuple(reads), tuple(writes), allows_network
        self.limits = tuple(limits)  # NAME=AMOUNT of _LIMITS
        self.env = tuple(env)  # names of variables that it gets beside _VARIABLES
        self.by = by  # "", or "bwrap": bubblewrap, where namespaces do what Landlock does otherwise


def limits_of(texts: "Iterable[str]") -> "list[tuple[int, int]]":
    """Return (resource, amount) of limits as they are written, ``memory=2GB``, ``file=none``, and of the default ones.

    Raises UsageError.
    """
    import resource

    found = dict(default_limits())
    for text in texts:
        name, _, amount = text.partition("=")
        if name not in _LIMITS or not amount:
            way = f"As in {', '.join(f'{each}={example}' for each, (_, example) in _LIMITS.items())}; or NAME=none."
            raise _wrong(message=f"a sandbox has no limit {text!r}", way_out=way)
        kind = int(getattr(resource, _LIMITS[name][0]))
        found.pop(int(getattr(resource, _OF_LIMITS.get(name, _LIMITS[name][0]))), None)
        if amount.strip().lower() != "none":
            from remote_wheel.spec.amounts import parse_size

            found[kind] = parse_size(amount)
    return list(found.items())


def check_paths(sandbox: Sandbox) -> None:
    """Raise UsageError for a path of the sandbox that is not there, and for a limit that is none."""
    for path in (*sandbox.reads, *sandbox.writes):
        if not os.path.exists(path):
            raise _wrong(message=f"the sandbox is to let {path!r} be used, and it is not there")
    if sandbox.by not in ("", "bwrap"):
        raise _wrong(message=f"a sandbox is not made by {sandbox.by!r}", way_out="By bwrap, or say nothing.")
    if sandbox.limits:
        limits_of(sandbox.limits)


def environment_for(given: "bool | Mapping[str, Any]") -> "dict[str, str]":
    """Return the variables that a program gets in the sandbox of Environment.run()."""
    names = _checked_fields(given).get("env", ())
    if isinstance(names, (str, bytes)):
        raise _wrong(message=f"env of a sandbox is a list of names, not {names!r}")
    return {name: os.environ[name] for name in (*_VARIABLES, *names) if name in os.environ}


def enter(
    sandbox: Sandbox, reads: "Iterable[str]", tell: "Callable[[Sequence[str]], None]", words: "Sequence[str]"
) -> None:
    """Restrict this process; it has a folder for temporary files of its own, which is removed when it has ended.

    It goes on as a child of the one that was started, which ends what it leaves behind. *tell* gets what can't be
    enforced; *words* are the command without its sandbox, for another one to be started in it. Raises
    SandboxUnavailable, or UsageError for a path of the sandbox that is not there.
    """
    check_paths(sandbox)
    close_inherited()
    if sandbox.by:
        _become_wrapped(sandbox, reads, words)
    tell([f"the sandbox: {text}" for text in shortcomings()])
    from remote_wheel.api import supervise

    temporary = _make_temporary()
    supervise.go_on_below(lambda: _remove(temporary))
    leases.let_go()  # those above hold them
    forget_environment((*_VARIABLES, *sandbox.env, children.VARIABLE, "PYTHONPATH"))
    os.environ.update(TMPDIR=temporary, HOME=temporary)
    if "tempfile" in sys.modules:  # it has looked for a folder already
        setattr(sys.modules["tempfile"], "tempdir", temporary)  # noqa: B010  # for type checkers it has no such name
    confine(
        (*_SYSTEM, *sandbox.reads, *reads),
        sandbox.writes,
        limits_of(sandbox.limits),
        allows_network=sandbox.allows_network,
        own=temporary,
    )
    if os.geteuid() == 0:
        tell([f"the sandbox: {AS_ROOT}"])


def leave_environment() -> None:
    """In a process that bubblewrap has started: take what only we needed of the environment from the program."""
    names = os.environ.pop(_INSIDE, None)
    if names is not None:
        forget_environment((*_VARIABLES, *names.split(","), children.VARIABLE, "PYTHONPATH", "TMPDIR"))
        os.environ["HOME"] = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  # its own


def _become_wrapped(sandbox: Sandbox, reads: "Iterable[str]", words: "Sequence[str]") -> None:
    """Start this command again inside of bubblewrap, without its own sandbox; it finds in the cache what it needs."""
    from remote_wheel.api.interpreter import find_interpreters

    if "-" in words and not any(word in words for word in ("-c", "-m", "--exe")):
        way = "Give it a file, or leave --sandbox-by out."
        raise _wrong(
            message="a script on standard input was read already, and bubblewrap starts another process", way_out=way
        )
    interpreter = next(find_interpreters(), None)
    if interpreter is None:
        raise _unavailable("there is no interpreter that could be started in it")
    command = [interpreter, "-P", "-m", "remote_wheel", *words]
    set_limits(limits_of(sandbox.limits))
    # What the program may not see is in no environment of the sandbox: all of it is readable by its first process.
    needed = {name for name in os.environ if name.startswith("REMOTE_WHEEL_") and not name.endswith(_SECRETS)}
    kept = {*_VARIABLES, *sandbox.env, *needed, "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYTHONPATH"}
    environ = {name: value for name, value in os.environ.items() if name in kept and "@" not in value}
    environ[_INSIDE] = ",".join(sandbox.env)
    filtered = ["--seccomp", str(open_filter(allows_network=sandbox.allows_network))]
    words_of_bwrap = ["bwrap", *filtered, *wrapping(sandbox, reads), *command]
    os.execve(_bwrap(), words_of_bwrap, environ)  # noqa: S606  # what was asked for


def wrapping(sandbox: Sandbox, reads: "Iterable[str]") -> "list[str]":
    """Return bubblewrap's arguments for a sandbox, up to those of the program."""
    words = [
        "--unshare-all",
        *(["--share-net"] if sandbox.allows_network else []),
        "--die-with-parent",
        "--new-session",
        *(["--cap-drop", "ALL"] if os.geteuid() == 0 else []),
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


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:  # something was left in it
        import shutil

        try:
            shutil.rmtree(folder)
        except (OSError, RecursionError):  # folders nested deeper than Python calls, or that may not be listed
            os.waitpid(os.posix_spawn("/bin/rm", ["rm", "-rf", "--", folder], {}), 0)


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
    """Do what subprocess.run does with *options*, in a sandbox that has the mounts of *roots* and the program.

    The processes that see to it are started by a bare interpreter: nothing runs between fork and exec of this one.
    """
    import json
    import subprocess
    import tempfile
    import warnings

    from remote_wheel.api import supervise
    from remote_wheel.mounts.finder import make_tree

    fields = _checked_fields(given)
    may_stay = [f"{AS_ROOT} (if nobody else may read it)"] if os.geteuid() == 0 else []
    for text in () if fields.get("by") else (*shortcomings(), *may_stay):
        warnings.warn(f"the sandbox: {text}", stacklevel=3)
    for root in roots:
        if root.is_pending:
            make_tree(root)
    program = [os.path.join(os.fsdecode(options.get("cwd") or ""), word) for word in _program_in(command[1:])]
    # The processes that end what is left may still be at it when this one was told to wait no longer.
    with tempfile.TemporaryDirectory(prefix="remote_wheel-sandbox-", ignore_cleanup_errors=True) as temporary:
        paths = {name: tuple(map(os.path.abspath, fields.get(name, ()))) for name in ("reads", "writes")}
        sandbox = Sandbox(**{**fields, **paths})
        check_paths(sandbox)
        reads = [*interpreter_places(), *files_of(roots), *map(os.path.abspath, program), _PACKAGE]
        environ = {"HOME": "/tmp" if sandbox.by else temporary, **options["env"], "TMPDIR": temporary}  # noqa: S108
        orders = {
            "limits": limits_of(sandbox.limits),
            "keep": list(options.get("pass_fds", ())),
            "is_wrapped": bool(sandbox.by),
            "reads": [*_SYSTEM, *sandbox.reads, *reads],
            "writes": sandbox.writes,
            "allows_network": sandbox.allows_network,
            "own": temporary,
        }
        wrapped = [*([_bwrap(), *wrapping(sandbox, reads)] if sandbox.by else ()), *command]
        started = [*supervise.command_of(command[0], _PACKAGE), json.dumps(orders), *wrapped]
        try:
            done = subprocess.run(started, **{"check": False, **options, "env": environ})  # check is among them
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            error.cmd = list(command)
            raise
        done.args = list(command)
        return done


def _checked_fields(given: "bool | Mapping[str, Any]") -> "dict[str, Any]":
    """Return the fields of a sandbox as they are given; raise UsageError for what is none."""
    if not isinstance(given, bool) and not hasattr(given, "keys"):
        raise _wrong(message=f"sandbox is True, or the fields of one, not {given!r}")
    fields = {} if isinstance(given, bool) else {**given}
    known = ("reads", "writes", "allows_network", "limits", "by", "env")
    if unknown := [name for name in fields if name not in known]:
        raise _wrong(message=f"a sandbox has no {unknown[0]!r}", way_out=f"It has {', '.join(known)}.")
    for name in ("reads", "writes", "limits", "env"):
        if isinstance(fields.get(name), (str, bytes)):
            raise _wrong(message=f"{name} of a sandbox is a list, not {fields[name]!r}")
    return fields


def launch() -> None:
    """Become the program of the arguments, in a sandbox as the first of them says: in a bare interpreter."""
    import json

    from remote_wheel.api import supervise
    from remote_wheel.errors import RemoteWheelError

    orders = json.loads(sys.argv[1])
    limits = [(kind, amount) for kind, amount in orders["limits"]]
    command = sys.argv[2:]
    try:
        close_inherited(orders["keep"])
        supervise.go_on_below(lambda: None)
        network = bool(orders["allows_network"])
        if orders["is_wrapped"]:
            command[1:1] = ["--seccomp", str(open_filter(allows_network=network))]
            set_limits(limits)
        else:
            confine(orders["reads"], orders["writes"], limits, allows_network=network, own=orders["own"])
        os.execve(command[0], command, os.environ)  # noqa: S606  # what was asked for
    except (RemoteWheelError, OSError) as error:
        os.write(2, f"the sandbox: {error}\n".encode("utf-8", "backslashreplace"))
    os._exit(_NOT_STARTED)


def files_of(roots: "Iterable[Root]") -> "Iterator[str]":
    """Yield what mounts are read from: images, code that is still being compiled, trees, the archives behind them."""
    from remote_wheel.mounts.published import published_path

    for root in roots:
        image = root.image.path
        store = os.path.dirname(os.path.dirname(os.path.dirname(image)))
        yield from (root.path, f"{root.path}.files", image, published_path(image), os.path.join(store, children.ROOM))
        yield os.path.join(store, "archives", root.facts["sha256"])


def interpreter_places() -> "list[str]":
    """Return what this interpreter reads of itself, and what it finds modules in, but beside its own program."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = os.path.dirname(absolute(program)) if program else ""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [path for path in sys.path if path and (path != beside or path in named)]
    return [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.executable or sys.prefix, *paths]


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
