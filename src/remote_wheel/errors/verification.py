"""Errors that say why bytes are not trusted."""

from remote_wheel.errors.record import RemoteWheelError


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


class ContentChanged(VerificationError):
    """Raised when a URL that was trusted on first use gives other content than it did then."""

    url: str
    recorded: str
    recorded_at: str
    actual: str

    def __str__(self) -> str:
        was, now = self.recorded, self.actual
        return f"{self.url} is not what it was on {self.recorded_at}: its SHA-256 was {was}, and is {now} now"

    @property
    def hint(self) -> str:
        said = f"mount('{self.url}', sha256='{self.actual}')"
        return (
            f"Find out why. If the new content is the one you want, say so once: {said}, or #sha256=… behind the URL."
        )


class NotTrusted(VerificationError):
    """Raised when frozen and nothing says what the content of a URL should be: no hash, no lock, no earlier use."""

    _hint = "State its hash (sha256=), use a lock, or mount it once without frozen=True (--frozen)."

    url: str
    where: str = ""  # the setting was made

    def __str__(self) -> str:
        by = f" (frozen is set by {self.where})" if self.where else ""
        return f"frozen, and nothing is known of {self.url}{by}"


class RefusedByPolicy(VerificationError):
    """Raised for what a setting rules out: `rule` is the option, `where` says where it was set."""

    what: str
    rule: str
    where: str

    def __str__(self) -> str:
        return f"{self.what} is refused: {self.rule} is set by {self.where}"

    @property
    def hint(self) -> str:
        return f"If it is to be, change {self.rule} there."


class MovedTag(VerificationError):
    """Raised when a tag is another commit now than the lock says. Not raised for a branch, which is meant to move."""

    subject: str
    tag: str
    locked: str
    current: str

    def __str__(self) -> str:
        return f"{self.subject}: tag {self.tag!r} was commit {self.locked} when locked, and is {self.current} now"

    @property
    def hint(self) -> str:
        return (
            "Find out why it was moved. To stay with the locked commit, name it instead of the tag;"
            " to take the new one, lock again."
        )


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
