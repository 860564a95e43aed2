"""Boot records: what one request came to, small enough to read before anything else is loaded.

A record is found by a key of everything that decides the answer (the request, the options, the environment, the
interpreter). It says what to mount and until when, and on what else that rests: installed distributions, local
files. docs/decisions/0003-boot-records.md has the reasons.
"""

import _imp
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Final

from remote_wheel.mounts.image import READ, checksum, is_later_or_earlier

STORE_VERSION: "Final" = "v1"  # the folder name of docs/reference/store.md; a new layout gets a new name
_MAGIC: "Final" = b"RWB4"  # part of each key, too: a record of another form is never met
_KEYS: "Final" = (0x72656D6F, 0x77686565)  # two siphashes side by side make 128 bits; each has to fit into 31
_USE_IS_NOTED_S: "Final" = 86_400.0
_INDEX_VARIABLES: "Final" = (
    "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE",
    "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "APPDATA", "PROGRAMDATA",  # where pip's files are
)  # fmt: skip
_ARCHIVES: "Final" = (".whl", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst")
_OF_FILES: "Final" = ("find_links", "constraints", "overrides", "client_cert")  # options that may name files
# They say where to look and how fresh an answer must be, not what the answer is.
_NOT_IN_KEY: "Final" = frozenset(("offline", "refresh", "no_cache", "cache_dir", "child", "children", "compile"))


def home_folder() -> str:
    """Return the user's home folder, "" for one that has neither HOME nor a name in the system's files."""
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) else ""


def absolute(path: str) -> str:
    """Return *path* made absolute; as it is where it is relative and the working folder was deleted."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def working_folder() -> str:
    """Return the working folder, "" where it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def cache_folder(named: "str | os.PathLike[str] | None" = None) -> str:
    """Return the cache folder: *named*, else REMOTE_WHEEL_CACHE_DIR, else the platform's place for caches."""
    folder = os.fspath(named) if named else os.environ.get("REMOTE_WHEEL_CACHE_DIR")
    if not folder:
        home = home_folder()
        if not home and not (sys.platform == "linux" and os.environ.get("XDG_CACHE_HOME")):
            from remote_wheel.errors import StoreError

            raise StoreError(path="~/.cache/remote_wheel", reason="this user has no home folder")
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
            folder = os.path.join(local, "remote_wheel", "Cache")
        elif sys.platform == "darwin":
            folder = os.path.join(home, "Library", "Caches", "remote_wheel")
        else:
            folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "remote_wheel")
    return absolute(folder)


def config_files() -> "list[str]":
    """Return the settings files that count, weakest first: the user's, then the project's.

    REMOTE_WHEEL_CONFIG_FILE names one instead of both (an empty one: none). The project's is the nearest pyproject.toml
    of the working folder or one above it. One that another user could have written does not count: it names the index.
    """
    return _config_files([])


def foreign_config_files() -> "list[tuple[str, str]]":
    """Return the settings files that do not count, with what is wrong with each."""
    foreign: "list[tuple[str, str]]" = []
    _config_files(foreign)
    return foreign


def _config_files(foreign: "list[tuple[str, str]]") -> "list[str]":
    named = os.environ.get("REMOTE_WHEEL_CONFIG_FILE")
    if named is not None:
        return [named] if named else []
    if sys.platform == "win32":
        folder = os.environ.get("APPDATA") or os.path.join(home_folder(), "AppData", "Roaming")
    else:
        folder = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home_folder(), ".config")
    own = os.path.join(folder, "remote_wheel", "config.toml")
    found = [own] if os.path.isabs(own) and _may_count(own, foreign) else []
    above, place = "", working_folder()
    while place != above:
        project = os.path.join(place, "pyproject.toml")
        if _may_count(project, foreign):
            return [*found, project]
        place, above = os.path.dirname(place), place
    return found


def _may_count(path: str, foreign: "list[tuple[str, str]]") -> bool:
    """Whether there is a file that only this user or root could have written; else *foreign* gets what is wrong."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    if status.st_mode & 0o170000 != 0o100000:
        return False
    geteuid = getattr(os, "geteuid", None)
    if geteuid is None:
        return True
    if status.st_uid not in (0, geteuid()):
        foreign.append((path, f"it belongs to user {status.st_uid}"))
        return False
    if status.st_mode & 0o002 or (status.st_mode & 0o020 and not is_own_group(status.st_gid)):
        foreign.append((path, f"others can write it (mode {status.st_mode & 0o7777:04o})"))
        return False
    return True


def is_own_group(number: int) -> bool:
    """Whether a group is this user's alone: it has the user's name, and nobody is in it but, may be, the user."""
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(number), pwd.getpwuid(os.geteuid())
    except KeyError:  # it has no name: nobody can say who is in it
        return False
    return (group.gr_name == user.pw_name or number == 0) and set(group.gr_mem) <= {user.pw_name, "root"}


def is_on(option: str, options: "Mapping[str, Any]") -> bool:
    """Whether a boolean option is given, as an argument or by its environment variable."""
    given = options.get(option)
    if given is None:
        given = os.environ.get(f"REMOTE_WHEEL_{option.upper()}", "").lower()
    return given not in (False, "", "0", "false", "no", "off", "auto")


def search_path() -> "list[str]":
    """Return sys.path as installed distributions are looked for: without the program's own folder in front."""
    program = os.path.dirname(absolute(sys.argv[0])) if sys.argv and sys.argv[0] else ""
    entries = [entry for entry in map(_as_text, sys.path) if entry is not None]
    is_program = bool(entries) and not sys.flags.safe_path and entries[0] in ("", program)
    return entries[1:] if is_program else entries


def _as_text(entry: "object") -> "str | None":
    return entry if isinstance(entry, str) else None  # some programs put Path objects there; import ignores them


def record_key(
    action: str,
    subjects: "Sequence[str]",
    options: "Mapping[str, Any]",
    *,
    cache: str,
    path: "Sequence[str]" = (),
    preferred: "Sequence[tuple[str, str]]" = (),
) -> str:
    """Return the name of the request's record in *cache*: 32 hex digits. Nothing of the request can be read from it.

    *path* is search_path() without mounts, *preferred* the (name, version) of mounts that the plan should keep.
    """
    environ = os.environ
    named = sorted(
        (name, value)
        for name, value in environ.items()
        if name in _INDEX_VARIABLES or (name.startswith("REMOTE_WHEEL_") and name[13:].lower() not in _NOT_IN_KEY)
    )
    given = sorted(
        (name, repr(value)) for name, value in options.items() if name not in _NOT_IN_KEY and value is not None
    )
    uname = getattr(os, "uname", None)
    machine = uname() if uname else ("", "", "", "", environ.get("PROCESSOR_ARCHITECTURE", ""))
    confstr = getattr(os, "confstr_names", {})
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in confstr else ""
    interpreter = (sys.implementation.cache_tag, sys.hexversion, sys.platform, machine[0], machine[4], libc)
    flags = (sys.flags.optimize, sys.prefix, list(path))
    parts = (_MAGIC, cache, action, list(subjects), given, named, interpreter, flags, sorted(preferred))
    files = [(path, file_token(path)) for path in config_files()]
    data = repr((*parts, files, _folder_that_matters(action, subjects, given, named))).encode(
        "utf-8", "surrogateescape"
    )
    return "".join(_imp.source_hash(key, data).hex() for key in _KEYS)


def _folder_that_matters(action: str, subjects: "Sequence[str]", *named: "Sequence[tuple[str, str]]") -> str:
    """Return the working folder where a relative path means another thing elsewhere, "" where there is none."""
    indexes = [
        value for pairs in named for name, value in pairs if "index" in name.lower() and "strategy" not in name.lower()
    ]
    has_path = action == "mount" or (action == "require" and any(map(_may_be_path, subjects)))
    has_path = has_path or any(name.lower().endswith(_OF_FILES) for pairs in named for name, _ in pairs)
    if not has_path and all("://" in index for index in indexes):
        return ""
    return working_folder()  # nothing relative can be meant where it was deleted


def _may_be_path(subject: str) -> bool:
    """Whether a subject may be a relative path (spec.source.is_source has the rule); one too many does no harm."""
    has_folder = "/" in subject or "\\" in subject or subject[:3] == "-r "
    return "://" not in subject and (has_folder or subject.lower().endswith(_ARCHIVES))


def record_path(cache: str, key: str) -> str:
    """Return the record's path in the cache folder."""
    return os.path.join(cache, STORE_VERSION, "boot", key)


def dump_record(record: "dict[str, Any]") -> bytes:
    """Return the record's bytes: magic, checksum, marshalled dict."""
    data = marshal.dumps(record)
    return _MAGIC + checksum(data).to_bytes(4, "little") + data


def read_record(path: str, *, is_offline: bool = False, now_s: "float | None" = None) -> "dict[str, Any] | None":
    """Return the record at *path* if it is whole, ours and still true; None otherwise, which means: take the cold way.

    *now_s* (seconds since the epoch) leaves a record that is older than its freshness out; offline nothing is stale.
    """
    try:
        with os.fdopen(os.open(path, READ), "rb") as file:
            status = os.fstat(file.fileno())
            # Nobody else can have put there what is only ours where the folder and the version's are, too.
            room = os.path.dirname(path)
            if not (is_private(status) and is_private(os.stat(room)) and is_private(os.stat(os.path.dirname(room)))):
                return None
            data = file.read()
    except OSError:
        return None
    record = load_record(data)
    if record is None:
        return None
    if now_s is not None and not is_offline and now_s > record["fresh_until_s"]:
        return None
    tokens: list[tuple[str, Any]] = record["files"]
    if any(file_token(name) != token for name, token in tokens):
        return None
    if now_s is not None and now_s - status.st_mtime > _USE_IS_NOTED_S:
        try:
            os.utime(path)  # when it was last used, for who looks for what to remove
        except OSError:  # it can't be written, and so not be removed
            pass
    return record


def load_record(data: "bytes | memoryview") -> "dict[str, Any] | None":
    """Return the record that dump_record was given, None where *data* is not what it returned."""
    view = memoryview(data)
    if bytes(view[:4]) != _MAGIC or checksum(view[8:]) != int.from_bytes(view[4:8], "little"):
        return None
    record: dict[str, Any] = marshal.loads(view[8:])  # noqa: S302  # our own private file, or our helper's answer
    return record


def is_of_another_form(data: bytes) -> bool:
    """Whether *data* looks like the record of another version of this library."""
    return is_later_or_earlier(data[:4], _MAGIC)


def file_token(path: str) -> "tuple[int, ...] | None":
    """Return (bytes, modification time in ns, inode, change time in ns) of a file, None where there is none.

    A folder's is (); if its path ends in a separator, what it holds counts: (modification time, inode).
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    if path.endswith(os.sep):
        return status.st_mtime_ns, status.st_ino
    if status.st_mode & 0o170000 == 0o040000:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def tokens_of(paths: "Iterable[str]") -> "list[tuple[str, tuple[int, ...] | None]]":
    """Return each path, made absolute, with its token: what a record watches."""
    named = (absolute(path) + os.sep * path.endswith(os.sep) for path in paths)
    return [(path, file_token(path)) for path in dict.fromkeys(named)]


def is_private(status: "os.stat_result") -> bool:
    """Whether only this user could have written it; always on Windows, where the profile's ACL says so."""
    geteuid = getattr(os, "geteuid", None)
    if geteuid is None:
        return True
    return status.st_uid == geteuid() and not status.st_mode & 0o022
