"""Environments that come and go: requirements mounted for the length of a block, and everything as before behind it."""

import os
import sys

from remote_wheel import api
from remote_wheel.mounts import children, registry, undo
from remote_wheel.mounts.registry import import_from, import_module, root_with

TYPE_CHECKING = False  # a warm start waits for all that is imported above; typing, inspect and json can wait for it
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence
    from importlib.metadata import EntryPoints
    from types import ModuleType, TracebackType
    from typing import Any, ParamSpec, TypeVar

    from remote_wheel.api.plans import Plan
    from remote_wheel.mounts.finder import Root
    from remote_wheel.mounts.isolation import Isolation
    from remote_wheel.resolution.plan import Pin

    _Parameters = ParamSpec("_Parameters")
    _Result = TypeVar("_Result")
    _Mount = Callable[[Sequence[dict[str, Any]]], list[Root]]
    _Entered = tuple[list[Root], list[dict[str, ModuleType]]]  # and what they displaced


class Environment:
    """Requirements that are mounted while a ``with`` block runs; ``async with``, and a decorator, do the same.

    At the end its modules leave sys.modules with all their submodules, modules of the same names that were loaded
    before come back as the same objects, and sys.path, finders, linecache and entry points are as they were. Blocks may
    nest and overlap. What has been made of a module stays what it is: objects somebody keeps, what was registered with
    atexit or codecs, references that other packages took; and a loaded extension module can't leave the process
    (`left_behind` names them).

    An *isolated* one is seen by its own code alone, and through `import_module`: others may have other versions of the
    same projects in use at the same time. docs/explanation/isolation.md says what that takes, and what it can't do.
    """

    def __init__(
        self,
        requirements: "Sequence[str]",
        lock: "str | os.PathLike[str] | None",
        extras: "Sequence[str]",
        groups: "Sequence[str] | None",
        cache_dir: "str | os.PathLike[str] | None",
        options: "Mapping[str, Any]",
        *,
        isolated: bool = False,
    ) -> None:
        if not requirements and lock is None:
            from remote_wheel.errors import UsageError

            raise UsageError(message="an environment of nothing", way_out="As in environment('rich', 'httpx>=0.27').")
        if lock is None and (extras or groups):
            from remote_wheel.errors import UsageError

            raise UsageError(message="extras= and groups= are of a lock", way_out="Name it with lock=.")
        self._requirements, self._lock, self._cache_dir, self._options = tuple(requirements), lock, cache_dir, options
        self._extras, self._groups = extras, groups
        if isolated:  # what is installed is not of it
            self._options = {**options, "prefer_installed": False}
        self._is_isolated = isolated
        self._isolations: list[Isolation] = []
        self._entered: list[_Entered] = []
        self._planned: list[str] = []  # JSON
        self._plan: Plan | None = None
        self.left_behind: tuple[str, ...] = ()

    @property
    def plan(self) -> "Plan":
        """The plan, resolved now where it was not yet. Of a lock with requirements beside, both. Raises as resolve."""
        if self._plan is None:
            if not self._planned:
                self._boot(registry.opened)
            self._plan = _joined(self._planned)
        return self._plan

    def import_module(self, name: str) -> "ModuleType":
        """Import and return module *name* of the environment, which has to be entered.

        Of an isolated one also a module of the standard library, as its code sees it: ``pickle`` loads its classes.
        """
        if self._is_isolated:
            self._roots()
            return self._isolations[-1].import_module(name)
        owner = root_with(name, self._roots())
        return import_from(name, owner) if owner else import_module(name)

    def entry_points(self, **select: "Any") -> "EntryPoints":
        """Return the entry points of the environment's distributions, by *select* as importlib.metadata has it."""
        from importlib.metadata import EntryPoints, distributions

        places = [root.path for root in self._roots()]
        if self._is_isolated:
            from remote_wheel.api.handle import isolated_entry_points

            return isolated_entry_points(self._isolations[-1]).select(**select)
        return EntryPoints(each for found in distributions(path=places) for each in found.entry_points).select(**select)

    def run(
        self, arguments: "Sequence[str]", *, sandbox: "bool | Mapping[str, Any]" = False, **options: "Any"
    ) -> "subprocess.CompletedProcess[Any]":
        """Run this interpreter with *arguments* (``["script.py"]``, ``["-m", "pkg"]``) and exactly this environment.

        *options* are subprocess.run's. The child mounts what is prepared here and resolves nothing; mounts of this
        process that are not of the environment are not in it. In a *sandbox* it may do no more than that: True, or the
        fields of one (`reads`, `writes`, `allows_network`, `limits`, `env`); it gets few variables then, and what it
        has started ends with it. Raises SandboxUnavailable where there can be none, UsageError where a child can't have
        the environment, or there is no interpreter to start.
        """
        import subprocess

        if isinstance(arguments, (str, bytes)) or not arguments:
            raise TypeError(f"arguments is a sequence as in ['script.py'] or ['-m', 'pkg'], not {arguments!r}")
        roots = self._entered[-1][0] if self._entered else self._boot(registry.opened)
        _check_can_be_handed_on(roots, arguments)
        from remote_wheel.api.interpreter import find_interpreters

        interpreter = next(find_interpreters(), None)
        if interpreter is None:
            from remote_wheel.errors import UsageError

            raise UsageError(
                message=f"this program has no interpreter of Python {sys.version.split()[0]} that could run it",
                way_out="Enter the environment (with env:) and import in this process.",
            )
        given = options.pop("env", None)
        if sandbox is not False and given is None:
            from remote_wheel.api.sandbox import environment_for

            given = environment_for(sandbox)
        environ = dict(os.environ if given is None else given)
        children.take_back(environ)
        if roots:
            children.give(environ, roots)
        if sandbox is not False:
            from remote_wheel.api.sandbox import run_sandboxed

            return run_sandboxed([interpreter, *arguments], sandbox, roots, {**options, "env": environ})
        return subprocess.run([interpreter, *arguments], env=environ, **options)

    def __enter__(self) -> "Environment":
        self._enter()
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self._roots()
        roots, asides = self._entered.pop()
        if self._is_isolated:
            registry.end_isolation(self._isolations.pop())
            return
        loaded = {name for root in roots if root.uses == roots.count(root) for name in undo.extensions_of(root)}
        self.left_behind = tuple(sorted({*self.left_behind, *loaded}))
        self._leave(roots, asides)

    async def __aenter__(self) -> "Environment":
        from asyncio import to_thread

        await to_thread(self._boot, registry.opened)  # what takes time, away from the event loop
        return self.__enter__()

    async def __aexit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: "Callable[_Parameters, _Result]") -> "Callable[_Parameters, _Result]":
        """Return *function* so that each of its calls runs in the environment; a generator, until it ends."""
        from functools import wraps
        from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
        from typing import cast

        is_method = isinstance(function, (staticmethod, classmethod))
        if isinstance(function, type) or is_method or isasyncgenfunction(function):
            raise TypeError(f"an environment decorates functions, coroutine functions and generators, not {function!r}")
        if isgeneratorfunction(function):

            @wraps(function)
            def generated(*args: "_Parameters.args", **kwargs: "_Parameters.kwargs") -> "Any":
                with self:
                    return (yield from function(*args, **kwargs))

            return cast("Callable[_Parameters, _Result]", generated)
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: "_Parameters.args", **kwargs: "_Parameters.kwargs") -> "Any":
                async with self:
                    return await function(*args, **kwargs)

            return cast("Callable[_Parameters, _Result]", awaited)

        @wraps(function)
        def called(*args: "_Parameters.args", **kwargs: "_Parameters.kwargs") -> "_Result":
            with self:
                return function(*args, **kwargs)

        return called

    def __repr__(self) -> str:
        of = [*self._requirements, *([os.fspath(self._lock)] if self._lock is not None else [])]
        kind = "Isolated environment" if self._is_isolated else "Environment"
        return f"<{kind} of {', '.join(of)}{' (entered)' if self._entered else ''}>"

    def _roots(self) -> "list[Root]":
        if not self._entered:
            from remote_wheel.errors import UsageError

            raise UsageError(message=f"{self!r} is not entered", way_out="with environment(…) as env: …")
        return self._entered[-1][0]

    def _enter(self) -> None:
        if self._is_isolated:
            isolation = registry.isolate(self._boot(registry.opened))
            self._isolations.append(isolation)
            self._entered.append((list(isolation.roots), []))
            return
        roots: list[Root] = []
        asides: list[dict[str, ModuleType]] = []

        def mount(entries: "Sequence[dict[str, Any]]") -> "list[Root]":
            aside: dict[str, ModuleType] = {}
            new = registry.add(entries, aside)
            asides.append(aside)
            roots.extend(new)
            return new

        try:
            self._boot(mount)
        except BaseException:
            self._leave(roots, asides)
            raise
        self._entered.append((roots, asides))

    @staticmethod
    def _leave(roots: "list[Root]", asides: "list[dict[str, ModuleType]]") -> None:
        undo.remove(roots)
        for aside in reversed(asides):
            undo.restore(aside)

    def _boot(self, mount: "_Mount") -> "list[Root]":
        """Find or make what the environment is of, and hand it to *mount*."""
        roots: list[Root] = []
        planned: list[str] = []
        options = dict(self._options)
        asked: list[tuple[str, Sequence[str]]] = []
        if self._lock is not None:
            asked.append(("lock", api.lock_subjects(self._lock, self._extras, self._groups)))
        if self._requirements:
            asked.append(("require", self._requirements))
        for action, subjects in asked:
            record, found = api.boot_record(
                action, subjects, options, self._cache_dir, mount=mount, keeps_mounted=False
            )
            roots += found
            planned.append(record["plan"])
            options = api.bound_by(record, options)
        self._planned = self._planned or planned
        return roots


def _check_can_be_handed_on(roots: "Sequence[Root]", arguments: "Sequence[str]") -> None:
    """Raise UsageError where a child would not have the environment: it must read its images, and its variables."""
    from remote_wheel.errors import UsageError

    if any(not root.image.is_file for root in roots):
        raise UsageError(message="a child process can't have what is in memory alone (no_cache)", way_out="Keep it.")
    for word in arguments:
        if not word.startswith("-") or word in ("-c", "-m", "-"):
            return
        if not word.startswith("--") and not word.startswith(("-W", "-X")) and set("IES") & set(word):
            what = f"python {word} reads no variables or no site, which hand the environment on"
            raise UsageError(message=what, way_out="Leave it out; -P and -s do no harm.")


def _merged(pin: "Pin", other: "Pin | None") -> "Pin":
    """Return *pin* with who else wanted it and what else it needs by another plan."""
    from dataclasses import replace

    if other is None:
        return pin
    needs, wanted_by = (*pin.needs, *other.needs), (*pin.wanted_by, *other.wanted_by)
    return replace(pin, needs=tuple(dict.fromkeys(needs)), wanted_by=tuple(dict.fromkeys(wanted_by)))


def _joined(planned: "Sequence[str]") -> "Plan":
    """Return one plan of several (JSON); of the same distribution in two, the first counts."""
    import json
    from dataclasses import replace

    from remote_wheel.api.plans import Plan
    from remote_wheel.resolution.plan import plan_from_json

    first, *others = (plan_from_json(json.loads(plan), Plan) for plan in planned)
    for other in others:
        theirs = {pin.key: pin for pin in other.pins}
        known = {pin.key for pin in first.pins}
        first = replace(
            first,
            requirements=(*first.requirements, *other.requirements),
            pins=(
                *(_merged(pin, theirs.get(pin.key)) for pin in first.pins),
                *(pin for pin in other.pins if pin.key not in known),
            ),
            notes=(*first.notes, *other.notes),
            skipped=(*first.skipped, *other.skipped),
        )
    return first


globals()["__builtins__"] = api.annotation_names  # for who evaluates annotations
