"""What ``cache`` does."""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Final

from remote_wheel import api
from remote_wheel.api import upkeep
from remote_wheel.cli import output
from remote_wheel.errors import UsageError


def _dir(parsed: argparse.Namespace) -> int:
    output.artefact(api.cache_folder(parsed.cache_dir))
    return 0


def _upkeep(parsed: argparse.Namespace) -> upkeep.Upkeep:
    return upkeep.Upkeep(upkeep.open_store(api.cache_folder(parsed.cache_dir)))


def _size(parsed: argparse.Namespace) -> int:
    size_bytes = _upkeep(parsed).survey().size_bytes
    if parsed.json:
        output.json_artefact({"size_bytes": size_bytes})
    else:
        output.artefact(upkeep.shown_size(size_bytes))
    return 0


def _list(parsed: argparse.Namespace) -> int:
    survey, now_s = _upkeep(parsed).survey(), time.time()
    held = list(reversed(survey.held))
    if parsed.json:
        output.json_artefact(
            [
                {
                    "name": one.name,
                    "version": one.version,
                    "sha256": one.sha256,
                    "size_bytes": one.size_bytes,
                    "last_used_s": one.last_used_s,
                }
                for one in held
            ]
        )
        return 0
    rows = [
        (
            one.name or one.sha256[:12],
            one.version,
            upkeep.shown_size(one.size_bytes),
            upkeep.shown_age(now_s - one.last_used_s),
        )
        for one in held
    ]
    output.table_artefact(("project", "version", "size", "last used"), rows)
    return 0


def _verify(parsed: argparse.Namespace) -> int:
    keeper = _upkeep(parsed)
    damages = list(keeper.damages())
    for damage in damages:
        output.artefact(f"{damage.path}: {damage.reason}")
        if parsed.repair and not keeper.repair(damage):
            output.note(f"{damage.path} stays: a running process uses it")
    if not damages:
        output.note("all of it is what was written")
    elif parsed.repair:
        output.note(f"{_count(len(damages), 'damaged entry', 'damaged entries')} removed; made again when needed")
    else:
        output.note(f"{_count(len(damages), 'entry is', 'entries are')} damaged; --repair removes them")
    return 1 if damages and not parsed.repair else 0


def _prune(parsed: argparse.Namespace) -> int:
    if not parsed.older_than and not parsed.max_size:
        raise UsageError(message="prune what?", way_out="As in --older-than 30d, --max-size 2GB, or both.")
    removed = _upkeep(parsed).prune(
        older_than_s=upkeep.parse_age(parsed.older_than) if parsed.older_than else None,
        max_bytes=upkeep.parse_size(parsed.max_size) if parsed.max_size else None,
        now_s=time.time(),
    )
    _tell_removed(removed)
    return 0


def _clean(parsed: argparse.Namespace) -> int:
    _tell_removed(_upkeep(parsed).clean(parsed.projects or None, now_s=time.time()))
    return 0


def _tell_removed(removed: upkeep.Removed) -> None:
    output.note(
        f"{_count(len(removed.archives), 'distribution', 'distributions')} removed, "
        f"{upkeep.shown_size(removed.size_bytes)} freed"
    )
    for one in removed.in_use:
        output.note(f"kept {f'{one.name} {one.version}'.strip() or one.sha256[:12]}: a running process uses it")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "dir": _dir,
    "size": _size,
    "list": _list,
    "verify": _verify,
    "prune": _prune,
    "clean": _clean,
}
