"""Errors of making a verified distribution importable, and of the store and the helper."""

from remote_wheel.errors.record import RemoteWheelError, join_words, list_names


class MountError(RemoteWheelError):
    """Base of the errors of making a verified distribution importable."""


class AlreadyImported(MountError):
    """Raised when another version of a module is loaded already: Python can't hold both under one name."""

    _hint = "Call require() before the first import of it, restart the process, or ask for the loaded version."

    module: str
    project: str
    wanted: str
    loaded: str
    loaded_from: str
    wanted_by: "tuple[tuple[str, str], ...]" = ()  # (who, requirement)

    def __str__(self) -> str:
        asked = (f"{who} require{'' if who == 'you' else 's'} {text}" for who, text in self.wanted_by[:4])
        because = f" ({join_words(tuple(asked))})" if self.wanted_by else ""
        return (
            f"{f'{self.project} {self.wanted}'.rstrip()} can't be mounted: module {self.module!r} is already imported, "
            f"version {self.loaded or 'unknown'}, from {self.loaded_from}{because}"
        )


class AmbiguousModule(MountError):
    """Raised when it is not clear which module a requirement stands for."""

    requirement: str
    modules: "tuple[str, ...]"

    def __str__(self) -> str:
        have = f"it provides {list_names(self.modules)}" if self.modules else "it provides no module"
        return f"which module {self.requirement!r} stands for is not clear: {have}"

    @property
    def hint(self) -> str:
        return f"Name it: module={self.modules[0]!r}." if self.modules else "mount() takes it without importing."


class NothingToUnpackTo(MountError):
    """Raised when native code has to be on a disk to be loaded, and nothing is to be, or can be, written."""

    _hint = "Leave out no_cache, or name a folder that can be written with cache_dir= (--cache-dir)."

    project: str
    file: str

    def __str__(self) -> str:
        return f"{self.project} can't be used without a cache folder: native code is loaded from a file ({self.file})"


class Shadowed(MountError):
    """Raised when an import does not give what was mounted: something earlier on sys.path has that name."""

    _hint = "Rename or remove what is in front: a file beside the script, a folder of PYTHONPATH, the standard library."

    module: str
    project: str
    wanted: str
    found: str

    def __str__(self) -> str:
        what = f"{self.project} {self.wanted}".rstrip()
        return f"{what} is mounted, but `import {self.module}` finds {self.found} first"


class MustBeUnpacked(MountError):
    """Raised when a project with native code was asked to stay in memory: the system loads those from files only."""

    _hint = "Leave it out of in_memory= (--in-memory)."

    project: str
    reason: str

    def __str__(self) -> str:
        return f"{self.project} can't stay in memory: {self.reason}"


class UnknownScript(MountError):
    """Raised when no mounted distribution has the console script asked for."""

    _hint = "Name the distribution that has it with --with."

    name: str
    available: "tuple[str, ...]"

    def __str__(self) -> str:
        have = f"they have {list_names(self.available)}" if self.available else "they have none"
        return f"no mounted distribution has a script called {self.name!r}; {have}"


class StoreError(RemoteWheelError):
    """Raised when the cache folder can't be used: not ours, not writable, full. Another folder helps."""

    _hint = "Name another folder with cache_dir= (--cache-dir) or REMOTE_WHEEL_CACHE_DIR."

    path: str
    reason: str
    is_unwritable: bool = False  # now or ever; what is there may be read

    def __str__(self) -> str:
        return f"the cache folder {self.path} can't be used: {self.reason}"


class SandboxUnavailable(RemoteWheelError):
    """Raised where a sandbox was asked for and this system can't make one. Nothing was run."""

    _hint = "Run it on a Linux with Landlock (5.13 and later), in a container, or without the sandbox."

    reason: str

    def __str__(self) -> str:
        return f"no sandbox can be made here: {self.reason}"


class HelperFailed(RemoteWheelError):
    """Raised when the helper process ended without an answer: a bug of ours, or the system ended it."""

    _hint = "Run again with -v for what it printed; please report it."

    reason: str
    output: str = ""

    def __str__(self) -> str:
        return f"the helper process failed: {self.reason}"

    @property
    def detail(self) -> str:
        return self.output
