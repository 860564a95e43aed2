"""Child processes of the same interpreter see the mounts of their parent.

While there are mounts, PYTHONPATH starts with the folder `bootstrap`, whose sitecustomize mounts them in the child, and
REMOTE_WHEEL_CHILD says what. Both are in `os.environ`, so whatever way a child is started hands them on. Set
REMOTE_WHEEL_CHILDREN=0 to leave children alone. Processes without mounts see and pay nothing.
"""

import _imp
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from typing import Final

    from remote_wheel.mounts.finder import Root

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

VARIABLE: "Final" = "REMOTE_WHEEL_CHILD"
ROOM: "Final" = "children"  # of the store: what has no room in a variable
_HERE: "Final" = os.path.dirname(os.path.abspath(__file__))
_MUCH: "Final" = 8 * 1024  # Windows has 32 KiB for all variables, Linux 128 KiB for one
_BOOTSTRAP: "Final" = os.path.join(_HERE, "bootstrap")
_OFF: "Final" = frozenset(("0", "false", "no", "off"))


def export(roots: "Sequence[Root]") -> None:
    """Have child processes mount *roots*, given in their order on sys.path; none of them: take it all back."""
    environ = os.environ
    if not roots or environ.get("REMOTE_WHEEL_CHILDREN", "").strip().lower() in _OFF:
        take_back(environ)
    else:
        give(environ, roots)


def give(environ: "MutableMapping[str, str]", roots: "Sequence[Root]") -> None:
    """Have a child process with *environ* mount *roots*: the variable says which or, of many, names a file that does.

    Where such a file can't be written, the child mounts nothing.
    """
    facts = marshal.dumps([root.facts for root in roots if root.image.is_file])
    mounts: "str | None" = f"+{facts.hex()}"
    if 2 * len(facts) > _MUCH:
        import binascii
        import zlib

        packed = zlib.compress(facts, 9)
        mounts = f"={binascii.b2a_base64(packed, newline=False).decode()}"
        if len(mounts) > _MUCH:
            mounts = _kept(packed, roots)
    if mounts is None:
        take_back(environ)
        return
    parent = os.path.dirname(os.path.dirname(_HERE))
    environ[VARIABLE] = os.pathsep.join((parent, sys.prefix, str(sys.hexversion), mounts))
    path = environ.get("PYTHONPATH")
    if path is None:
        environ["PYTHONPATH"] = _BOOTSTRAP
    elif path.partition(os.pathsep)[0] != _BOOTSTRAP:
        environ["PYTHONPATH"] = f"{_BOOTSTRAP}{os.pathsep}{path}" if path else _BOOTSTRAP


def _kept(packed: bytes, roots: "Sequence[Root]") -> "str | None":
    """Keep what is to be mounted in a file of the store, named by its content; return what says so, or None."""
    image = next(root.image.path for root in roots if root.image.is_file)  # <store>/images/<interpreter>/<key>.zip
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(image))), ROOM)
    name = "".join(_imp.source_hash(key, packed).hex() for key in (1, 2))
    path, staging = os.path.join(folder, name), os.path.join(folder, f".{name}.{os.getpid()}.{os.urandom(8).hex()}.tmp")
    try:
        if os.path.isfile(path):
            os.utime(path)  # it is in use again
            return f"@{name}{os.pathsep}{path}"
        os.makedirs(folder, 0o700, exist_ok=True)
        descriptor = os.open(staging, _NEW, 0o600)
        try:
            rest = memoryview(packed)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        finally:
            os.close(descriptor)
        os.replace(staging, path)
    except OSError:
        return None
    return f"@{name}{os.pathsep}{path}"


def take_back(environ: "MutableMapping[str, str]") -> None:
    """Have a child process with *environ* mount nothing."""
    if environ.pop(VARIABLE, None) is None:
        return
    rest = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry != _BOOTSTRAP]
    if any(rest):
        environ["PYTHONPATH"] = os.pathsep.join(rest)
    else:
        environ.pop("PYTHONPATH", None)


def mount_as_parent(mounts: str) -> None:
    """Mount what *mounts* (the last part of the variable) says; a mount whose image is gone is left out."""
    from remote_wheel.mounts import registry
    from remote_wheel.mounts.image import DamagedImage

    kind, said = mounts[:1], mounts[1:]
    if kind == "+":
        facts = bytes.fromhex(said)
    elif kind in ("=", "@"):
        import zlib

        facts = zlib.decompress(_packed(kind, said))
    else:  # another version's, which was replaced since the parent was started
        return
    for entry in reversed(marshal.loads(facts)):  # noqa: S302  # our parent's
        try:
            registry.add([entry])
        except DamagedImage:
            continue


def _packed(kind: str, said: str) -> bytes:
    """Return what a variable holds or names. Raises OSError for a file that is gone, or not what it was."""
    if kind == "=":
        import binascii

        return binascii.a2b_base64(said)
    name, _, path = said.partition(os.pathsep)
    from remote_wheel.mounts.image import READ

    with os.fdopen(os.open(path, READ), "rb") as file:
        packed = file.read()
    if "".join(_imp.source_hash(key, packed).hex() for key in (1, 2)) != name:
        raise OSError(f"{path} is not what it was")
    return packed
