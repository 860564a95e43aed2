"""Child processes of the same interpreter see the mounts of their parent.

While there are mounts, PYTHONPATH starts with the folder `bootstrap`, whose sitecustomize mounts them in the child, and
REMOTE_WHEEL_CHILD says what. Both are in `os.environ`, so whatever way a child is started hands them on. Set
REMOTE_WHEEL_CHILDREN=0 to leave children alone. Processes without mounts see and pay nothing.
"""

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from typing import Final

    from remote_wheel.mounts.finder import Root

VARIABLE: "Final" = "REMOTE_WHEEL_CHILD"
_HERE: "Final" = os.path.dirname(os.path.abspath(__file__))
_MUCH: "Final" = 16 * 1024
_BOOTSTRAP: "Final" = os.path.join(_HERE, "bootstrap")


def export(roots: "Sequence[Root]") -> None:
    """Have child processes mount *roots*, given in their order on sys.path; none of them: take it all back."""
    environ = os.environ
    if not roots or environ.get("REMOTE_WHEEL_CHILDREN", "1") == "0":
        take_back(environ)
    else:
        give(environ, roots)


def give(environ: "MutableMapping[str, str]", roots: "Sequence[Root]") -> None:
    """Have a child process with *environ* mount *roots*."""
    facts = marshal.dumps([root.facts for root in roots if root.image.is_file])
    mounts = f"+{facts.hex()}"
    if len(mounts) > _MUCH:  # a variable has room for 128 KiB on Linux, for 32 on Windows
        import binascii
        import zlib

        mounts = f"={binascii.b2a_base64(zlib.compress(facts, 9), newline=False).decode()}"
    parent = os.path.dirname(os.path.dirname(_HERE))
    environ[VARIABLE] = os.pathsep.join((parent, sys.prefix, str(sys.hexversion), mounts))
    path = environ.get("PYTHONPATH")
    if path is None:
        environ["PYTHONPATH"] = _BOOTSTRAP
    elif path.partition(os.pathsep)[0] != _BOOTSTRAP:
        environ["PYTHONPATH"] = f"{_BOOTSTRAP}{os.pathsep}{path}" if path else _BOOTSTRAP


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

    if mounts.startswith("="):
        import binascii
        import zlib

        facts = zlib.decompress(binascii.a2b_base64(mounts[1:]))
    elif mounts.startswith("+"):
        facts = bytes.fromhex(mounts[1:])
    else:  # another version's, which was replaced since the parent was started
        return
    for entry in reversed(marshal.loads(facts)):  # noqa: S302  # our parent's
        try:
            registry.add([entry])
        except (OSError, DamagedImage):
            continue
