"""Every error remote_wheel raises on purpose: one tree, each a record of facts.

An error's attributes hold what happened (strings, numbers and tuples of them, so that an error crosses the
helper process unchanged); `str()` tells it in one line and `hint` says what to try. `detail` holds the long
version that the command line shows under ``-v``.
"""

TYPE_CHECKING = False  # the name type checkers know; `typing` itself costs 7 ms and this module must be free
if TYPE_CHECKING:
    from typing import Any, dataclass_transform
else:

    def dataclass_transform(**_options):
        """Stand in for typing's decorator, which does nothing at run time either."""
        return lambda cls: cls


@dataclass_transform(kw_only_default=True)
class RemoteWheelError(Exception):
    """Base of all errors of this package. Facts are keyword arguments and become attributes."""

    _facts: "tuple[str, ...]" = ()
    _hint = ""  # what to try, where it is the same for every case

    def __init_subclass__(cls) -> None:
        """Collect the annotated facts of the class and of its bases."""
        own = tuple(name for name in cls.__annotations__ if not name.startswith("_"))
        cls._facts = tuple(dict.fromkeys((*cls._facts, *own)))

    if not TYPE_CHECKING:

        def __init__(self, **facts):
            missing = [n for n in self._facts if n not in facts and not hasattr(type(self), n)]
            unknown = [n for n in facts if n not in self._facts]
            if missing or unknown:
                raise TypeError(f"{type(self).__name__}: missing facts {missing}, unknown facts {unknown}")
            super().__init__()
            self.__dict__.update(facts)
            if self.hint:
                self.add_note(f"try: {self.hint}")  # so that a traceback shows the way out, too

    def __str__(self) -> str:
        """One line: the thing and the reason."""
        raise NotImplementedError

    @property
    def hint(self) -> str:
        """What to try, as one or more sentences; empty where nothing helps."""
        return self._hint

    @property
    def detail(self) -> str:
        """The long version, empty where the line says it all."""
        return ""

    def facts(self) -> "dict[str, Any]":
        """Return the facts by name; they are strings, numbers, None, or tuples of these."""
        return {name: getattr(self, name) for name in self._facts}

    def __reduce__(self) -> "tuple[Any, ...]":
        """Pickle by class name and facts."""
        return rebuild_error, (type(self).__name__, self.facts())


def rebuild_error(name: str, facts: "dict[str, Any]") -> RemoteWheelError:
    """Make the error *name* of this module again from its facts, lists turned back into tuples."""
    cls = globals()[name]
    return cls(**{key: _as_tuples(value) for key, value in facts.items()})  # type: ignore[no-any-return]  # by name


def _as_tuples(value: "Any") -> "Any":
    return tuple(_as_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _names(names: "tuple[str, ...]", most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


# --- what the caller wrote ---------------------------------------------------------------------------------


class UsageError(RemoteWheelError):
    """Raised for arguments that contradict each other or have the wrong form. Retrying never helps."""

    message: str
    way_out: str = ""

    def __str__(self) -> str:
        return self.message

    @property
    def hint(self) -> str:
        return self.way_out


class InvalidRequirement(RemoteWheelError):
    """Raised when a requirement is not PEP 508. Not raised for an unknown project. Retrying never helps."""

    _hint = "Write a requirement as in 'flask>=3' or 'rich[jupyter]==13.7.1'; mount() takes URLs and paths."

    requirement: str
    reason: str

    def __str__(self) -> str:
        return f"{self.requirement!r} is not a valid requirement: {self.reason}"


class InvalidSource(RemoteWheelError):
    """Raised when mount() is given something it can't take. Retrying never helps."""

    _hint = "Give a wheel, a source .zip or a .py file, as an http(s) URL or a local path."

    source: str
    reason: str

    def __str__(self) -> str:
        return f"can't mount {self.source!r}: {self.reason}"


# --- the index ---------------------------------------------------------------------------------------------


class ResolutionError(RemoteWheelError):
    """Base of the errors that say why no plan could be made. Retrying helps only if the index changes."""


class ProjectNotFound(ResolutionError):
    """Raised when no configured index has the project; never for a network failure."""

    _hint = "Check the spelling, or name the index that has it with index_url= (--index-url)."

    project: str
    indexes: "tuple[str, ...]"

    def __str__(self) -> str:
        return f"project {self.project!r} was not found on {_names(self.indexes)}"


class NoMatchingVersion(ResolutionError):
    """Raised when a project exists but no usable release satisfies the requirement."""

    requirement: str
    available: "tuple[str, ...]"
    excluded: "tuple[str, ...]" = ()

    def __str__(self) -> str:
        have = f"usable versions are {_names(self.available)}" if self.available else "no version is usable here"
        left_out = f"; left out: {_names(self.excluded, 4)}" if self.excluded else ""
        return f"no version satisfies {self.requirement!r}: {have}{left_out}"

    @property
    def hint(self) -> str:
        if any("pre-release" in reason for reason in self.excluded):
            return "Pass pre=True (--pre) to allow pre-releases, or widen the version range."
        return "Widen the version range."

    @property
    def detail(self) -> str:
        return "\n".join(f"left out: {reason}" for reason in self.excluded)


class OnlySdists(ResolutionError):
    """Raised when the matching releases have source distributions but no wheel at all."""

    _hint = "remote_wheel never runs build scripts: choose a version that has a wheel, or build one and mount it."

    requirement: str
    files: "tuple[str, ...]"

    def __str__(self) -> str:
        return f"{self.requirement!r} has only source distributions, no wheel: {_names(self.files, 3)}"


class NoCompatibleWheel(ResolutionError):
    """Raised when wheels exist but none fits this interpreter and platform, or its Python version."""

    _hint = "Use an interpreter that a wheel exists for, or ask for another version."

    requirement: str
    wheels: "tuple[str, ...]"
    wheel_tags: "tuple[str, ...]"
    fitting_tags: "tuple[str, ...]"
    reasons: "tuple[str, ...]" = ()

    def __str__(self) -> str:
        why = f" ({_names(self.reasons, 3)})" if self.reasons else ""
        return (
            f"no wheel for {self.requirement!r} fits this machine{why}: the tags that exist are "
            f"{_names(self.wheel_tags, 6)}; the best fitting here are {_names(self.fitting_tags, 4)}"
        )

    @property
    def detail(self) -> str:
        return "\n".join((*(f"wheel: {name}" for name in self.wheels), *(f"fits: {t}" for t in self.fitting_tags)))


class Unsatisfiable(ResolutionError):
    """Raised when requirements contradict each other; `chains` is the proof, a sentence each."""

    _hint = "Loosen one of the requirements named, or ask for them in separate environments."

    requirements: "tuple[str, ...]"
    chains: "tuple[str, ...]"

    def __str__(self) -> str:
        return f"{_names(self.requirements)} can't be satisfied together: {'; '.join(self.chains[:6])}"

    @property
    def detail(self) -> str:
        return "\n".join(self.chains)


class ResolutionLimit(ResolutionError):
    """Raised when the resolver gave up within its bounds; it proves nothing. Narrower ranges help."""

    _hint = "Pin some of the requirements closer."

    requirements: "tuple[str, ...]"
    reason: str

    def __str__(self) -> str:
        return f"gave up resolving {_names(self.requirements)}: {self.reason}"


class InvalidIndexPage(RemoteWheelError):
    """Raised when an index answers with something that is no PEP 503 or PEP 691 page of the project."""

    _hint = "Check that index_url= (--index-url) names the root of a simple index."

    url: str
    reason: str

    def __str__(self) -> str:
        return f"the index page {self.url} can't be used: {self.reason}"


class InvalidMetadata(RemoteWheelError):
    """Raised when the core metadata of a distribution can't be read or contradicts its file name or index."""

    _hint = "Ask for another version, and tell the project."

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} has unusable metadata: {self.reason}"


# --- getting bytes -----------------------------------------------------------------------------------------


class FetchError(RemoteWheelError):
    """Base of the errors of getting bytes from elsewhere. URLs in them carry no secret."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"can't fetch {self.url}: {self.reason}"


class NotFound(FetchError):
    """Raised for a file or page that isn't there (404, 410). Retrying does not help."""

    _hint = "Check the URL; a private file may also look absent without credentials."


class AccessDenied(FetchError):
    """Raised for 401, 403 and 407. Never falls through to another index. Credentials help, retrying doesn't."""

    _hint = "Put credentials into ~/.netrc or the URL (https://user:token@host/…)."


class ServerError(FetchError):
    """Raised for a 5xx or another unexpected status after the retries. Retrying later may help."""

    _hint = "Try again later, or use offline=True (--offline) if the cache has all that is needed."


class NetworkError(FetchError):
    """Raised when the host can't be reached: DNS, refused, reset, TLS. Retrying may help."""

    _hint = "Check the connection, proxy and certificates; offline=True (--offline) uses the cache alone."


class FetchTimeout(NetworkError):
    """Raised when the host did not answer, or not fast enough, in time. Retrying may help."""


class InsecureTransport(FetchError):
    """Raised for plain http to a host that is not this machine, without a hash to hold the content to."""

    _hint = "Use https, or state the content's hash: sha256= or '#sha256=…' at the end of the URL."


class TooLarge(FetchError):
    """Raised when an answer is larger than its limit (settings.Limits). Retrying never helps."""


class NotCached(RemoteWheelError):
    """Raised offline when something is needed that the cache does not hold."""

    what: str
    way: str

    def __str__(self) -> str:
        return f"offline, and the cache does not hold {self.what}"

    @property
    def hint(self) -> str:
        return f"Get it while online: {self.way}"


# --- verification ------------------------------------------------------------------------------------------


class VerificationError(RemoteWheelError):
    """Base of the errors that say why bytes are not trusted. Nothing of such a file is ever used."""


class DigestMismatch(VerificationError):
    """Raised when content does not have the hash somebody stated. Retrying helps only after a bad transfer."""

    _hint = "Do not use the file. If the new content is the one you want, state its hash."

    subject: str
    stated_by: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.subject} is not what {self.stated_by} promised: expected {self.expected}, got {self.actual}"


class UnsafeArchive(VerificationError):
    """Raised when an archive is damaged, or laid out so that two readers could see two things."""

    _hint = "Fetch it again in case the transfer was cut short; otherwise do not use the file."

    subject: str
    member: str
    rule: str

    def __str__(self) -> str:
        where = f"member {self.member!r}: " if self.member else ""
        return f"{self.subject} is not a well-formed archive: {where}{self.rule}"


class RecordMismatch(VerificationError):
    """Raised when a wheel's RECORD and its files differ; `problems` has one (file, what) for each."""

    _hint = "Do not use the file; ask for another version, and tell the project."

    subject: str
    problems: "tuple[tuple[str, str], ...]"

    def __str__(self) -> str:
        shown = "; ".join(f"{name}: {what}" for name, what in self.problems[:5])
        more = f" and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
        return f"{self.subject} does not match its RECORD: {shown}{more}"

    @property
    def detail(self) -> str:
        return "\n".join(f"{name}: {what}" for name, what in self.problems)


class InvalidWheel(VerificationError):
    """Raised when a well-formed archive breaks the binary distribution format."""

    _hint = "Ask for another version, and tell the project."

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} is not a valid wheel: {self.reason}"


# --- mounting ----------------------------------------------------------------------------------------------


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

    def __str__(self) -> str:
        return (
            f"{self.project} {self.wanted} can't be mounted: module {self.module!r} is already imported, "
            f"version {self.loaded or 'unknown'}, from {self.loaded_from}"
        )


class AmbiguousModule(MountError):
    """Raised when it is not clear which module a requirement stands for."""

    requirement: str
    modules: "tuple[str, ...]"

    def __str__(self) -> str:
        have = f"it provides {_names(self.modules)}" if self.modules else "it provides no module"
        return f"which module {self.requirement!r} stands for is not clear: {have}"

    @property
    def hint(self) -> str:
        return f"Name it: module={self.modules[0]!r}." if self.modules else "mount() takes it without importing."


class Shadowed(MountError):
    """Raised when an import does not give what was mounted: something earlier on sys.path has that name."""

    _hint = "Rename or remove what is in front: a file beside the script, a folder of PYTHONPATH, the standard library."

    module: str
    project: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.project} {self.wanted} is mounted, but `import {self.module}` finds {self.found} first"


class MustBeUnpacked(MountError):
    """Raised when a project with native code was asked to stay in memory: the system loads those from files only."""

    _hint = "Leave it out of in_memory= (--in-memory)."

    project: str
    reason: str

    def __str__(self) -> str:
        return f"{self.project} can't stay in memory: {self.reason}"


class UnknownScript(MountError):
    """Raised when no mounted distribution has the console script asked for."""

    _hint = "Name the distribution that has it with --with. Programs in a wheel's .data/scripts are not run."

    name: str
    available: "tuple[str, ...]"

    def __str__(self) -> str:
        have = f"they have {_names(self.available)}" if self.available else "they have none"
        return f"no mounted distribution has a script called {self.name!r}; {have}"


class StoreError(RemoteWheelError):
    """Raised when the cache folder can't be used: not ours, not writable, full. Another folder helps."""

    _hint = "Name another folder with cache_dir= (--cache-dir) or REMOTE_WHEEL_CACHE_DIR."

    path: str
    reason: str

    def __str__(self) -> str:
        return f"the cache folder {self.path} can't be used: {self.reason}"


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
