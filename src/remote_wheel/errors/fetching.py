"""Errors of getting bytes from elsewhere."""

from remote_wheel.errors.record import RemoteWheelError


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
    """Raised for 401, 403, 407 and their like. Never falls through to another index. Credentials help."""

    @property
    def hint(self) -> str:
        scheme = self.url.partition(":")[0]
        if scheme == "s3":
            return "Give boto3 credentials that may read it: AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws/credentials."
        if scheme in ("sftp", "ssh"):
            return "Use a key of ssh-agent or ~/.ssh/config, or REMOTE_WHEEL_SSH_PASSWORD."
        if scheme in ("http", "https"):
            return "Put credentials into ~/.netrc or the URL (https://user:token@host/…)."
        return "Set up its credentials as fsspec's documentation of the filesystem says."


class UntrustedHost(FetchError):
    """Raised for an SSH server whose host key is unknown, changed or revoked. Nothing was sent to it."""

    fingerprint: str

    @property
    def hint(self) -> str:
        return (
            "Ask the host's administrator for its fingerprint; if it is this one, add the key to ~/.ssh/known_hosts"
            f" (ssh-keyscan) or state it: ?hostkey={self.fingerprint} at the end of the URL."
        )


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
