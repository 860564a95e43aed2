"""From a plan to the boot record that a warm start finds: wheels fetched, verified, prepared, and all it rests on."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from packaging.utils import NormalizedName

from remote_wheel.api.archives import Acquired
from remote_wheel.api.catalog import Progress
from remote_wheel.api.installed import modules_of, scripts_of
from remote_wheel.api.planning import Planner
from remote_wheel.api.preparation import Preparation, Publisher
from remote_wheel.api.request import Request
from remote_wheel.errors import UnsafeArchive
from remote_wheel.mounts import boot
from remote_wheel.prepare.ownership import settle
from remote_wheel.resolution.plan import Pin, Plan, plan_to_json
from remote_wheel.settings import Settings
from remote_wheel.spec.source import Source, redact
from remote_wheel.store.cache import Store
from remote_wheel.verify.wheel import Verified

_LEAN_S: Final = 60.0
_SETTLED: Final = (
    "tops",
    "shadows",
    "hidden",
    "protected",
    "choices",
    "ignored",
)  # of an entry, by the others beside it
_LENIENT: Final = "-names"  # nothing that was made of what RECORD may be wrong about is found by who wants it right


class Recorder:
    """Makes the boot record of one request. *fetch* gets the wheel of a pin that no source stands behind."""

    def __init__(
        self,
        request: Request,
        settings: Settings,
        store: Store,
        progress: Progress,
        *,
        planner: Planner,
        fetch: Callable[[Pin], Verified],
    ) -> None:
        self._preparation = Preparation(
            settings,
            store,
            progress,
            optimize=request.optimize,
            rebuild=request.rebuild,
            may_be_lean=request.may_be_lean,
        )
        self._threads, self._allow_shadow = settings.limits.parallel_requests, settings.allow_shadow
        self._is_lenient = settings.verify == "names"
        self._planner, self._fetch = planner, fetch
        self._limits, self._lock = settings.limits, threading.Lock()
        self._unpacked: dict[str, int] = {}  # by digest: bytes

    def record(self, plan: Plan, shown: Plan, *, fresh_until_s: float, files: Sequence[str]) -> dict[str, Any]:
        """Return the record of *plan*, which *shown* stands for where others may read it; *files* were read for it."""
        wanted = [pin for pin in plan.pins if not pin.installed_at]
        with ThreadPoolExecutor(self._threads) as pool:
            entries = dict(zip((pin.key for pin in wanted), pool.map(self._prepare, wanted), strict=True))
        installed = {
            module: pin.name
            for pin in plan.pins
            if pin.installed_at
            for module in modules_of(pin.name, pin.installed_at)
        }
        odd = [
            f"{entry['name']} {entry['version']}: {text}" for entry in entries.values() for text in entry["oddities"]
        ]
        odd += settle(list(entries.values()), self._allow_shadow, installed)
        for pin in wanted:
            entries[pin.key] = self._without_unused(pin, entries[pin.key])
        shown = replace(shown, notes=(*shown.notes, *odd))
        watched = [path for entry in entries.values() for path in _paths_of(entry)]
        watched += [pin.installed_at for pin in plan.pins if pin.installed_at]
        watched += files
        is_lean = any(entry["is_lean"] for entry in entries.values())
        named = [next(pin for pin in plan.pins if pin.key == key) for key in self._planner.subjects]
        return {
            # Who finishes it may die of it, so that what is lean is looked at again soon.
            "fresh_until_s": min(fresh_until_s, time.time() + _LEAN_S) if is_lean else fresh_until_s,
            "is_lean": is_lean,
            "files": boot.tokens_of(watched),
            "mounts": list(entries.values()),
            "subjects": [
                {"name": pin.name, "version": pin.version, "choices": _choices(pin, entries)} for pin in named
            ],
            "scripts": _scripts(plan, entries),
            "plan": json.dumps(plan_to_json(shown)),
        }

    def finish(self, record: Mapping[str, Any], fresh_until_s: float) -> dict[str, Any]:
        """Make the lean images of *record* whole and return the record that has these."""
        mounts = [self._preparation.finish(entry) for entry in record["mounts"]]
        for entry, lean in zip(mounts, record["mounts"], strict=True):  # whose modules are whose was settled before
            entry |= {name: lean[name] for name in _SETTLED if name in lean}
        lean = {path for entry in record["mounts"] for path in _paths_of(entry)}
        files = boot.tokens_of([path for entry in mounts for path in _paths_of(entry)])
        files += [(path, token) for path, token in record["files"] if path not in lean]
        is_lean = any(entry["is_lean"] for entry in mounts)
        until_s = min(fresh_until_s, record["fresh_until_s"]) if is_lean else fresh_until_s
        return {**record, "fresh_until_s": until_s, "is_lean": is_lean, "mounts": mounts, "files": files}

    def publish(self, pin: Pin) -> Publisher | None:
        """Prepare *pin*; return what compiles its modules ahead of their import, None where they are compiled."""
        acquired = self._planner.acquired(pin)
        archive = acquired.verified if acquired else self._fetch(pin)
        return self._preparation.published(archive, self._enter(pin, acquired, archive))

    def trust(self, planned_metadata: Mapping[str, str]) -> None:
        """Take over what another process planned with."""
        self._planner.planned_metadata = planned_metadata

    def _prepare(self, pin: Pin) -> dict[str, Any]:
        """Return the boot record's entry of *pin*."""
        acquired = self._planner.acquired(pin)
        return self._enter(pin, acquired, acquired.verified if acquired else None)

    def _without_unused(self, pin: Pin, entry: dict[str, Any]) -> dict[str, Any]:
        """Return the *entry* with an image and tree that lack the modules which are not used: nobody may import them.

        Child processes can do so by other ways than our finder.
        """
        shadows = entry.get("shadows", ())
        unused = {*entry.get("hidden", ()), *(name for name in entry["protected"] if name not in shadows)}
        if not unused:
            return entry
        acquired = self._planner.acquired(pin)
        verified = acquired.verified if acquired else None
        made = self._enter(pin, acquired, verified, without=tuple(sorted(unused)))
        return {**made, **{name: entry[name] for name in _SETTLED if name in entry}}

    def _counted(self, verified: Verified) -> Verified:
        """Return what is about to be prepared; raise UnsafeArchive where all of the plan is too much."""
        most = self._limits.plan_bytes
        with self._lock:
            self._unpacked[verified.sha256] = verified.archive.unpacked_bytes if verified.archive else 0
            if sum(self._unpacked.values()) > most:
                rule = f"with the other archives of the plan it unpacks to more than {most} bytes"
                raise UnsafeArchive(subject=verified.filename, member="", rule=rule)
        return verified

    def _enter(
        self, pin: Pin, acquired: Acquired | None, verified: Verified | None, without: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        metadata = verified.metadata if verified else None
        entry = self._preparation.entry(
            NormalizedName(pin.name),
            str(metadata.version) if metadata else pin.version,
            sha256=verified.sha256 if verified else pin.digests.get("sha256"),
            planned_metadata=self._planner.planned_metadata.get(pin.url),
            variant=(_variant(acquired.source) if acquired else "") + _LENIENT * self._is_lenient,
            verified=lambda: self._counted(verified or self._fetch(pin)),
            without=without,
        )
        source = redact(pin.source) if "://" in pin.source else pin.source
        return {**entry, "source": source, "index": pin.index, "commit": pin.commit, "wanted_by": pin.wanted_by}


def _paths_of(entry: Mapping[str, Any]) -> Iterable[str]:
    """Return the files and folders that a record's entry rests on; one that is still to be unpacked rests on none."""
    tree = () if entry["is_packed"] else (entry["root"],)
    # What others read of a tree by themselves, to find distributions and programs: it is as it was unpacked.
    info = [os.path.join(root, entry["dist_info"], name) for root in tree for name in ("METADATA", "entry_points.txt")]
    return dict.fromkeys((entry["image"], *tree, *(path for path in info if os.path.isfile(path))))


def _choices(pin: Pin, entries: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the modules that a pin may stand for."""
    return modules_of(pin.name, pin.installed_at) if pin.installed_at else tuple(entries[pin.key]["choices"])


def _scripts(plan: Plan, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the console scripts by name, a requirement's own before a dependency's."""
    scripts: dict[str, str] = {}
    for pin in reversed(plan.pins):
        scripts.update(scripts_of(pin.installed_at) if pin.installed_at else entries[pin.key]["scripts"])
    return scripts


def _variant(source: Source) -> str:
    """Tell apart images of the same bytes: a module is named by its file, a tree may be one of a repository's."""
    version = source.repository.version if source.repository else ""
    tree = f"{source.subdirectory}@{version}" if version else source.subdirectory
    text = {"module": source.filename, "wheel": ""}.get(source.kind, tree)
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}" if text else ""
