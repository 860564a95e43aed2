"""Digests as they are stated in URLs, RECORD files and index pages."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from remote_wheel.errors import DigestMismatch, UsageError
from remote_wheel.spec.pieces import pieces

# RECORD asks for "sha256 or better" (PEP 427); the shake_* have no fixed length and so no one spelling.
STRONG: Final = ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s")
_WEAK: Final = ("md5", "sha1", "sha224")
_HEX: Final = frozenset("0123456789abcdef")


def parse_fragment_digests(fragment: str) -> dict[str, str]:
    """Return algorithm → lower-case hex of a URL fragment such as ``sha256=…&subdirectory=x`` (PEP 503, 610)."""
    digests: dict[str, str] = {}
    for part in fragment.split("&"):
        algorithm, _, value = part.partition("=")
        if algorithm.lower() in (*STRONG, *_WEAK) and value:
            digests[algorithm.lower()] = value.lower()
    return digests


def malformed_digest(fragment: str) -> str | None:
    """Return the part of a fragment that names an algorithm and has no digest of its length."""
    for part in fragment.split("&"):
        algorithm, _, value = part.partition("=")
        name = re.match(r"[a-z0-9_]*", algorithm.lower())[0]  # type: ignore[index]  # it matches the empty string
        if name in (*STRONG, *_WEAK) and (name != algorithm.lower() or not _is_digest(name, value)):
            return part
    return None


def is_strong(digests: Mapping[str, str]) -> bool:
    """Whether one of *digests* holds content to one meaning."""
    return any(name in STRONG for name in digests)


def parse_sha256(text: str) -> str:
    """Return the 64 hex digits of *text*, which may carry ``sha256:`` or ``sha256=`` in front.

    Raises UsageError for anything else.
    """
    digits = text.strip().lower().removeprefix("sha256").lstrip(":=")
    if not _is_digest("sha256", digits):
        raise UsageError(message=f"sha256={text!r} is not a SHA-256 digest", way_out="Give its 64 hex digits.")
    return digits


def known_digests(digests: Mapping[str, str]) -> dict[str, str]:
    """Return the digests whose algorithm this interpreter can compute."""
    return {name: value.lower() for name, value in digests.items() if name in (*STRONG, *_WEAK)}


def stated_digests(stated: Mapping[Any, Any]) -> dict[str, str]:
    """Return the digests of an index, which may say anything: those that can be computed, each of its length in hex.

    Raises ValueError for one that can't be right: the names of files in the store are made of them.
    """
    found = {}
    for name, value in stated.items():
        if name not in (*STRONG, *_WEAK):
            continue
        if not isinstance(value, str) or not _is_digest(name, value):
            raise ValueError(f"its {name} is {str(value)[:20]!r}, which is no such digest")
        found[name] = value.lower()
    return found


def _is_digest(name: str, value: str) -> bool:
    digits = value.lower()
    return len(digits) == 2 * hashlib.new(name, usedforsecurity=False).digest_size and set(digits) <= _HEX


def check_digests(data: bytes | memoryview, digests: Mapping[str, str], *, subject: str, stated_by: str) -> None:
    """Raise DigestMismatch unless *data* has every one of *digests* that can be computed."""
    hasher = Hasher(known_digests(digests))
    for chunk in pieces(data):
        hasher.update(chunk)
    hasher.check(digests, subject=subject, stated_by=stated_by)


class Hasher:
    """Hash a stream with SHA-256 and with every algorithm somebody stated a digest of."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        names = dict.fromkeys(("sha256", *known_digests(dict.fromkeys(algorithms, ""))))
        self._hashes = {name: hashlib.new(name, usedforsecurity=name in STRONG) for name in names}

    def update(self, chunk: bytes | memoryview) -> None:
        """Add *chunk* to every hash."""
        for each in self._hashes.values():
            each.update(chunk)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was added, in hex."""
        return self._hashes["sha256"].hexdigest()

    def check(self, digests: Mapping[str, str], *, subject: str, stated_by: str) -> None:
        """Raise DigestMismatch unless every one of *digests* holds."""
        for algorithm, expected in known_digests(digests).items():
            actual = self._hashes[algorithm].hexdigest()
            if actual != expected:
                raise DigestMismatch(
                    subject=subject,
                    stated_by=stated_by,
                    expected=f"{algorithm}:{expected}",
                    actual=f"{algorithm}:{actual}",
                )
