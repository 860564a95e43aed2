"""Receiving archives: hashed as they come, and once more where what came is not what was promised."""

from collections.abc import Callable, Mapping

from remote_wheel.errors import DigestMismatch
from remote_wheel.fetch.port import ANEW, Answer
from remote_wheel.spec.digest import Hasher
from remote_wheel.store.files import Staged


class HashingSink:
    """A fetch.port.Sink that hashes what it passes on."""

    def __init__(
        self, staged: Staged, digests: Mapping[str, str], received: Callable[[int], None] = lambda _: None
    ) -> None:
        self._staged, self._digests, self._received = staged, digests, received
        self.restart()

    def restart(self) -> None:
        """Start over."""
        self._staged.restart()
        self.hasher = Hasher(self._digests)
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        """Hash and pass on."""
        self.hasher.update(chunk)
        self._staged.file.write(chunk)
        self.size_bytes += len(chunk)
        self._received(self.size_bytes)


def receive_checked(
    get: Callable[[Mapping[str, str]], Answer],
    sink: HashingSink,
    digests: Mapping[str, str],
    *,
    url: str,
    subject: str,
    stated_by: str,
) -> Answer:
    """Have *get* (headers → answer) fill *sink* with what has the *digests*.

    What has not may have been damaged on its way: over http it is asked for once more, past what keeps answers there.
    """
    answer = get({})
    try:
        if answer.status != 304:
            sink.hasher.check(digests, subject=subject, stated_by=stated_by)
    except DigestMismatch:
        if not url.startswith("http"):
            raise
        answer = get(ANEW)
        sink.hasher.check(digests, subject=subject, stated_by=stated_by)
    return answer
