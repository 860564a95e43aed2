"""The extension of IPython: ``%load_ext remote_wheel``, then ``%require`` and ``%%with_environment``."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from remote_wheel import api
from remote_wheel.api import cold
from remote_wheel.errors import RemoteWheelError, UsageError
from remote_wheel.mounts.run import OPTIONS, SWITCHES, RunRequest, parse_run

_TAKES_VALUE: Final = frozenset(("--lock", *(option for option, _, kind, _ in OPTIONS if kind not in SWITCHES)))
_ENTER: Final = "remote_wheel_enter"
_PATIENCE_S: Final = 0.3  # what is done sooner needs no bar
_STEP_S: Final = 0.1


def load_ipython_extension(shell: Any) -> None:
    """Register the magics in an IPython *shell*."""
    magics = _Magics(shell)
    shell.register_magic_function(magics.require, "line", "require")
    shell.register_magic_function(magics.with_environment, "cell", "with_environment")
    shell.register_magic_function(magics.enter, "line", _ENTER)
    shell.input_transformers_cleanup.append(_enter_first)
    shell.events.register("post_run_cell", magics.leave)
    shell.remote_wheel_magics = magics


def unload_ipython_extension(shell: Any) -> None:
    """Take the magics away; what is mounted stays."""
    manager = shell.magics_manager.magics
    manager["line"].pop("require", None)
    manager["cell"].pop("with_environment", None)
    manager["line"].pop(_ENTER, None)
    shell.input_transformers_cleanup.remove(_enter_first)
    shell.events.unregister("post_run_cell", shell.remote_wheel_magics.leave)


def _enter_first(lines: list[str]) -> list[str]:
    """Have a cell of ``%%with_environment`` enter it first: what follows is a cell as any other, await included."""
    word, _, rest = lines[0].strip().partition(" ") if lines else ("", "", "")
    return [f"%{_ENTER} {rest}\n", *lines[1:]] if word == "%%with_environment" else lines


class _Magics:
    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._entered: list[Any] = []

    def require(self, line: str) -> None:
        """Mount what requirements need and import their modules here: ``%require rich>=13 httpx``.

        Takes what ``remote-wheel run`` takes of options, as in ``%require rich --offline``.
        """
        request = self._read(line)
        with _Told(), _Drawn():
            modules = api.require(*request.requirements, cache_dir=request.cache_dir, **request.options)
        for module in modules if isinstance(modules, tuple) else (modules,):
            top = module.__name__.partition(".")[0]
            self._shell.push({top: sys.modules[top]})

    def with_environment(self, line: str, cell: str) -> None:
        """Run the cell with requirements mounted; behind it, everything is as before: ``%%with_environment rich``."""
        self.enter(line)  # here only where it is called as a function; a cell is changed before it runs
        try:
            self._shell.run_cell(cell).raise_error()
        finally:
            self.leave()

    def enter(self, line: str) -> None:
        """Mount what the cell needs until it ends."""
        request = self._read(line)
        with _Told():
            env = api.environment(
                *request.requirements, lock=request.lock, cache_dir=request.cache_dir, **request.options
            )
            with _Drawn():
                env.__enter__()
        self._entered.append(env)

    def leave(self, _result: object = None) -> None:
        """Unmount what the cell that has ended entered."""
        while self._entered:
            self._entered.pop().__exit__(None, None, None)

    def _read(self, line: str) -> RunRequest:
        """Read the words of a magic's line: requirements, and options as the command line has them."""
        words, given = shlex.split(line), list[str]()
        while words:
            word = words.pop(0)
            if not word.startswith("-"):
                given += ["--with", word]
                continue
            given.append("--with-requirements" if word == "-r" else word)
            if word == "-r" and words:
                given.append(words.pop(0))
            if word in _TAKES_VALUE and words:
                given.append(words.pop(0))
        with _Told():
            request = parse_run([*given, "-c", ""])
            if request is None:
                way = "As in %require 'rich>=13' httpx --offline."
                raise UsageError(message=f"{line.strip()!r} is not requirements and options", way_out=way)
            api.check_requirements(request.requirements, None)
            return request


class _Told:
    """Shows an error of ours as IPython shows a wrong magic: in words, without the frames that led to it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (RemoteWheelError, TypeError)):
            from IPython.core.error import UsageError as Shown

            hint = getattr(error, "hint", "")
            raise Shown(f"{error}\ntry: {hint}" if hint else str(error)) from error


class _Drawn:
    """Draws in the cell's output how far the helper process is, if it takes long; nothing of that stays."""

    def __enter__(self) -> None:
        self._handle: Any = None
        self._started_s = self._shown_s = time.monotonic()
        cold.watch(self._show)

    def __exit__(self, *_: object) -> None:
        cold.watch(None)
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)

    def _show(self, told: Mapping[str, Any]) -> None:
        now_s = time.monotonic()
        if now_s - self._started_s < _PATIENCE_S or (self._handle and now_s - self._shown_s < _STEP_S):
            return
        self._shown_s = now_s
        from IPython.display import display

        bundle = _drawn(str(told["text"]), told.get("done"), told.get("total"))
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)


def _drawn(text: str, done: int | None, total: int | None) -> dict[str, str]:
    """Return a line of progress as IPython displays it: for a page, and for text."""
    import html

    from remote_wheel.spec.amounts import shown_size

    amount = f"{shown_size(done)} of {shown_size(total)}" if done is not None and total else ""
    bar = f'<progress value="{done}" max="{total}"></progress>' if amount else "<progress></progress>"
    return {"text/plain": f"{text} {amount}".rstrip(), "text/html": f"{html.escape(text)} {bar} {amount}"}


__all__: Sequence[str] = ("load_ipython_extension", "unload_ipython_extension")
