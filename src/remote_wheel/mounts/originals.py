"""What was verified, for what is executed from the disk: unpacked sources and shared libraries are held to it.

Loaded where a token differs, where code is compiled again, or where an image is damaged: seldom. What has changed since
is replaced by what is in the archive, which is held to the same digest; where that is gone, it is an error.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from remote_wheel.mounts.finder import Root

from remote_wheel.mounts.image import READ
from remote_wheel.mounts.trees import token_of

_PIECE_BYTES = 1024 * 1024


def sha256(data: bytes = b"") -> "Any":
    """Return a SHA-256 of *data* that more can be added to; without hashlib, which is much to import."""
    for name in ("_sha2", "_sha256", "hashlib"):  # of Python 3.12 and later, of 3.11, and of all
        try:
            return __import__(name).sha256(data)
        except (ImportError, AttributeError):  # an interpreter that has OpenSSL's alone
            continue
    raise ImportError("this interpreter has no SHA-256")


def source_of(root: "Root", name: str) -> bytes:
    """Return the source of a module as it was verified, to be compiled. Raises StoreError where it can't be had."""
    if not root.is_unpacked:
        entry = root.image.members.get(name)
        blob = root.image.read(*entry) if entry and len(entry) == 3 else None
        if blob is not None:
            return bytes(blob)
    elif (digest := root.image.digests.get(name)) is not None:
        try:
            with os.fdopen(os.open(_place(root, name), READ), "rb") as file:
                data = file.read()
        except OSError:
            data = b""
        if sha256(data).digest() == digest:
            return data
    return restored(root, name)


def check_libraries(root: "Root") -> None:
    """Hold the shared libraries of a tree to what was verified: by the tokens that are noted, or their digests.

    Raises StoreError where one has changed and can't be replaced.
    """
    tokens = root.facts.get("tokens")
    if tokens is None:
        tokens = _noted_tokens(root)
    found: dict[str, tuple[int, ...]] = {}
    for name, digest in root.image.digests.items():
        if name.endswith(".py"):
            continue
        place = _place(root, name)
        try:
            found[name] = token_of(os.lstat(place))
        except OSError:  # it is gone
            found[name] = ()
        if found[name] != tokens.get(name, ()) or not found[name]:
            if _digest_of(place) != digest:
                restored(root, name)
            found[name] = token_of(os.lstat(place))
    root.facts["tokens"] = found


def _place(root: "Root", name: str) -> str:
    return os.path.join(root.path, *name.split("/"))


def _noted_tokens(root: "Root") -> "dict[str, tuple[int, ...]]":
    """Return the tokens that the process has noted which has unpacked the tree, none where they can't be read."""
    import json
    import zlib

    try:
        with os.fdopen(os.open(f"{root.path}.files", READ), "rb") as file:
            crc, _, body = file.read().partition(b"\n")
        if crc != b"%08x" % zlib.crc32(body):
            return {}
        return {path: tuple(token) for path, (_, _, token) in json.loads(body).items()}
    except (OSError, ValueError):
        return {}


def _digest_of(path: str) -> bytes:
    """Return the SHA-256 of a regular file, empty where there is none."""
    hasher = sha256()
    try:
        if os.path.islink(path):
            return b""
        with os.fdopen(os.open(path, READ), "rb", 0) as file:
            while chunk := file.read(_PIECE_BYTES):
                hasher.update(chunk)
    except OSError:
        return b""
    return bytes(hasher.digest())


def restored(root: "Root", name: str) -> bytes:
    """Return a file as it is in the archive, put in its place in a tree. Raises StoreError where that can't be."""
    data = _read_archived(root, name)
    if data is None or not _is_verified(root, name, data):
        root.image.distrust()  # so that the next process has all of it made again
        try:
            os.unlink(f"{root.path}.files")
        except OSError:  # it is no tree, or can't be written
            pass
        from remote_wheel.errors import StoreError

        raise StoreError(
            path=root.base + name,
            reason=f"it has changed since {root.facts['name'] or root.facts['filename']} was verified; start again",
        )
    if root.is_unpacked:
        _replace(_place(root, name), data)
    return data


def _is_verified(root: "Root", name: str, data: bytes) -> bool:
    digest = root.image.digests.get(name)
    if digest is not None:
        return bool(sha256(data).digest() == digest)
    import zlib

    entry = root.image.members.get(name)
    return entry is not None and zlib.crc32(data) == entry[2]


def _read_archived(root: "Root", name: str) -> "bytes | None":
    """Return a file of the archive in the store, None where it is not there; what is read is to be checked."""
    import zipfile

    store = os.path.dirname(os.path.dirname(os.path.dirname(root.image.path)))
    try:
        descriptor = os.open(os.path.join(store, "archives", root.facts["sha256"]), READ)
        with os.fdopen(descriptor, "rb") as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            endings = (f".data/purelib/{name}", f".data/platlib/{name}", f"/{name}")
            found = [each for each in names if each == name] or [each for each in names if each.endswith(endings)]
            return archive.read(found[0]) if len(found) == 1 else None
    except Exception:  # noqa: BLE001  # zipfile raises all kinds of errors for what is damaged
        return None


def _replace(path: str, data: bytes) -> None:
    """Put *data* into the place of a file, if that can be: whole or not at all."""
    staging = f"{path}.{os.getpid()}.{os.urandom(8).hex()}.tmp"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        mode = os.lstat(path).st_mode & 0o700
    except OSError:
        mode = 0o600
    try:
        with os.fdopen(os.open(staging, flags, mode | 0o600), "wb") as file:
            file.write(data)
        os.replace(staging, path)
    except OSError as error:
        try:
            os.unlink(staging)
        except OSError:  # it was not made
            pass
        from remote_wheel.errors import StoreError

        raise StoreError(path=path, reason=error.strerror or str(error)) from error
