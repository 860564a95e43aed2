"""The commands, their parser, and what each prints."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from remote_wheel.api import cold, plans
from remote_wheel.api.program import LIST, OPTIONS, SWITCHES, script_lock
from remote_wheel.cli import output
from remote_wheel.errors import RemoteWheelError, UsageError
from remote_wheel.settings import VERSION

if TYPE_CHECKING:
    from remote_wheel.api.plans import Plan


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line; return its exit code: 0, 2 for usage and for what could not be had."""
    parser = make_parser(*arguments[:1])
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:  # the command's own parser says what it takes
        getattr(parsed, "parser", parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    handler: Callable[[argparse.Namespace], int] | None = getattr(parsed, "handler", None)
    if handler is None:
        parser.print_help()
        return 2
    try:
        cold.stay_here(output.make_progress)
        code = handler(parsed)
        output.flush()
    except (RemoteWheelError, KeyboardInterrupt) as error:
        return output.report(error, is_verbose=parsed.verbose)
    return code


def make_parser(only: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands or, as most of the work is options nobody asks for, of *only* one."""
    parser = _Parser(
        prog="remote-wheel",
        description="Import packages straight from wheels: resolved, verified, mounted. Nothing is installed.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.set_defaults(verbose=False)
    # Without prog, all usages would be formatted to find it out.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
    for name in (only,) if only in COMMANDS else COMMANDS:
        COMMANDS[name](commands)
    return parser


def _add_tree(commands: Any) -> None:
    parser = _add(commands, "tree", _tree, "show what requirements resolve to, as a tree", "requirements")
    _add_target(parser)
    _add_json(parser)


def _add_explain(commands: Any) -> None:
    about = "say why a project is in what requirements resolve to"
    parser = _add(commands, "explain", _explain, about, "requirements")
    parser.add_argument("--why", metavar="PROJECT", help="the project; by default each that is required")
    _add_target(parser)
    _add_json(parser)


def _add_inspect(commands: Any) -> None:
    about = "show what is in a distribution, without importing it"
    _add_json(_add(commands, "inspect", _inspect, about, "requirements"))


def _add_lock(commands: Any) -> None:
    about = "write what requirements resolve to as a lock file (PEP 751)"
    parser = _add(commands, "lock", _lock, about, "requirements")
    _add_target(parser)
    parser.add_argument("--script", metavar="FILE", help="a script whose inline metadata (PEP 723) says what it needs")
    where = "the lock file, by default pylock.toml, of a script NAME.py pylock.NAME.toml beside it; - is stdout"
    parser.add_argument("-o", "--output", metavar="FILE", help=where)


def _add_prefetch(commands: Any) -> None:
    about = "fill the cache with what requirements, or a lock, need"
    parser = _add(commands, "prefetch", _prefetch, about, "requirements")
    _add_lock_instead(parser)


def _add_bundle(commands: Any) -> None:
    about = "write a folder of wheels, an index and a lock, for a machine without a network"
    parser = _add(commands, "bundle", _bundle, about, "requirements")
    _add_lock_instead(parser)
    _add_target(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="the folder, a new one")


def _add_unpack(commands: Any) -> None:
    about = "write what requirements, or a lock, need into a folder, for editors and type checkers"
    parser = _add(commands, "unpack", _unpack, about, "requirements")
    _add_lock_instead(parser)
    parser.add_argument("folder", metavar="DIR", help="the folder: new, empty, or one that unpack has made")


def _add_lock_instead(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lock", metavar="FILE", help="the lock file, instead of requirements")
    _add_of_lock(parser)


def _add_of_lock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--extra", action="append", metavar="NAME", help="of the lock, this extra too")
    parser.add_argument("--group", action="append", metavar="NAME", help="of the lock, this group, no default ones")


def _add_demo(commands: Any) -> None:
    _add(commands, "demo", _demo, "run the main job on a small index that ships inside, without a network", "")


def _add_cache(commands: Any) -> None:
    about = "show, check and tidy the cache folder"
    parser = commands.add_parser("cache", help=about, description=f"{about.capitalize()}.", allow_abbrev=False)
    parser.set_defaults(handler=lambda _: parser.error("name what to do"), parser=parser)
    actions = parser.add_subparsers(title="what to do", metavar="ACTION", prog=parser.prog)

    def add(name: str, about: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name, help=about, description=f"{about.capitalize()}.", allow_abbrev=False
        )
        action.add_argument("--cache-dir", metavar="DIR", help="the cache folder")
        action.add_argument("-v", "--verbose", action="store_true", help="show the detail of an error")
        action.set_defaults(handler=_cache, parser=action, action=name)
        return action

    add("dir", "print its path")
    _add_json(add("size", "print how large it is"))
    _add_json(add("list", "list what is in it, the most recently used first"))
    verify = add("verify", "read all of it and check that it is what was written; exit code 1 if not")
    verify.add_argument("--repair", action="store_true", help="remove what is damaged, to be made or fetched again")
    prune = add("prune", "remove what was not used for long, never what a running process uses")
    prune.add_argument("--older-than", metavar="AGE", help="not used for so long, as in 30d or 12h")
    prune.add_argument("--max-size", metavar="SIZE", help="the least recently used, until it is no larger: 2GB, 500MB")
    clean = add("clean", "remove all of it, or all of some projects, but what a running process uses")
    clean.add_argument("projects", nargs="*", metavar="NAME", help="the projects; by default all")


class _Parser(argparse.ArgumentParser):
    """Prints to where all that we print goes; parsers of commands are of its class, too."""

    def print_help(self, file: Any = None) -> None:
        """Print what was asked for."""
        output.usage(self.format_help(), is_help=True)

    def print_usage(self, file: Any = None) -> None:
        """Print what stands before an error."""
        output.usage(self.format_usage(), is_help=False)

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            output.usage(message, is_help=False)


class _Version(argparse.Action):
    """Prints the version, to where all that we print goes."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        output.artefact(f"{parser.prog} {VERSION}")
        parser.exit()


def _add(
    commands: Any, name: str, handler: Callable[[argparse.Namespace], int], about: str, takes: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False
    )
    if takes:
        parser.add_argument(takes, nargs="*", metavar="REQ", help="a requirement as in 'flask>=3', a URL or a path")
        parser.add_argument(
            "-r", "--requirements", dest="files", action="append", default=[], metavar="FILE", help="a file of them"
        )
        _add_options(parser)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the detail of an error, and what was skipped"
    )
    parser.set_defaults(handler=handler, parser=parser)
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--python-version", metavar="X.Y", help="resolve for this Python instead of the running one")
    parser.add_argument("--platform", metavar="TAG", help="and this platform: linux, macos, windows or a platform tag")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="run a program with requirements mounted",
        description="Run a program with requirements mounted; its exit code is passed through.",
        usage="remote-wheel run [--with REQ]… [--lock FILE] [OPTIONS]"
        " (SCRIPT | -m MODULE | -c CODE | --exe NAME) [ARGS]",
    )
    parser.add_argument("--with", dest="requirements", action="append", metavar="REQ", help="mount this requirement")
    parser.add_argument("--with-requirements", metavar="FILE", help="mount what this requirements file has")
    parser.add_argument("--lock", metavar="FILE", help="mount what this lock file has, nothing resolved")
    _add_of_lock(parser)
    parser.add_argument("--locked", action="store_true", help="use the lock beside the program; it must have each REQ")
    _add_options(parser)
    about = "let the program read only itself, its interpreter and what is mounted, write nothing, and have no network"
    parser.add_argument("--sandbox", action="store_true", help=about)
    for option, what in (("read", "read"), ("write", "read and write")):
        about = f"let it {what} this file or folder, too"
        parser.add_argument(f"--sandbox-{option}", action="append", metavar="PATH", help=about)
    limits = "bound what it may use: memory=2GB, cpu=60 (seconds), file=100MB, files=256, processes=64"
    parser.add_argument("--sandbox-limit", action="append", metavar="NAME=AMOUNT", help=limits)
    parser.add_argument("--sandbox-env", action="append", metavar="NAME", help="hand on this variable, too")
    parser.add_argument("--sandbox-by", metavar="TOOL", help="bwrap: let bubblewrap make it, with namespaces")
    parser.add_argument("--sandbox-network", action="store_true", help="let it use the network")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the detail of an error")
    parser.add_argument("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    parser.add_argument("-c", dest="code", metavar="CODE", help="run code, as python -c does")
    parser.add_argument("--exe", metavar="NAME", help="run a console script; without --with, of the project NAME")
    parser.add_argument("script", nargs="?", metavar="SCRIPT", help="run a script; - is standard input")
    parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS", help="the program's own arguments")
    # parse_run takes every command line that is in order; what comes here lacks its program.
    parser.set_defaults(handler=lambda _: parser.error("name a SCRIPT, -m MODULE, -c CODE or --exe NAME"))


def _add_options(parser: argparse.ArgumentParser) -> None:
    for option, _, kind, about in OPTIONS:
        if kind in SWITCHES:
            parser.add_argument(option, action="store_const", const=SWITCHES[kind], help=about)
        else:
            action = "append" if kind == LIST else "store"
            metavar = option.removeprefix("--").rpartition("-")[2].upper()
            parser.add_argument(option, action=action, metavar=metavar, help=about)


def _options(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the call by our names; of two ways to give one, a flag counts more than a list."""
    options: dict[str, Any] = {}
    for option, name, _, _ in OPTIONS:
        value = getattr(parsed, option.removeprefix("--").replace("-", "_"))
        if value is not None and options.get(name) is None:
            options[name] = value
    return options


def _requirements(parsed: argparse.Namespace) -> list[str]:
    """Return what is required: the arguments, and the files of them. Raises UsageError where there is nothing."""
    found = [*parsed.requirements, *(f"-r {path}" for path in parsed.files)]
    if not found:
        raise UsageError(message="no requirement given", way_out="As in 'flask>=3', or -r requirements.txt.")
    return found


def _resolved(parsed: argparse.Namespace) -> "Plan":
    target = {"python_version": parsed.python_version, "platform": parsed.platform}
    plan = plans.resolve(*_requirements(parsed), **target, **_options(parsed))
    _tell(plan, parsed)
    return plan


def _tell(plan: "Plan", parsed: argparse.Namespace) -> None:
    for text in plan.notes:
        output.note(f"note: {text}")
    for text in plan.skipped if parsed.verbose else ():
        output.note(f"skipped: {text}")


def _tree(parsed: argparse.Namespace) -> int:
    plan = _resolved(parsed)
    if parsed.json:
        output.json_artefact(plan.to_json())
    else:
        output.plan_artefact(plan.tree())
    return 0


def _explain(parsed: argparse.Namespace) -> int:
    plan = _resolved(parsed)
    names = [parsed.why] if parsed.why else [pin.name for pin in plan.roots if pin.name]
    if parsed.json:
        pins = {pin["name"]: pin for pin in plan.to_json()["pins"]}
        output.json_artefact([pins[plan.find(name).name] for name in names])
    else:
        output.plan_artefact("\n".join(plan.explain(name) for name in names))
    return 0


def _inspect(parsed: argparse.Namespace) -> int:
    found = [plans.inspect(text, **_options(parsed)) for text in _requirements(parsed)]
    if parsed.json:
        output.json_artefact(found)
    else:
        output.facts_artefact([_facts(facts) for facts in found])
    return 0


def _facts(facts: dict[str, Any]) -> tuple[str, dict[str, str]]:
    where = "unpacked: " + "; ".join(facts["reasons"]) if facts["reasons"] else "in memory"
    rows = {
        "file": facts["filename"],
        "source": facts["source"],
        "commit": facts["commit"],
        "sha256": facts["sha256"],
        "modules": ", ".join((*facts["tops"], *facts["namespaces"])),
        "scripts": ", ".join(f"{name} = {target}" for name, target in sorted(facts["scripts"].items())),
        "left out": ", ".join(facts["left_out"]),
        "ignored": ", ".join(facts["ignored"]),
        "imported": where,
    }
    return f"{facts['name'] or facts['filename']} {facts['version']}".rstrip(), rows


def _lock(parsed: argparse.Namespace) -> int:
    path = parsed.output or (script_lock(parsed.script) if parsed.script else "pylock.toml")
    to_stdout = path == "-"
    is_script_alone = parsed.script and not parsed.requirements and not parsed.files
    text = plans.lock(
        [] if is_script_alone else _requirements(parsed),
        script=parsed.script,
        folder=os.curdir if to_stdout else os.path.dirname(path),
        python_version=parsed.python_version,
        platform=parsed.platform,
        **_options(parsed),
    )
    if to_stdout:
        output.artefact(text.rstrip("\n"))
    else:
        output.write_file(path, text)
    return 0


def _prefetch(parsed: argparse.Namespace) -> int:
    plan = plans.prefetch(*_required(parsed), **_of_lock(parsed), **_options(parsed))
    _tell(plan, parsed)
    output.note(f"{len(plan.pins)} distributions are ready for offline use")
    return 0


def _bundle(parsed: argparse.Namespace) -> int:
    plan = plans.bundle(
        *_required(parsed),
        folder=parsed.output,
        python_version=parsed.python_version,
        platform=parsed.platform,
        **_of_lock(parsed),
        **_options(parsed),
    )
    _tell(plan, parsed)
    output.note(f"{len(plan.pins)} wheel{'s are' if len(plan.pins) > 1 else ' is'} in {parsed.output}")
    return 0


def _unpack(parsed: argparse.Namespace) -> int:
    plan = plans.unpack(*_required(parsed), folder=parsed.folder, **_of_lock(parsed), **_options(parsed))
    _tell(plan, parsed)
    output.note(f"{len(plan.pins)} wheel{'s are' if len(plan.pins) > 1 else ' is'} unpacked in {parsed.folder}")
    return 0


def _required(parsed: argparse.Namespace) -> list[str]:
    return [] if parsed.lock and not parsed.requirements and not parsed.files else _requirements(parsed)


def _of_lock(parsed: argparse.Namespace) -> dict[str, Any]:
    if not parsed.lock and (parsed.extra or parsed.group):
        raise UsageError(message="--extra and --group are of a lock", way_out="Name it with --lock FILE.")
    return {"lock": parsed.lock, "extras": parsed.extra or (), "groups": parsed.group} if parsed.lock else {}


def _demo(parsed: argparse.Namespace) -> int:
    from remote_wheel.cli.demo import demo

    return demo(output.artefact)


def _cache(parsed: argparse.Namespace) -> int:
    from remote_wheel.cli import cache

    return cache.ACTIONS[parsed.action](parsed)


COMMANDS: Final[Mapping[str, Callable[[Any], None]]] = {
    "run": _add_run,
    "tree": _add_tree,
    "explain": _add_explain,
    "inspect": _add_inspect,
    "lock": _add_lock,
    "prefetch": _add_prefetch,
    "bundle": _add_bundle,
    "unpack": _add_unpack,
    "demo": _add_demo,
    "cache": _add_cache,
}
