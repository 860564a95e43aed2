"""Who else could change what is at a path: owners and modes, as OpenSSH's StrictModes looks at them (sshd_config(5)).

Code in the store runs as this user, so nobody else may be able to put something in its place: no folder above it
either. On Windows the profile's ACL says so.
"""

import os
import stat
from pathlib import Path
from typing import Final

from remote_wheel.errors import StoreError
from remote_wheel.mounts.boot import is_own_group

_MOST_LINKS: Final = 40
_OF_NOBODY_HERE: Final = 65534  # how a namespace of users shows the owner that it has no number for


def check_ours(path: Path, status: os.stat_result, *, is_file: bool = False) -> None:
    """Raise StoreError unless *status* is of what only this user can write."""
    if is_file and not stat.S_ISREG(status.st_mode):
        raise StoreError(path=str(path), reason="it is a link or no file")
    if os.name == "posix":
        if status.st_uid != os.geteuid():
            raise StoreError(path=str(path), reason=f"it belongs to user {status.st_uid}")
        if status.st_mode & 0o022:
            raise StoreError(path=str(path), reason=f"others can write it (mode {stat.S_IMODE(status.st_mode):04o})")


def check_way_to(path: Path) -> None:
    """Raise StoreError if others could put something else in the place of *path*, or of a folder or link above it.

    Folders may be root's. Others may write to one that lets them move only what is theirs (the sticky bit, as /tmp
    has), and so may a group that nobody else is in. Raises OSError for what is not there.
    """
    if os.name != "posix":
        return
    at, links = "/", 0
    rest = str(path.absolute()).split("/")[::-1]
    _check_folder(at, os.lstat(at))
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        here = os.path.join(at, part)
        status = os.lstat(here)
        if stat.S_ISLNK(status.st_mode):
            _check_owner(here, status)
            links += 1
            if links > _MOST_LINKS:
                raise StoreError(path=str(path), reason="too many links lead to it")
            target = os.readlink(here)
            at = "/" if target.startswith("/") else at
            rest += target.split("/")[::-1]
        elif part == "..":
            at = os.path.dirname(at)
        else:
            _check_folder(here, status)
            at = here


def _check_owner(path: str, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()) and not (status.st_uid == _OF_NOBODY_HERE and _lacks_root()):
        raise StoreError(path=path, reason=f"it belongs to user {status.st_uid}, who could put another in its place")


def _check_folder(path: str, status: os.stat_result) -> None:
    _check_owner(path, status)
    mode = status.st_mode
    is_others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not is_own_group(status.st_gid))
    if is_others and not mode & stat.S_ISVTX:
        reason = f"others can write it (mode {stat.S_IMODE(mode):04o}), and put another folder in the cache's place"
        raise StoreError(path=path, reason=reason)


def _lacks_root() -> bool:
    """Whether this is a namespace of users that the system's root has no number in (user_namespaces(7))."""
    try:
        with open("/proc/self/uid_map") as file:
            lines = [tuple(map(int, line.split())) for line in file]
    except (OSError, ValueError):
        return False
    return not any(outside == 0 and length > 1 for _, outside, length in lines)
