"""The cold path: from a request to a plan, verified archives, images and a boot record.

Runs in the helper process by default, in the caller's where there can be none; see api.cold.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.utils import NormalizedName

from remote_wheel.api.archives import Archives
from remote_wheel.api.catalog import IndexCatalog, Progress
from remote_wheel.api.indexes import find_indexes
from remote_wheel.api.inputs import Inputs
from remote_wheel.api.planning import Planner, pin_of
from remote_wheel.api.preparation import Preparation
from remote_wheel.errors import UsageError
from remote_wheel.fetch.client import Client
from remote_wheel.index.candidates import Listing
from remote_wheel.index.target import target_elsewhere, target_of_this_machine
from remote_wheel.mounts import boot
from remote_wheel.prepare.modules import choose_module, find_modules
from remote_wheel.resolution.plan import Pin, Plan, plan_from_json, plan_to_json
from remote_wheel.resolution.pylock import dump_pylock, parse_pylock
from remote_wheel.settings import merge_settings
from remote_wheel.spec.source import Source, redact, without_secrets
from remote_wheel.store.cache import Store
from remote_wheel.verify.wheel import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it crosses to the helper: JSON values only.

    `action` says what `subjects` are: requirements and sources (require), one source (mount), a plan as JSON (plan), or
    a lock file's text, its name and its folder (lock). `options` are as the user gave them. `search_path` is the
    caller's sys.path without mounts, `preferred` what it has mounted. `key` is the name of the boot record to write;
    without one, only the plan is made. With `lock_folder`, the plan is returned as a lock file for that folder, too.
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


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Carry out *request*; return {"plan": …} and leave its boot record in the store, if it has a key.

    With a lock folder, {"lock": …} is the text of the lock file. Raises RemoteWheelError.
    """
    return _Run(request, progress).carry_out()


class _Run:
    """The parts of one request, joined."""

    def __init__(self, request: Request, progress: Progress) -> None:
        options = {name: value for name, value in request.options.items() if name not in _OWN_OPTIONS}
        self._request, self._progress = request, progress
        self._inputs = Inputs(request.subjects if request.action == "require" else (), os.environ)
        self._settings = settings = merge_settings(_merged(options, self._inputs.options), os.environ)
        self._store = Store(Path(request.cache), boot.STORE_VERSION)
        self._client = Client(
            settings.limits,
            is_offline=settings.offline,
            insecure_hosts=settings.allow_insecure,
            client_cert=settings.client_cert or os.environ.get("SSL_CLIENT_CERT", ""),
        )
        self._indexes = find_indexes(settings, self._client, os.environ)
        self._archives = Archives(self._settings, self._store, self._client)
        here = target_of_this_machine()
        elsewhere = {name: str(request.options[name]) for name in _TARGET_OPTIONS if request.options.get(name)}
        self._target = target_elsewhere(here, **elsewhere) if elsewhere else here
        if elsewhere:  # what is installed here is not installed there
            self._settings = settings = replace(settings, prefer_installed=False)
        self._preparation = Preparation(
            self._settings, self._store, progress, optimize=request.optimize, rebuild=request.rebuild
        )
        preferred = {NormalizedName(name): version for name, version in request.preferred}
        self._wishes = self._inputs.wishes(settings, self._target, preferred)
        self._planner = Planner(settings, self._archives, self._target, self._catalog, self._wishes)

    def carry_out(self) -> dict[str, Any]:
        if not self._request.key:
            plan = self._plan()
            locked = {"lock": self._lock(plan)} if self._request.lock_folder else {}
            return {"plan": plan_to_json(self._public(plan)), **locked}
        path = boot.record_path(self._request.cache, self._request.key)
        with self._store.lock(f"record {self._request.key}"):
            now_s = 0.0 if self._settings.offline else time.time()
            # Another process or thread may have made the same record while this one waited for the lock.
            made = None if self._settings.refresh or self._request.rebuild else boot.read_record(path, now_s=now_s)
            if made is None:
                made = self._make_record()
                self._store.write_record(self._request.key, boot.dump_record(made))
        return {"plan": json.loads(made["plan"])}

    def _plan(self) -> Plan:
        action, subjects = self._request.action, self._request.subjects
        if action == "require":
            return self._planner.plan_requirements(self._inputs.requirements, self._inputs.of_files)
        if action == "mount":
            return self._planner.plan_source(subjects[0], self._request.options)
        if action == "plan":
            return self._planner.plan_locked(plan_from_json(json.loads(subjects[0]), Plan))
        text, shown, folder = subjects
        plan = parse_pylock(text, self._target, shown=shown, locate=lambda path: os.path.join(folder, path))
        return self._planner.plan_locked(plan)

    def _catalog(
        self, pool: ThreadPoolExecutor, direct: Mapping[NormalizedName, Listing], installed_only: bool
    ) -> IndexCatalog:
        return IndexCatalog(
            self._settings,
            self._store,
            self._client,
            self._target,
            self._archives,
            pool,
            self._progress,
            indexes=self._indexes,
            filters=self._wishes.filter_of,
            direct=direct,
            search_path=self._request.search_path,
            installed_only=installed_only,
        )

    # --- boot records ------------------------------------------------------------------------------------------------

    def _make_record(self) -> dict[str, Any]:
        plan = self._plan()
        wanted = [pin for pin in plan.pins if not pin.installed_at]
        with ThreadPoolExecutor(self._settings.limits.parallel_requests) as pool:
            entries = dict(zip((pin.key for pin in wanted), pool.map(self._prepare, wanted), strict=True))
        watched = [path for entry in entries.values() for path in dict.fromkeys((entry["image"], entry["root"]))]
        watched += [pin.installed_at for pin in plan.pins if pin.installed_at]
        for path in (*self._planner.local_files, *self._inputs.files):
            watched.append(os.path.join(os.path.abspath(path), "") if path.endswith(os.sep) else os.path.abspath(path))
        named = [next(pin for pin in plan.pins if pin.key == key) for key in self._planner.subjects]
        return {
            "fresh_until_s": min(self._planner.fresh_until_s, self._archives.fresh_until_s),
            "files": [(path, boot.file_token(path)) for path in watched],
            "mounts": list(entries.values()),
            "subjects": [
                {"name": pin.name, "version": pin.version, "choices": _choices(pin, entries)} for pin in named
            ],
            "scripts": _scripts(plan, entries),
            "plan": json.dumps(plan_to_json(self._public(plan))),
        }

    def _prepare(self, pin: Pin) -> dict[str, Any]:
        """Return the boot record's entry of *pin*."""
        acquired = self._planner.acquired(pin)
        verified = acquired.verified if acquired else None
        metadata = verified.metadata if verified else None
        entry = self._preparation.entry(
            NormalizedName(pin.name),
            str(metadata.version) if metadata else pin.version,
            sha256=verified.sha256 if verified else pin.digests.get("sha256"),
            planned_metadata=self._planner.planned_metadata.get(pin.url),
            variant=_variant(acquired.source) if acquired else "",
            verified=lambda: verified or self._fetch(pin),
        )
        source = redact(pin.source) if "://" in pin.source else pin.source
        return {**entry, "source": source, "index": pin.index, "commit": pin.commit, "wanted_by": pin.wanted_by}

    def _fetch(self, pin: Pin) -> Verified:
        planned = self._planner.planned_metadata.get(pin.url)
        return self._archives.wheel(
            pin.filename,
            pin.url if "://" in pin.url else Path(pin.url).absolute().as_uri(),
            pin.digests,
            metadata_digests={"sha256": planned} if planned else None,
            received=lambda received: self._progress.downloading(pin.filename, received, pin.size_bytes),
            stated_by="the lock" if self._request.action == "lock" else "the index",
        )

    # --- locks -------------------------------------------------------------------------------------------------------

    def _lock(self, plan: Plan) -> str:
        """Return the text of the lock file for *plan*, wheels fetched whose index states no digest of theirs."""
        if installed := [str(pin) for pin in plan.pins if pin.installed_at]:
            raise UsageError(
                message=f"a lock names files, and this plan relies on what is installed: {', '.join(installed)}",
                way_out="Resolve with prefer_installed=False (--no-prefer-installed).",
            )
        whole = replace(plan, pins=tuple(self._with_digest(pin) for pin in plan.pins))
        folder = self._request.lock_folder
        return dump_pylock(self._public(whole), self._target, locate=lambda place: _relative(place, folder))

    def _with_digest(self, pin: Pin) -> Pin:
        if "sha256" in pin.digests:
            return pin
        if acquired := self._planner.acquired(pin):
            return replace(pin_of(acquired), needs=pin.needs, wanted_by=pin.wanted_by)
        return replace(pin, digests={"sha256": self._fetch(pin).sha256})

    def _public(self, plan: Plan) -> Plan:
        """Return the plan as it may be written down: file URLs of an index may be signed, and no file needs that.

        One that was read from a lock stood in a file already.
        """
        if self._request.action in ("lock", "plan"):
            return plan
        pins = (replace(p, url=without_secrets(p.url)) if "://" in p.url else p for p in plan.pins)
        return replace(plan, pins=tuple(pins))


def _relative(place: str, folder: str) -> str:
    """Return a local file's path as a lock in *folder* states it: relative where it can be, with slashes."""
    path = url2pathname(urlsplit(place).path) if place.startswith("file:") else place
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return Path(path).as_posix()


def _choices(pin: Pin, entries: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the modules that a pin may stand for."""
    if pin.installed_at:
        found = Distribution.at(pin.installed_at)
        choices = choose_module(pin.name, find_modules(str(path) for path in _files_of(found)))
        return choices or (pin.name.replace("-", "_"),)  # an editable one lists no modules
    return tuple(entries[pin.key]["choices"])


def _scripts(plan: Plan, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the console scripts by name, a requirement's own before a dependency's."""
    scripts: dict[str, str] = {}
    for pin in reversed(plan.pins):
        scripts.update(_installed_scripts(pin) if pin.installed_at else entries[pin.key]["scripts"])
    return scripts


_TARGET_OPTIONS = ("python_version", "platform")  # of resolve and lock
_OWN_OPTIONS = frozenset(("sha256", "subdirectory", "deps", "name", "hostkey", *_TARGET_OPTIONS))  # no part of Settings


def _installed_scripts(pin: Pin) -> dict[str, str]:
    found = Distribution.at(pin.installed_at).entry_points
    groups = ("console_scripts", "gui_scripts")
    return {each.name: each.value.partition("[")[0].strip() for each in found if each.group in groups}


def _files_of(distribution: Distribution) -> Iterator[str]:
    """Yield the files of an installed distribution, or its top-level names where it does not list its files."""
    files = distribution.files
    if files and not (isinstance(distribution, PathDistribution) and _is_editable(distribution)):
        yield from (path.as_posix() for path in files)
    else:
        yield from (f"{name}/__init__.py" for name in (distribution.read_text("top_level.txt") or "").split())


def _is_editable(distribution: PathDistribution) -> bool:
    return '"editable": true' in (distribution.read_text("direct_url.json") or "").replace('":true', '": true')


def _variant(source: Source) -> str:
    """Tell apart images of the same bytes: a module is named by its file, a tree may be one of a repository's."""
    version = source.repository.version if source.repository else ""
    tree = f"{source.subdirectory}@{version}" if version else source.subdirectory
    text = {"module": source.filename, "wheel": ""}.get(source.kind, tree)
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}" if text else ""


def _merged(arguments: Mapping[str, Any], of_files: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call with those of its requirements files: lists join, else the call's own count."""
    merged = {**of_files, **arguments}
    for name, value in of_files.items():
        if name in arguments and not isinstance(value, (str, bool)):
            merged[name] = [*arguments[name], *value]
    return merged
