"""What crosses to the helper process."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

BUNDLED_FILES: Final = "files"  # the folder of a bundle that its wheels are in


class Request(NamedTuple):
    """One request as it crosses to the helper: JSON values only.

    `action` says what `subjects` are: requirements and sources (require), one source (mount), a plan as JSON (plan), or
    a lock file's text, its name and its folder (lock). `options` are as the user gave them. `search_path` is the
    caller's sys.path without mounts, `preferred` what it has mounted. `key` is the name of the boot record to write;
    without one, only the plan is made, and the answer kept under `answer_key`, if there is one. With `lock_folder`, the
    plan is returned as a lock file for that folder, too; if it `bundles`, for one that has the wheels in it.
    """

    action: str
    subjects: tuple[str, ...]
    options: Mapping[str, Any]
    cache: str
    key: str
    search_path: tuple[str, ...]
    preferred: tuple[tuple[str, str], ...] = ()
    optimize: int = 0
    rebuild: bool = False  # what the boot record names turned out to be damaged: make it again
    lock_folder: str = ""
    bundles: bool = False  # the answer is to say where the plan's wheels are in the store
    answer_key: str = ""
    hints: tuple[str, ...] = ()  # names among which are those of the modules that the caller will import first
    must_be_kept: bool = False  # it is made for later: where nothing can be kept, it fails
    may_be_lean: bool = False  # images without code will do for the first import, if they are finished behind it
