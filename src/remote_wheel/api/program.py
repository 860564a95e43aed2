"""``run``: mount what a program needs, then become the program."""

from remote_wheel.api import boot_record, bound_by, lock_subjects
from remote_wheel.mounts.boot import is_on
from remote_wheel.mounts.run import LIST, OPTIONS, SWITCHES, RunRequest, parse_run, run_program

__all__ = ["LIST", "OPTIONS", "SWITCHES", "RunRequest", "mount_for_run", "parse_run", "run_program"]


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def mount_for_run(request: RunRequest, tell: "Callable[[Sequence[str]], None]") -> dict[str, str]:
    """Mount what the program needs; return the console scripts by name, a requirement's own before a dependency's.

    *tell* gets what is odd about a new plan. Raises RemoteWheelError.
    """
    scripts: dict[str, str] = {}
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
            own={"satisfies": request.requirements} if request.is_locked and request.requirements else None,
            tell=tell,
            hints=lambda: _names_in(request),
        )
        scripts |= record["scripts"]
        request.options = bound_by(record, request.options)
    if request.requirements and not request.is_locked:
        record, _ = boot_record(
            "require",
            request.requirements,
            request.options,
            request.cache_dir,
            tell=tell,
            hints=lambda: _names_in(request),
        )
        scripts |= record["scripts"]
    if request.kind == "exe" and request.target not in scripts:
        from remote_wheel.errors import UnknownScript

        raise UnknownScript(name=request.target, available=tuple(sorted(scripts)))
    if request.kind == "script" and request.target != "-":
        import os

        if not os.path.isfile(request.target):
            from remote_wheel.errors import UsageError

            what = "is a folder, not a script" if os.path.isdir(request.target) else "does not exist"
            raise UsageError(
                message=f"the script {request.target!r} {what}", way_out="--with goes before each requirement."
            )
    return scripts


def _lock_beside(request: RunRequest) -> "str | None":
    """Return the lock that is the program's: SCRIPT.lock, else pylock.toml in its folder. Raises UsageError."""
    from os.path import dirname, isfile, join

    is_script = request.kind == "script" and request.target != "-"
    folder = dirname(request.target) if is_script else ""
    places = [*([f"{request.target}.lock"] if is_script else []), join(folder, "pylock.toml")]
    found = next((place for place in places if isfile(place)), None)
    if found is None and (request.is_locked or not request.requirements):
        from remote_wheel.errors import UsageError

        option, way = "--locked" if request.is_locked else "--frozen", f"remote-wheel lock REQ… -o {places[0]}"
        raise UsageError(message=f"{option}, and there is no {' and no '.join(places)}", way_out=way)
    return found


def _names_in(request: RunRequest) -> "Sequence[str]":
    """Return the names in the program's code at its top level, which those of the modules it imports are among."""
    if request.kind == "module":
        return [f"{request.target}.__main__", request.target]
    if request.kind == "exe" or request.target == "-":
        return []
    try:
        if request.kind == "command":
            return compile(request.target, "<string>", "exec", dont_inherit=True).co_names
        with open(request.target, "rb") as file:
            return compile(file.read(), request.target, "exec", dont_inherit=True).co_names
    except (OSError, SyntaxError, ValueError):  # said when it is run
        return []
