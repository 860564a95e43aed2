"""The console script. A warm ``run`` goes straight to the program; everything else to the command line proper."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def main() -> int:
    """Carry out the command line; return the exit code. Ctrl-C before there is a printer is told, too."""
    try:
        return _main(sys.argv[1:])
    except KeyboardInterrupt:  # a program's own ends in run_program
        _say_interrupted()
        return 130


def _main(arguments: "list[str]") -> int:
    if arguments[:1] == ["run"]:
        from remote_wheel import api
        from remote_wheel.api import program

        api.fork_helper = _fork if sys.platform == "linux" else None
        request = None
        try:
            request = program.parse_run(arguments[1:])
            scripts = program.mount_for_run(request, _tell) if request else {}
            if request and request.sandbox is not None:
                program.enter_sandbox(request, _say)
            elif request:
                program.leave_environment()
        except BaseException as error:  # noqa: BLE001  # report() raises again what is not ours
            from remote_wheel.cli.output import report

            return report(error, is_verbose=bool(request and request.is_verbose))
        api.fork_helper = None
        if request:
            return program.run_program(request, scripts)
    from remote_wheel.cli.commands import main as command_line

    return command_line(arguments)


def _say_interrupted() -> None:
    import os

    try:
        os.write(2, b"interrupted\n")
    except OSError:  # nobody listens
        return


def _fork(package_parent: str) -> "Any":
    from remote_wheel.cli.forked import fork

    return fork(package_parent)


def _tell(notes: "Sequence[str]") -> None:
    if notes:
        from remote_wheel.cli.output import note

        for text in notes:
            note(f"note: {text}")


def _say(notes: "Sequence[str]") -> None:
    """Tell what is always told, by ourselves: what draws progress is much to import."""
    import os

    for text in notes:
        try:
            os.write(2, f"note: {text}\n".encode())
        except OSError:  # nobody listens
            return


if __name__ == "__main__":
    sys.exit(main())
