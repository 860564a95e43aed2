"""``run``: mount what a program needs, then become the program."""

from remote_wheel.api import boot_record, bound_by, lock_subjects
from remote_wheel.mounts.boot import absolute, cache_folder, is_on, working_folder
from remote_wheel.mounts.run import (
    LIST,
    OPTIONS,
    SWITCHES,
    RunRequest,
    is_url,
    parse_run,
    run_program,
    script_block,
)

__all__ = ["LIST", "OPTIONS", "SWITCHES", "RunRequest", "mount_for_run", "parse_run", "run_program"]


_ZIP_TAIL = 65_557  # bytes at the end of an archive that its end record is in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def mount_for_run(request: RunRequest, tell: "Callable[[Sequence[str]], None]") -> dict[str, str]:
    """Mount what the program needs; return the console scripts by name, a requirement's own before a dependency's.

    *tell* gets what is odd about a new plan. Raises RemoteWheelError.
    """
    scripts: dict[str, str] = {}
    mounts: list[dict[str, Any]] = []
    if request.kind == "script":
        _read_script(request)
    if request.lock is None and (request.is_locked or is_on("frozen", request.options)):
        request.lock = _lock_beside(request)
        if request.lock and request.kind == "exe" and request.requirements == [request.target]:
            request.requirements = []  # it stood for the project, which is the lock's
    if request.lock is None and (request.extras or request.groups):
        from remote_wheel.errors import UsageError

        raise UsageError(message="--extra and --group are of a lock", way_out="Name it with --lock FILE.")
    if request.lock is not None:
        record, _ = boot_record(
            "lock",
            lock_subjects(request.lock, request.extras, request.groups),
            request.options,
            request.cache_dir,
            own=_satisfies(request) if request.is_locked else None,
            tell=tell,
            hints=lambda: _names_in(request),
        )
        scripts |= record["scripts"]
        mounts += record["mounts"]
        request.options = bound_by(record, request.options)
    if request.block and request.lock is None:
        record, _ = boot_record(
            "script",
            [request.block, script_path(request.target), *request.requirements],
            request.options,
            request.cache_dir,
            tell=tell,
            hints=lambda: _names_in(request),
        )
        scripts |= record["scripts"]
    elif request.requirements and not request.is_locked:
        record, _ = boot_record(
            "require",
            request.requirements,
            request.options,
            request.cache_dir,
            tell=tell,
            hints=lambda: _names_in(request),
        )
        scripts |= record["scripts"]
        mounts += record["mounts"]
    if request.kind == "exe" and request.target not in scripts:
        return _with_program(request, scripts, mounts, tell)
    return scripts


def _with_program(
    request: RunRequest,
    scripts: "dict[str, str]",
    mounts: "Sequence[dict[str, Any]]",
    tell: "Callable[[Sequence[str]], None]",
) -> "dict[str, str]":
    """Find the program that is asked for among those that are no console scripts. Raises UnknownScript."""
    request.program = _program_of(mounts, request)
    if request.program:
        return scripts
    if request.requirements and "prefer_installed" not in request.options:
        # What is installed has its programs in its own bin: another one, as it is in its wheel, has them all.
        request.options = {**request.options, "prefer_installed": False}
        return mount_for_run(request, tell)
    from remote_wheel.errors import UnknownScript

    programs = [name for entry in mounts for name in programs_of(entry)]
    raise UnknownScript(name=request.target, available=tuple(sorted((*scripts, *programs))))


def enter_sandbox(request: RunRequest, tell: "Callable[[Sequence[str]], None]") -> None:
    """Go on with no more rights than *request* says.

    *tell* gets what the kernel can't enforce. Raises SandboxUnavailable or UsageError.
    """
    from remote_wheel.api.sandbox import Sandbox, enter, files_of, interpreter_places
    from remote_wheel.mounts import registry

    registry.make_trees()  # there is nobody to do it later
    cache, sandbox = cache_folder(request.cache_dir), Sandbox(**(request.sandbox or {}))
    # Who starts again inside of another one finds there what it needs; this process has it, and reads no more.
    places = [cache] if sandbox.by else [*files_of(registry.mounted()), *filter(None, [request.source_file])]
    reads = [*interpreter_places(), *places]
    if request.kind == "script" and request.target != "-" and not is_url(request.target):
        reads.append(script_path(request.target))
    enter(sandbox, reads, tell, ["run", *request.words])


def leave_environment() -> None:
    """Where bubblewrap has started this process for a sandbox: forget what was for us alone in the environment."""
    import os

    if "REMOTE_WHEEL_INSIDE" in os.environ:
        from remote_wheel.api import sandbox

        sandbox.leave_environment()


def _read_script(request: RunRequest) -> None:
    """Read the script: a file, standard input, or what is at a URL; and the block in it. Raises RemoteWheelError."""
    import os
    import sys

    if request.target == "-":
        request.source = sys.stdin.buffer.read()
    elif is_url(request.target):
        fetched = fetch_script(request.target, request.options, request.cache_dir)
        request.source, request.target, request.source_file = fetched
    elif os.path.isdir(request.target):
        if not os.path.isabs(request.target) and not working_folder():
            from remote_wheel.errors import UsageError

            what = f"{request.target!r} is relative to the working folder, which was deleted"
            raise UsageError(message=what, way_out="Name it by an absolute path.")
        request.kind = "folder"  # with a __main__.py, as python has it
        return
    else:
        try:
            with open(request.target, "rb") as file:
                request.source = file.read()
        except OSError as error:
            from remote_wheel.errors import UsageError

            what = "does not exist" if isinstance(error, FileNotFoundError) else f"can't be read: {error.strerror}"
            way = "--with goes before each requirement."
            raise UsageError(message=f"the script {request.target!r} {what}", way_out=way) from error
    if b"PK\x05\x06" in request.source[-_ZIP_TAIL:] and b"\0" in request.source:
        request.kind = "folder"  # as are archives (zipapp)
        return
    request.block = block_of(request.source, request.target)


def block_of(source: bytes, target: str) -> str:
    """Return the script's block (PEP 723). Raises UsageError where it has two."""
    try:
        return script_block(source)
    except ValueError as error:
        from remote_wheel.errors import UsageError

        raise UsageError(message=f"{target}: {error}", way_out="PEP 723 allows one.") from error


def fetch_script(url: str, options: "Mapping[str, Any]", cache_dir: "str | None") -> "tuple[bytes, str, str]":
    """Return the script at *url*, held to its ``#sha256=`` or to what was there first; its URL, redacted; its file.

    The last is in the cache, for child processes to read; empty where nothing is kept.
    """
    from remote_wheel.api import checked, request_of
    from remote_wheel.api.kept import answer_of

    answer = answer_of(request_of("fetch", (url,), checked(options), cache_folder(cache_dir)))
    store, sha256 = answer["kept"]
    source = str(answer["source"]).encode("latin-1")
    return source, str(answer["shown"]), _file_of(source, store, sha256) if store else ""


def _file_of(source: bytes, store: str, sha256: str) -> str:
    """Return the file of the store that has the script, for who reads or starts it by its name; "" if it has not."""
    from os.path import join

    from remote_wheel.mounts import leases

    path = join(store, "archives", sha256)
    try:
        leases.hold(store, (sha256,))
        with open(path, "rb") as file:
            return path if file.read() == source else ""
    except OSError:  # it is being removed, or was changed
        return ""


def script_path(target: str) -> str:
    """Return where a script is, for what it says of places beside it."""
    from os.path import join

    return target if is_url(target) else join(working_folder(), "-") if target == "-" else absolute(target)


def _satisfies(request: RunRequest) -> "dict[str, Any]":
    """Return the options that have a lock checked for what is required beside it."""
    block = [request.block, script_path(request.target)] if request.block else None
    return {"satisfies": request.requirements or None, "block": block}


def programs_of(entry: "dict[str, Any]") -> "dict[str, str]":
    """Return the files of a wheel's ``.data/scripts`` by name: what installers put into bin as it is."""
    members = [member for member in entry["left_out"] if ".data/scripts/" in member]
    return {member.partition(".data/scripts/")[2]: member for member in members}


def _program_of(mounts: "Sequence[dict[str, Any]]", request: RunRequest) -> str:
    """Have the program that is asked for unpacked, with those beside it; return its path, empty where there is none."""
    import sys

    for entry in mounts:
        programs = programs_of(entry)
        for name in (request.target, *([f"{request.target}.exe"] if sys.platform == "win32" else [])):
            if name in programs:
                from remote_wheel.api import checked, request_of
                from remote_wheel.api.kept import answer_of

                subjects = [entry["sha256"], entry["filename"], *programs.values()]
                options, cache = checked(request.options), cache_folder(request.cache_dir)
                answer = answer_of(request_of("program", subjects, options, cache))
                from os.path import join

                return join(answer["folder"], *name.split("/"))
    return ""


def _lock_beside(request: RunRequest) -> "str | None":
    """Return the lock that is the program's: its own, else pylock.toml in its folder. Raises UsageError."""
    from os.path import dirname, isfile, join

    is_script = request.kind == "script" and request.target != "-" and not is_url(request.target)
    folder = dirname(request.target) if is_script else ""
    places = [*([script_lock(request.target)] if is_script else []), join(folder, "pylock.toml")]
    found = next((place for place in places if isfile(place)), None)
    # As a policy (its variable) frozen has hashes of an index count, too; who says it of a run means a lock.
    is_said = request.is_locked or request.options.get("frozen") is True
    if found is None and (is_said or not (request.requirements or request.block)):
        from remote_wheel.errors import UsageError

        option, way = "--locked" if request.is_locked else "--frozen", f"remote-wheel lock REQ… -o {places[0]}"
        raise UsageError(message=f"{option}, and there is no {' and no '.join(places)}", way_out=way)
    return found


def script_lock(script: str) -> str:
    """Return where the lock of a script is: beside it, by the name that PEP 751 has for one of several."""
    from os.path import basename, dirname, join

    name = basename(script)
    stem = name.rpartition(".")[0] or name
    return join(dirname(script), f"pylock.{stem.replace('.', '-')}.toml")


def _names_in(request: RunRequest) -> "Sequence[str]":
    """Return the names in the program's code at its top level, which those of the modules it imports are among."""
    if request.kind == "module":
        return [f"{request.target}.__main__", request.target]
    if request.kind == "exe":
        return []
    try:
        if request.kind == "command":
            return compile(request.target, "<string>", "exec", dont_inherit=True).co_names
        return compile(request.source, request.target, "exec", dont_inherit=True).co_names
    except (SyntaxError, ValueError):  # said when it is run
        return []
