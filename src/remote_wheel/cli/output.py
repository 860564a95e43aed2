"""The one printer. stdout carries the artefact, stderr the run."""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, TextIO

from remote_wheel.api.cold import Silent
from remote_wheel.api.process import TELLS
from remote_wheel.errors import RemoteWheelError, UsageError
from remote_wheel.errors.visible import visible

# What we print that an encoding may lack, and what stands for it there.
_PLAIN: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "…": "...", "“": '"', "”": '"', "–": "-"})


def artefact(text: str) -> None:
    """Print what the command is for. Raises UsageError where stdout does not take it."""
    with _writing():
        _print(visible(text), sys.stdout)


def flush() -> None:
    """Have stdout take all that was printed. Raises UsageError where it does not."""
    with _writing():
        if sys.stdout is not None:  # it is closed
            sys.stdout.flush()


def _print(text: str, stream: TextIO | None, end: str = "\n") -> None:
    """Print a line to *stream*, which may be closed (None); what its encoding lacks is spelled out."""
    if stream is None:  # print() would take the other one
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream, end=end)  # the one place that prints


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Name what is wrong with stdout; a reader that has gone is none (``| head``), as with other tools."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is silent, too
        raise SystemExit(141) from None  # as a shell shows SIGPIPE
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(message=f"standard output can't be written: {error.strerror or error}") from error


def json_artefact(value: Any) -> None:
    """Print values for programs to read."""
    artefact(json.dumps(value, indent=2, ensure_ascii=False))


def plan_artefact(text: str) -> None:
    """Print a plan's tree or explanation; on a terminal with its versions in colour."""
    if not is_drawn(sys.stdout):
        artefact(text)
        return
    from rich.console import Console
    from rich.text import Text

    drawn = Text(visible(text))
    drawn.highlight_regex(r"(?m)(?<= )\d\S*", "green")
    drawn.highlight_regex(r"(?m)^  not .*", "dim")
    drawn.highlight_regex(r"[│├└─]+", "dim")
    drawn.highlight_regex(r"\(above\)", "dim")
    Console(file=sys.stdout, highlight=False, soft_wrap=True).print(drawn)


def facts_artefact(tables: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Print for each head its facts by name, those that are not empty; on a terminal as tables."""
    if not is_drawn(sys.stdout):
        blocks = (
            "\n".join((head, *(f"  {name:9} {text}" for name, text in rows.items() if text))) for head, rows in tables
        )
        artefact("\n\n".join(blocks))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    for head, rows in tables:
        table = Table(title=Text(head, "bold"), title_justify="left", show_header=False)
        table.add_column(style="green")
        table.add_column(overflow="fold")
        for name, text in rows.items():
            if text:
                table.add_row(name, Text(visible(text)))
        console.print(table)


def table_artefact(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under a head; plain, each row is a line with tabs and there is no head."""
    if not is_drawn(sys.stdout):
        artefact("\n".join("\t".join(row) for row in rows)) if rows else None
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head)
    for row in rows:
        table.add_row(*(Text(visible(each)) for each in row))
    Console(file=sys.stdout, highlight=False).print(table)


def is_drawn(stream: TextIO | None) -> bool:
    """Whether *stream* is a terminal that shows more than text, and can show what is drawn."""
    if stream is None or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty() and (stream.encoding or "").lower().startswith("utf")


def write_file(path: str, text: str) -> None:
    """Write the artefact to a file, whole or not at all; raise UsageError where that can't be done.

    A link is followed; what is no regular file (a pipe, a terminal) is written to, never replaced.
    """
    path = os.path.realpath(path)
    staging = f"{path}.{os.getpid()}.tmp"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            return
        try:
            with open(staging, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.replace(staging, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staging)
    except OSError as error:
        raise UsageError(message=f"{path} can't be written: {error.strerror or error}") from error


def note(text: str) -> None:
    """Print something about the run; nothing where stderr is closed, or nobody reads it."""
    with contextlib.suppress(OSError, ValueError):
        _print(visible(text), sys.stderr)


def usage(text: str, *, is_help: bool) -> None:
    """Print what an argument parser says: its help is what was asked for, all else is about the run."""
    if is_help:
        with _writing():
            _print(text, sys.stdout, end="")
    else:
        note(text.rstrip("\n"))


def report(error: BaseException, *, is_verbose: bool) -> int:
    """Print *error* in three depths (a line, what to try, with -v the detail); return the exit code.

    What is neither ours nor an interrupt is a bug, and raised again.
    """
    if isinstance(error, KeyboardInterrupt):
        note("interrupted")
        return 130
    if not isinstance(error, RemoteWheelError):
        raise error
    note(f"error: {error}")
    if error.hint:
        note(f"try: {error.hint}")
    if error.detail:
        note(error.detail if is_verbose else "(-v shows the detail)")
    return 2


class _Shown:
    """Progress in words. A subclass shows a line of it by its key; what has sizes has *done* and *total* in bytes."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._downloads: dict[str, tuple[int, int | None]] = {}

    def resolving(self, projects: int) -> None:
        """Show how many projects the resolution has looked at."""
        self._show("resolving", f"Resolving: {projects} projects", None, None)

    def downloading(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        """Show all downloads as one bar, its length what is known of their sizes."""
        with self._lock:
            self._downloads[name] = (received_bytes, total_bytes)
            received = sum(done for done, _ in self._downloads.values())
            total = sum(max(done, size or done) for done, size in self._downloads.values())
            wheels = len(self._downloads)
        self._show("downloading", f"Downloading: {wheels} wheel{'' if wheels == 1 else 's'}", received, total)

    def preparing(self, name: str) -> None:
        """Show what is verified and compiled, which comes when all is resolved."""
        self._show("preparing", f"Preparing: {'-'.join(name.split('-')[:2])}", None, None)

    def close(self) -> None:
        """Show nothing more."""

    def _show(self, key: str, text: str, done: int | None, total: int | None) -> None:
        raise NotImplementedError


class LineProgress(_Shown):
    """A line of JSON for each step, for who started this process and draws it."""

    _STEP_S = 0.05

    def __init__(self) -> None:
        super().__init__()
        self._stream, self._told_s = sys.stderr, 0.0

    def _show(self, key: str, text: str, done: int | None, total: int | None) -> None:
        with self._lock:
            if time.monotonic() - self._told_s < self._STEP_S:
                return
            self._told_s = time.monotonic()
            line = json.dumps({"text": text, "done": done, "total": total})
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                print(f"{TELLS.decode()}{line}", file=self._stream, flush=True)  # the one place that prints


class TerminalProgress(_Shown):
    """Bars on a terminal, drawn by `rich`, which is loaded when there is something to draw; gone when closed."""

    _PATIENCE_S = 0.3  # what is done sooner needs no bar

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self._terminal = terminal
        self._bars: Any = None
        self._started_s = time.monotonic()
        self._tasks: dict[str, Any] = {}
        self._is_closed = False

    def preparing(self, name: str) -> None:
        """Show it in the place of what was resolved."""
        with self._lock:
            if self._bars and "resolving" in self._tasks:
                self._bars.remove_task(self._tasks.pop("resolving"))
        super().preparing(name)

    def close(self) -> None:
        """Take the bars away, for good: a transfer that turned out not to be needed may go on for a while."""
        with self._lock:
            self._is_closed = True
            if self._bars:
                self._bars.stop()
                self._bars = None

    def _show(self, key: str, text: str, done: int | None, total: int | None) -> None:
        with self._lock:
            if self._is_closed:
                return
            if self._bars is None:
                if time.monotonic() - self._started_s < self._PATIENCE_S:
                    return
                self._bars = self._start()
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(text, total=total)
            changes = {} if done is None else {"completed": done, "total": total}
            self._bars.update(self._tasks[key], description=text, **changes)

    def _start(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

        class Sizes(DownloadColumn):
            """Sizes, for the task that has one."""

            def render(self, task: Any) -> Any:
                return super().render(task) if task.total else ""

        class Bar(BarColumn):
            """A bar, for the task that has a size."""

            def render(self, task: Any) -> Any:
                return super().render(task) if task.total else ""

        bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            Bar(),
            Sizes(),
            console=Console(file=self._terminal),
            transient=True,
        )
        bars.start()
        return bars


def make_progress() -> Silent | TerminalProgress:
    """Return the progress that fits stderr."""
    return TerminalProgress(sys.stderr) if is_drawn(sys.stderr) else Silent()


def renew_stdout() -> None:
    """Begin anew with standard output: what a parent's is still to write is not a fork's to write."""
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")


def take_stdout() -> BinaryIO:
    """Return stdout for the helper's answer, and send whatever else is printed to stderr, or nowhere without one."""
    sys.stdout.flush()
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    if sys.stderr is None:  # its file descriptor is closed
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for the life of the process
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answer
