"""Running a program as ``python`` would: a script, a module, a command, or a distribution's console script.

The command line of ``run`` is read here by hand, because a warm run must not pay for an argument parser. The table
of options is also what the full parser and its help are made of (cli.parser).
"""

import _frozen_importlib_external
import os
import sys

from remote_wheel.mounts.boot import absolute, working_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType, TracebackType
    from typing import Any

FLAG, OFF, AUTO, VALUE, LIST = "flag", "off", "auto", "value", "list"
SWITCHES: "dict[str, Any]" = {FLAG: True, OFF: False, AUTO: "auto"}  # what an option without a value stands for
# (option on the command line, name in Options, kind, help)
OPTIONS = (
    ("--index-url", "index_url", VALUE, "the simple index to use, a URL or a folder"),
    ("--extra-index-url", "extra_index_urls", LIST, "an index asked before it; the first that has a project owns it"),
    ("--index", "index", LIST, "an index with a name, NAME=URL; asked before the others"),
    ("--project-index", "project_index", LIST, "PROJECT=NAME: take the project from that index alone, and only it"),
    ("--index-strategy", "index_strategy", VALUE, "first-index (default), or unsafe-best-match over all indexes"),
    ("--find-links", "find_links", LIST, "a folder, page, wheel or glob of files to choose from, beside the indexes"),
    ("--no-index", "no_index", FLAG, "ask no index, --find-links alone"),
    ("--offline", "offline", FLAG, "use the cache alone"),
    ("--offline-auto", "offline", AUTO, "use the cache alone when the network is down"),
    (
        "--frozen",
        "frozen",
        FLAG,
        "refuse what no hash, lock or earlier use vouches for; run takes the lock beside",
    ),
    ("--refresh", "refresh", FLAG, "ask the index again, however fresh the cache is"),
    ("--no-cache", "no_cache", FLAG, "read and write no cache; keep all in memory"),
    ("--pre", "pre", FLAG, "allow pre-releases"),
    ("--pre-for", "pre", LIST, "allow pre-releases of this project"),
    ("--constraints", "constraints", LIST, "a version bound for a project if it is needed, or a .txt file of them"),
    (
        "--overrides",
        "overrides",
        LIST,
        "what counts instead of all requirements on its project, or a .txt file of them",
    ),
    ("--exclude-newer", "exclude_newer", LIST, "leave out files newer than a date or age (7d), all or PROJECT=WHEN"),
    ("--no-prefer-installed", "prefer_installed", OFF, "don't count installed distributions as satisfying"),
    ("--isolated", "prefer_installed", OFF, "the same: only what is required is mounted, nothing installed counts"),
    ("--allow-insecure", "allow_insecure", LIST, "a host whose certificate, or lack of https, is not minded"),
    ("--client-cert", "client_cert", VALUE, "a PEM file with the certificate to show to servers"),
    ("--verify", "verify", VALUE, "full (default); names: only warn where RECORD is wrong of a wheel's files"),
    ("--require-hashes", "require_hashes", FLAG, "refuse what you or a lock state no hash for"),
    ("--allowed-hosts", "allowed_hosts", LIST, "a host to fetch from, *.DOMAIN for all below; no other is asked then"),
    ("--allowed-indexes", "allowed_indexes", LIST, "a URL that indexes must begin with"),
    ("--allow-shadow", "allow_shadow", LIST, "a module that a wheel may have though it is another's or Python's own"),
    ("--timeout", "timeout_s", VALUE, "how many seconds a server may say nothing"),
    ("--unpack", "unpack", LIST, "unpack this project's wheel, whatever its code looks like; :all: for every one"),
    ("--in-memory", "in_memory", LIST, "leave this project's wheel in memory, whatever its code looks like"),
    ("--cache-dir", "cache_dir", VALUE, "the cache folder"),
)
_BY_FLAG = {option: (name, kind) for option, name, kind, _ in OPTIONS}


class RunRequest:
    """What a ``run`` command line asks for. `kind` is script, folder, module, command or exe.

    `argv` is the program's own.
    """

    __slots__ = (
        "argv", "block", "cache_dir", "extras", "groups", "is_locked", "is_verbose", "kind", "lock", "options",
        "program", "requirements", "sandbox", "source", "source_file", "target", "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requirements: list[str] = []
        self.options: dict[str, Any] = {}
        self.lock: "str | None" = None
        self.extras: list[str] = []  # of the lock
        self.groups: "list[str] | None" = None
        self.cache_dir: "str | None" = None
        self.is_locked = False
        self.is_verbose = False
        self.kind = ""
        self.target = ""
        self.argv: list[str] = []
        self.sandbox: "dict[str, Any] | None" = None  # the fields of an api.sandbox.Sandbox
        self.program = ""  # the file that --exe names, where it is no entry point
        self.source = b""  # the script's
        self.source_file = ""  # where that is, if its target is a URL
        self.block = ""  # and what its inline metadata says (PEP 723)
        self.words: list[str] = []  # the command line behind ``run``, but for what is said of a sandbox


def parse_run(arguments: "Sequence[str]") -> "RunRequest | None":
    """Read the arguments behind ``run``; None where they are not in order, for the full parser to say why."""
    request, at = RunRequest(), 0
    while at < len(arguments):
        word, start = arguments[at], at
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        at += 1
        if _take_switch(request, option):
            if equals:
                return None
            request.words += () if option.startswith("--sandbox") else (word,)
            continue
        if not word.startswith("-") or word == "-":
            request.words += arguments[start:]
            request.kind, request.target, request.argv = "script", word, list(arguments[at:])
            return request
        if not equals:
            if at == len(arguments):
                return None
            value = arguments[at]
            at += 1
        if option in ("-m", "-c", "--exe"):
            request.kind = {"-m": "module", "-c": "command", "--exe": "exe"}[option]
            request.target = value
            request.words += arguments[start:]
            rest = list(arguments[at:])
            request.argv = rest[1:] if option == "--exe" and rest[:1] == ["--"] else rest
            if option == "--exe":
                _take_exe(request, value)
            return request
        if not _take_value(request, option, value):
            return None
        request.words += () if option.startswith("--sandbox") else arguments[start:at]
    return None


def _take_exe(request: RunRequest, word: str) -> None:
    """Read which program is asked for: NAME, or a requirement as in ``ruff==0.8``, ``ruff@0.8``, ``black[jupyter]``."""
    end = next((at for at, letter in enumerate(word) if not (letter.isalnum() or letter in "-_.")), len(word))
    request.target, rest = word[:end], word[end:].strip()
    if rest[:1] == "@" and "/" not in rest:  # as uvx has it
        rest = "" if rest[1:].strip() in ("", "latest") else f"=={rest[1:].strip()}"
    if rest or (not request.requirements and request.lock is None):
        request.requirements.append(f"{request.target}{rest}")


def _take_switch(request: RunRequest, option: str) -> bool:
    """Take an option that has no value; False where it is another one."""
    if option in ("-v", "--verbose"):
        request.is_verbose = True
    elif option == "--locked":
        request.is_locked = True
    elif option in ("--sandbox", "--sandbox-network"):
        request.sandbox = request.sandbox or {}
        if option == "--sandbox-network":
            request.sandbox["allows_network"] = True
    elif option in _BY_FLAG and _BY_FLAG[option][1] in SWITCHES:
        request.options[_BY_FLAG[option][0]] = SWITCHES[_BY_FLAG[option][1]]
    else:
        return False
    return True


def _take_value(request: RunRequest, option: str, value: str) -> bool:
    if option == "--with":
        request.requirements.append(value)
    elif option == "--with-requirements":
        request.requirements.append(f"-r {value}")
    elif option in ("--sandbox-by", "--sandbox-env", "--sandbox-limit", "--sandbox-read", "--sandbox-write"):
        _take_sandbox(request, option[10:], value)
    elif option == "--lock":
        if request.lock is not None:
            from remote_wheel.errors import UsageError

            raise UsageError(message="--lock is given twice", way_out="One lock has all that is to be mounted.")
        request.lock = value
    elif option == "--extra":
        request.extras.append(value)
    elif option == "--group":
        request.groups = [*(request.groups or ()), value]
    elif option == "--cache-dir":
        request.cache_dir = value
    elif option in _BY_FLAG:
        name, kind = _BY_FLAG[option]
        if kind == LIST:
            known = request.options.get(name)
            request.options[name] = known if known is True else [*(known or ()), value]
        else:
            request.options[name] = value
    else:
        return False
    return True


def _take_sandbox(request: RunRequest, what: str, value: str) -> None:
    request.sandbox = request.sandbox or {}
    if what == "by":
        request.sandbox["by"] = value
        return
    name = what if what == "env" else f"{what}s"
    known = request.sandbox.get(name, ())
    request.sandbox[name] = (*known, absolute(value) if what in ("read", "write") else value)


def run_program(request: RunRequest, scripts: "dict[str, str]") -> int:
    """Run the program and return its exit code; *scripts* are the mounted console scripts by name.

    SystemExit passes through. Another exception is shown as python shows it, without our own frames.
    """
    try:
        if request.program:
            return _run_file(request)
        if request.kind == "exe":
            return _run_exe(request, scripts[request.target])
        if request.kind in ("module", "folder"):
            return _run_module(request)
        return _run_code(request)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # what the program raises is shown as python shows it
        return _show(error)


def _run_exe(request: RunRequest, target: str) -> int:
    """Call a console script's object, as the launcher that pip writes would (entry points specification)."""
    if _has_program_folder():
        del sys.path[0]
    sys.argv[:] = [request.target, *request.argv]
    module_name, _, attributes = target.partition(":")
    __import__(module_name)
    value: Any = sys.modules[module_name]
    for name in attributes.split("."):
        value = getattr(value, name)
    sys.exit(value())


def _run_file(request: RunRequest) -> int:
    """Become a program of a wheel's ``.data/scripts``; a script for python, whatever its path, is one for this one."""
    path = request.program
    with open(path, "rb") as file:
        is_python = file.read(8) == b"#!python"  # as wheels have it, for installers to replace
        file.seek(0)
        request.source = file.read() if is_python else b""
    if is_python:
        request.kind, request.target = "script", path
        return _run_code(request)
    if os.name != "nt":  # where exec lets the shell go on before the program ends
        os.execv(path, [path, *request.argv])  # noqa: S606  # running it is what was asked for
    import subprocess

    return subprocess.call([path, *request.argv])


def _run_module(request: RunRequest) -> int:
    import runpy

    is_folder = request.kind == "folder"
    _set_program_folder(request.target if is_folder else working_folder())
    sys.argv[:] = [request.target, *request.argv]
    _new_main()
    # What python calls for -m, and for a folder or an archive.
    run: Any = runpy._run_module_as_main  # type: ignore[attr-defined]  # noqa: SLF001
    run("__main__" if is_folder else request.target, not is_folder)
    return 0


def _run_code(request: RunRequest) -> int:
    main = _new_main()
    if request.kind == "command":
        _set_program_folder("")
        sys.argv[:] = ["-c", *request.argv]
        source, filename = request.target.encode(), "<string>"
    else:
        source = request.source
        if request.target == "-":
            _set_program_folder("")
            filename = main.__dict__["__file__"] = "<stdin>"
        elif is_url(request.target):
            _set_program_folder("")
            filename = request.target  # for tracebacks; children read the file
            main.__dict__["__file__"] = request.source_file or request.target
            main.__dict__["__loader__"] = _SourceAtHand(source)
        else:
            filename = absolute(request.target)  # as python does since 3.9; argv keeps what was typed
            _set_program_folder(os.path.dirname(os.path.realpath(filename)))
            main.__dict__["__file__"] = filename
            main.__dict__["__loader__"] = _frozen_importlib_external.SourceFileLoader("__main__", filename)
        sys.argv[:] = [request.target, *request.argv]
    code: CodeType = compile(source, filename, "exec", dont_inherit=True)
    exec(code, main.__dict__)  # noqa: S102  # running the user's program is what `run` is for
    return 0


class _SourceAtHand:
    """A loader that tells tracebacks the lines of a script that is no file."""

    def __init__(self, source: bytes) -> None:
        self._source = source

    def get_source(self, _name: str) -> str:
        from importlib.util import decode_source

        return decode_source(self._source)


def is_url(target: str) -> bool:
    """Whether a script is one to be fetched."""
    return "://" in target


def script_block(source: bytes) -> str:
    """Return the contents of the script's ``# /// script`` block (PEP 723), empty where it has none.

    Raises ValueError where it has two, or one that does not end. By hand, for a warm start has no regular expressions.
    """
    if b"# /// script" not in source:
        return ""
    lines = source.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    found: list[str] = []
    at = 0
    while at < len(lines):
        at += 1
        if lines[at - 1] != "# /// script":
            continue
        end = at
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        closing = [place for place in range(at, end) if lines[place] == "# ///"]
        if not closing:
            raise ValueError("its script block has no end (a line that is '# ///')")
        found.append("\n".join(line[2:] for line in lines[at : closing[-1]]))
        at = end
    if len(found) > 1:
        raise ValueError("it has two script blocks")
    return found[0] if found else ""


def _new_main() -> "ModuleType":
    """Put a clean module in the place of ours as ``__main__``, so that pickles and spawned children find theirs."""
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    return main


def _set_program_folder(folder: str) -> None:
    if _has_program_folder():
        sys.path[0] = folder
    elif not sys.flags.safe_path:
        sys.path.insert(0, folder)


def _has_program_folder() -> bool:
    """Whether sys.path[0] is what python put there for our own command: its bin folder, or the working one for -m."""
    ours = os.path.dirname(os.path.realpath(sys.argv[0])) if sys.argv and sys.argv[0] else ""
    return bool(sys.path) and not sys.flags.safe_path and sys.path[0] in ("", working_folder(), ours)


def _show(error: BaseException) -> int:
    """Show an uncaught exception through sys.excepthook, the frames of this file cut off."""
    trace: "TracebackType | None" = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    if isinstance(error, KeyboardInterrupt):
        import signal

        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)  # die of it, as python does, so that a shell's loop ends too
    return 1
