"""Errors of what the caller wrote, of indexes and metadata, and of making a plan."""

from remote_wheel.errors.record import RemoteWheelError, join_words, list_names

_WAYS = (  # what notes say of releases that were left out, and the way to have them
    ("was not found on", "Check the spelling, or name the index that has it."),
    ("(a pre-release)", "Allow pre-releases of a project: pre=[…] (--pre-for)."),
    ("yanked", "A yanked release is taken if you pin it exactly (==)."),
    ("your constraint is", "Loosen the constraint."),
    ("exclude_newer", "Move exclude_newer, or except a project from it: 'PROJECT=none'."),
    ("requires Python", "Use a Python that fits."),
    (
        "its hash is none of those",
        "Compare the hashes with what the project publishes; the index may have another file.",
    ),
    ("no wheel fits this machine", "Ask for it on a machine that a wheel exists for, or for another version."),
    ("only a source distribution", "Build a wheel of what has only source distributions, and name it by path."),
)


def _ways(told: str) -> str:
    """Return the ways out that *told*, which says why releases were left out, asks for."""
    return " ".join(way for sign, way in _WAYS if sign in told)


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

    source: str
    reason: str
    way_out: str = (
        "Give a wheel, a source archive (.zip, .tar.gz), a .py file or github:owner/name@ref; by URL or path."
    )

    def __str__(self) -> str:
        return f"can't mount {self.source!r}: {self.reason}"

    @property
    def hint(self) -> str:
        return self.way_out


class InvalidLock(RemoteWheelError):
    """Raised when a lock file is no PEP 751 file, or has nothing for this interpreter and platform."""

    _hint = "Make it again, for this machine: remote-wheel lock, uv export --format pylock.toml or pip lock."

    lock: str
    reason: str

    def __str__(self) -> str:
        return f"the lock file {self.lock} can't be used: {self.reason}"


class ResolutionError(RemoteWheelError):
    """Base of the errors that say why no plan could be made. Retrying helps only if the index changes."""


class ProjectNotFound(ResolutionError):
    """Raised when no configured index has the project; never for a network failure."""

    project: str
    indexes: "tuple[str, ...]"

    def __str__(self) -> str:
        where = list_names(self.indexes) or "any index: none is asked"
        return f"project {self.project!r} was not found on {where}"

    @property
    def hint(self) -> str:
        if not self.indexes:
            return "Name a folder that has it with find_links= (--find-links), or leave out no_index."
        return "Check the spelling, or name the index that has it with index_url= (--index-url)."


class NoMatchingVersion(ResolutionError):
    """Raised when a project exists but no usable release satisfies the requirement."""

    requirement: str
    available: "tuple[str, ...]"
    excluded: "tuple[str, ...]" = ()

    def __str__(self) -> str:
        have = f"usable versions are {list_names(self.available)}" if self.available else "no version is usable here"
        left_out = f"; left out: {list_names(self.excluded, 4)}" if self.excluded else ""
        return f"no version satisfies {self.requirement!r}: {have}{left_out}"

    @property
    def hint(self) -> str:
        return _ways(" ".join(self.excluded[:4])) or "Widen the version range."

    @property
    def detail(self) -> str:
        return "\n".join(f"left out: {reason}" for reason in self.excluded)


class OnlySdists(ResolutionError):
    """Raised when the matching releases have source distributions but no wheel at all."""

    _hint = "remote_wheel never runs build scripts: choose a version that has a wheel, or build one and mount it."

    requirement: str
    files: "tuple[str, ...]"

    def __str__(self) -> str:
        return f"{self.requirement!r} has only source distributions, no wheel: {list_names(self.files, 3)}"


class NoCompatibleWheel(ResolutionError):
    """Raised when wheels exist but none fits this interpreter and platform, or its Python version."""

    _hint = "Use an interpreter that a wheel exists for, or ask for another version."

    requirement: str
    wheels: "tuple[str, ...]"
    wheel_tags: "tuple[str, ...]"
    fitting_tags: "tuple[str, ...]"
    reasons: "tuple[str, ...]" = ()

    def __str__(self) -> str:
        why = f" ({list_names(self.reasons, 3)})" if self.reasons else ""
        if not self.wheel_tags:
            return f"{self.requirement!r} does not fit this machine{why}"
        return (
            f"no wheel for {self.requirement!r} fits this machine{why}: the tags that exist are "
            f"{list_names(self.wheel_tags, 6)}; the best fitting here are {list_names(self.fitting_tags, 4)}"
        )

    @property
    def detail(self) -> str:
        return "\n".join((*(f"wheel: {name}" for name in self.wheels), *(f"fits: {t}" for t in self.fitting_tags)))


class Unsatisfiable(ResolutionError):
    """Raised when requirements contradict each other, themselves or in what they need; `reasons` is the proof.

    `requirements` are those of the caller's that take part, `notes` what there is of the projects concerned.
    """

    requirements: "tuple[str, ...]"
    reasons: "tuple[str, ...]"
    notes: "tuple[str, ...]" = ()

    def __str__(self) -> str:
        asked = f"you require {join_words(self.requirements)}"
        because = join_words(self.reasons[:6]) if self.reasons else asked
        more = f" and {len(self.reasons) - 6} more reasons" if len(self.reasons) > 6 else ""
        end = f", and {asked}" if self.reasons else ""
        known = f" ({'; '.join(self.notes[:4])})" if self.notes else ""
        return f"because {because}{more}{end}, there is no solution{known}"

    @property
    def hint(self) -> str:
        return (
            _ways(" ".join(self.notes))
            or "Loosen one of the requirements named, or ask for them in separate environments."
        )

    @property
    def detail(self) -> str:
        return "\n".join((*(f"you require {text}" for text in self.requirements), *self.reasons, *self.notes))


class ResolutionLimit(ResolutionError):
    """Raised when the resolver gave up within its bounds; it proves nothing. Narrower ranges help."""

    _hint = "Pin some of the requirements closer."

    requirements: "tuple[str, ...]"
    reason: str

    def __str__(self) -> str:
        return f"gave up resolving {list_names(self.requirements)}: {self.reason}"


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


class MustBeBuilt(RemoteWheelError):
    """Raised for a source tree that only a build could complete: native code, computed metadata. Never retried."""

    subject: str
    project: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} must be built, and remote_wheel never runs builds: {self.reason}"

    @property
    def hint(self) -> str:
        wheel = f"Use require({self.project!r}), which takes its wheel" if self.project else "Mount a wheel of it"
        return f"{wheel}; or build one (pip wheel) and mount that."


class LockOutdated(RemoteWheelError):
    """Raised when a lock that is to be used as it is (locked) does not have what is required."""

    _hint = "Lock again (remote-wheel lock), or use it all the same with --frozen."

    lock: str
    requirement: str
    locked: str

    def __str__(self) -> str:
        has = f"it has {self.locked}" if self.locked else "it does not have that project"
        return f"the lock {self.lock} does not satisfy {self.requirement!r}: {has}"


class MissingExtra(RemoteWheelError):
    """Raised when a source needs a library that is not installed. Retrying helps once it is."""

    scheme: str
    library: str
    install: str

    def __str__(self) -> str:
        return f"{self.scheme}:// needs {self.library}: pip install {self.install!r}"
