"""The cold path: from a request to a plan, verified archives, images and a boot record.

Runs in the helper process by default, in the caller's where there can be none; see api.cold.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import NormalizedName, canonicalize_name

from remote_wheel.api.archives import Archives
from remote_wheel.api.catalog import IndexCatalog, Progress
from remote_wheel.api.early import Early, fetch_file, make_client
from remote_wheel.api.indexes import find_indexes
from remote_wheel.api.inputs import Inputs
from remote_wheel.api.pages import Pages
from remote_wheel.api.places import public_pin, relative_place
from remote_wheel.api.planning import Planner, pin_of
from remote_wheel.api.request import BUNDLED_FILES, Request
from remote_wheel.api.satisfied import check_binaries, check_satisfies
from remote_wheel.errors import InvalidSource, NetworkError, NotCached, StoreError, UsageError
from remote_wheel.index.listing import Listing, Release
from remote_wheel.index.target import Target, target_elsewhere, target_of_this_machine
from remote_wheel.mounts import boot
from remote_wheel.resolution.plan import Pin, Plan, plan_from_json, plan_to_json
from remote_wheel.settings import merge_settings, notes_of_foreign, overlaid, pip_config_files, read_config
from remote_wheel.spec.amounts import parse_budget
from remote_wheel.spec.cutoff import is_age
from remote_wheel.spec.requirement import parse_requirement
from remote_wheel.spec.source import is_source, parse_source, redact, split_extras
from remote_wheel.store.cache import Store
from remote_wheel.store.files import Disk
from remote_wheel.store.memory import Memory
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.wheel import Verified

if TYPE_CHECKING:
    from remote_wheel.api.ahead import Ahead, Inbox
    from remote_wheel.api.records import Recorder
    from remote_wheel.spec.script import Script

_EARLY_BYTES: Final = 32 * 1024 * 1024  # what is fetched before it is known to be wanted is smaller
_EARLY_THREADS: Final = 4
_AUTO_CONNECT_S: Final = 3.0


def run(request: Request, progress: Progress, begun: Early | None = None) -> dict[str, Any]:
    """Carry out *request*; return {"plan": …} and leave its boot record in the store, if it has a key.

    With a lock folder, {"lock": …} is the text of the lock file. Where nothing can be kept, or is to be, the record and
    the images that the store has not are bytes under "blobs", by path. *begun* is what was begun before this module was
    imported. Raises RemoteWheelError.
    """
    if boot.is_on("no_cache", request.options):
        reason = "nothing is written, as you asked (no_cache)"
        return _carry_out(request._replace(may_be_lean=True), progress, Memory(reads=False, reason=reason))
    try:
        return _carry_out(request, progress, Disk(), begun)
    except StoreError as error:
        if not error.is_unwritable or request.must_be_kept:
            raise
        # What can't be kept can be used all the same, from memory.
        files = Memory(reads=True, reason=error.reason)
        answer = _carry_out(request._replace(may_be_lean=True), progress, files)
        answer["plan"]["notes"].append(f"nothing is kept in the cache: {error}")
        return answer


def _carry_out(request: Request, progress: Progress, files: Disk, begun: Early | None = None) -> dict[str, Any]:
    run = _Run(request, progress, files, begun)
    try:
        return run.carry_out()
    except NetworkError as error:
        if not run.goes_offline:
            raise
        try:
            answer = _carry_out(request._replace(options={**request.options, "offline": True}), progress, files)
        except NotCached:
            raise error from None  # what is missing could be had if that were not
        answer["plan"]["notes"].append(f"the cache alone was used: {error}")
        return answer
    finally:
        run.close()


class _Run:
    """The parts of one request, joined. What it makes goes to *files*."""

    def __init__(self, request: Request, progress: Progress, files: Disk, begun: Early | None) -> None:
        started_s = time.time()
        options = {name: value for name, value in request.options.items() if name not in _OWN_OPTIONS}
        self._request, self._progress = request, progress
        here = target_of_this_machine()
        elsewhere: dict[str, Any] = {
            name: str(request.options[name]) for name in _TARGET_OPTIONS if request.options.get(name)
        }
        self._elsewhere = elsewhere
        self._target = target_elsewhere(here, **elsewhere) if elsewhere else here
        self._script = _script_of(request.subjects, self._target) if request.action == "script" else None
        required = {"require": request.subjects, "script": request.subjects[2:]}.get(request.action, ())
        config = overlaid(read_config(boot.config_files()), self._script.options if self._script else {})

        def fetch(url: str) -> bytes:  # before the files' own options are known
            return fetch_file(url, merge_settings(options, os.environ, config))

        required = (*(self._script.requirements if self._script else ()), *required)
        self._inputs = Inputs(required, os.environ, fetch)
        settings = merge_settings(_merged(options, self._inputs.options), os.environ, config)
        parse_budget(settings.max_cache_size)  # what only the work behind an import uses, and nobody would hear of
        self.goes_offline = settings.goes_offline
        if self.goes_offline:  # whether there is a network shows at once
            limits = settings.limits._replace(retries=0, connect_timeout_s=_AUTO_CONNECT_S)
            settings = settings._replace(limits=limits)
        self._settings = settings
        self._store = Store(Path(request.cache), boot.STORE_VERSION, files)
        self._begun = begun
        if begun and begun.settings == settings:
            self._client, self._indexes = begun.client, begun.indexes
        else:
            self._client = make_client(settings)
            self._indexes = find_indexes(settings, self._client, os.environ)
        self._archives = Archives(self._settings, self._store, self._client)
        if elsewhere:  # what is installed here is not installed there
            self._settings = settings = settings._replace(prefer_installed=False)
        preferred = {NormalizedName(name): version for name, version in request.preferred}
        self._wishes = self._inputs.wishes(settings, self._target, preferred)
        self._planner = self._make_planner(self._archives)
        self._ahead: Ahead | None = None
        self._early: dict[str, tuple[str, Future[Verified]]] = {}  # by project: URL and wheel, fetched while planning
        self._early_lock = threading.Lock()
        self._fetching = ThreadPoolExecutor(_EARLY_THREADS)
        self._started_s = started_s

    def close(self) -> None:
        """Begin no transfer any more; what is under way ends by itself."""
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def carry_out(self) -> dict[str, Any]:
        if self._request.action in ("fetch", "program"):
            return self._fetch_script() if self._request.action == "fetch" else self._unpack_programs()
        if not self._request.key:
            plan = self._plan()
            locked: dict[str, Any] = {}
            if self._request.bundles:
                locked["files"] = self._bundle(plan)
                plan = replace(plan, pins=tuple(self._bundled(pin) for pin in plan.pins))
            if self._request.lock_folder:
                locked["lock"] = self._lock(plan)
            answer = {"plan": plan_to_json(self._public(plan)), **locked}
            if self._request.answer_key and self._store.keeps:
                self._keep(answer, plan)
            return answer
        if isinstance(files := self._store.files, Memory):
            here = self._record()
            blobs = {
                entry["image"]: files.files[entry["image"]] for entry in here["mounts"] if entry["image"] in files.files
            }
            return {"plan": json.loads(here["plan"]), "blobs": {"record": boot.dump_record(here), **blobs}}
        path = boot.record_path(self._request.cache, self._request.key)
        with nullcontext() if self._begun else self._store.lock(f"record {self._request.key}"):
            now_s = 0.0 if self._settings.offline else time.time()
            # Another process or thread may have made the same record while this one waited for the lock.
            made = None if self._settings.refresh or self._request.rebuild else boot.read_record(path, now_s=now_s)
            if made is None:
                made = self._record()
                self._store.write_record(self._request.key, boot.dump_record(made))
        return {"plan": json.loads(made["plan"])}

    def _record(self) -> dict[str, Any]:
        """Make the plan, prepare what it mounts, and return the boot record."""
        if self._request.may_be_lean and self._store.keeps:
            from remote_wheel.api.ahead import Ahead

            self._client.settle()  # a process that is forked has no other threads, but what they held
            self._ahead = Ahead(self._work_ahead)
        recorder = self._make_recorder(self._request, self._planner, self._fetch)
        plan = self._plan()
        plan = replace(plan, notes=(*plan.notes, *notes_of_foreign(boot.foreign_config_files())))
        for pin in plan.pins:  # what is in the store came from somewhere, too
            if "://" in pin.url:
                self._client.check_host(pin.url)
        made = recorder.record(plan, self._public(plan), fresh_until_s=self._fresh_until_s, files=self._watched)
        if self._ahead and made["is_lean"]:
            pins = [replace(pin, needs=(), wanted_by=(), rejected=()) for pin in plan.pins if not pin.installed_at]
            # Who reads this waits for the lock on the record, until it is written.
            self._ahead.recorded(pins, dict(self._planner.planned_metadata), self._fresh_until_s)
        return made

    def _make_planner(self, archives: Archives) -> Planner:
        return Planner(self._settings, archives, self._target, self._catalog, self._wishes)

    def _make_recorder(self, request: Request, planner: Planner, fetch: Callable[[Pin], Verified]) -> "Recorder":
        from remote_wheel.api.records import Recorder  # compiling and verifying: much to import

        return Recorder(request, self._settings, self._store, self._progress, planner=planner, fetch=fetch)

    # --- ahead of what is asked for, and behind it ---------------------------------------------------------------

    def _likely(self, release: Release) -> None:
        """Fetch the wheel of a project's first candidate while the planning goes on: it is hardly ever another one."""
        if not self._request.key or (file := release.file) is None or not file.filename.endswith(".whl"):
            return
        if self._planner.lacks_hash(release.project) or (file.size_bytes or _EARLY_BYTES) >= _EARLY_BYTES:
            return
        pin = Pin(
            name=release.project,
            version=str(release.version),
            filename=file.filename,
            url=file.url,
            digests=file.digests,
            size_bytes=file.size_bytes,
        )
        with self._early_lock:  # several threads may have the same idea
            if release.project not in self._early:
                self._early[release.project] = file.url, self._fetching.submit(self._fetch_early, pin)

    def _fetch_early(self, pin: Pin) -> Verified:
        verified = self._archives.wheel(pin.filename, pin.url, pin.digests, received=self._received(pin))
        if self._ahead:
            self._ahead.wheel(replace(pin, digests={**pin.digests, "sha256": verified.sha256}))
        return verified

    def _work_ahead(self, inbox: "Inbox") -> None:
        """Do in a process beside this one what Ahead is for, with what is in the store."""
        from remote_wheel.api.ahead import Worker

        archives = self._archives.at_hand()
        # What is damaged is made again by the helper: this one makes only what is missing.
        request = self._request._replace(rebuild=False)
        recorder = self._make_recorder(request, self._make_planner(archives), lambda pin: self._get(archives, pin))
        names = (split_extras(text)[0] for text in self._inputs.requirements)
        subjects = [parse_requirement(text).name for text in names if not is_source(text)]
        Worker(recorder, self._request.hints, map(canonicalize_name, subjects)).run(
            inbox, lambda fresh_until_s: self._finish(recorder, fresh_until_s)
        )

    def _finish(self, recorder: "Recorder", fresh_until_s: float) -> None:
        """Make whole what was made lean, and have the record say so; another that was written since stays.

        Nobody waits for this process, so it looks after the store, too.
        """
        from remote_wheel.api.upkeep import Upkeep

        path = boot.record_path(self._request.cache, self._request.key)
        with self._store.lock(f"record {self._request.key}"):  # it is being written
            lean = boot.read_record(path)
        if lean is None or not lean["is_lean"]:
            return
        if not self._store.is_there():  # somebody deleted it: nothing is to come back
            return
        whole = recorder.finish(lean, fresh_until_s)
        with self._store.lock(f"record {self._request.key}"):
            if boot.read_record(path) == lean:
                self._store.write_record(self._request.key, boot.dump_record(whole))
        Upkeep(self._store).keep_to_budget(self._settings)

    @property
    def _fresh_until_s(self) -> float:
        """Until when what was planned may be believed; not at all if a file that it came from changed meanwhile."""
        fresh_until_s = min(self._planner.fresh_until_s, self._archives.fresh_until_s)
        if self._inputs.urls or any(is_age(text) for text in self._settings.exclude_newer):
            fresh_until_s = min(fresh_until_s, self._started_s + self._settings.freshness_s)
        return 0.0 if any(map(self._has_changed, self._watched)) else fresh_until_s

    @property
    def _watched(self) -> list[str]:
        """The local files that the plan came from, or that say which index it comes from."""
        config = (str(path) for path in pip_config_files(os.environ))
        return [*self._planner.local_files, *self._inputs.files, *config]

    def _has_changed(self, path: str) -> bool:
        """Whether a file or folder was changed after this began, and so perhaps after it was read."""
        try:
            return os.stat(path).st_mtime > self._started_s
        except OSError:
            return False

    def _keep(self, answer: Mapping[str, Any], plan: Plan, *, made: Sequence[str] = ()) -> None:
        """Keep the answer for as long as nothing of what it rests on changes, nor of what was *made* for it."""
        watched = [*self._watched, *made]
        watched += (pin.installed_at for pin in plan.pins if pin.installed_at)
        if self._settings.prefer_installed:  # another one installed might be preferred
            watched += (os.path.join(folder, "") for folder in self._request.search_path)
        record = {
            "fresh_until_s": self._fresh_until_s,
            "files": boot.tokens_of(watched),
            "answer": json.dumps(answer),
        }
        self._store.write_record(self._request.answer_key, boot.dump_record(record))

    def _plan(self) -> Plan:
        """Make the plan, which says what machine it is for."""
        return replace(self._make_plan(), **self._elsewhere)

    def _make_plan(self) -> Plan:
        action, subjects = self._request.action, self._request.subjects
        if self._script and not self._target.admits_python(self._script.requires_python):
            needs, place = self._script.requires_python, redact(subjects[1])
            what = f"{place} requires Python {needs}, and this is {self._target.python}"
            raise UsageError(message=what, way_out="Run it with another interpreter.")
        if action in ("require", "script"):
            # Files and scripts are for many machines: what is for another one is skipped.
            of_others = {*self._inputs.of_files, *(self._script.requirements if self._script else ())}
            plan = self._planner.plan_requirements(self._inputs.requirements, of_others)
            check_binaries(plan, self._inputs.no_binary, self._inputs.only_binary)
            return plan
        if action == "mount":
            return self._planner.plan_source(subjects[0], self._request.options)
        if action == "plan":
            return self._planner.plan_locked(plan_from_json(json.loads(subjects[0]), Plan))
        from remote_wheel.resolution.pylock import parse_pylock  # only locks need its library

        text, shown, folder, extras, groups = subjects
        plan = parse_pylock(
            text,
            self._target,
            shown=shown,
            locate=lambda path: os.path.join(folder, path),
            extras=[each for each in extras.split(",") if each],
            groups=None if groups == "-" else [each for each in groups.split(",") if each],
        )
        self._check_satisfies(plan, shown, text)
        return self._planner.plan_locked(plan)

    def _check_satisfies(self, plan: Plan, lock: str, lock_text: str) -> None:
        """Refuse a lock that does not have what the caller requires beside it."""
        block = self._request.options.get("block")
        of_script = _script_of(block, self._target).requirements if block else ()
        inputs = Inputs([*of_script, *(self._request.options.get("satisfies") or ())], os.environ)
        self._inputs.files += inputs.files
        check_satisfies(plan, lock, lock_text, inputs.requirements, self._target.environment)

    def _catalog(
        self, pool: ThreadPoolExecutor, direct: Callable[[NormalizedName], Listing | None], installed_only: bool
    ) -> IndexCatalog:
        pages = Pages(
            self._settings,
            self._store,
            self._client,
            self._target,
            indexes=self._indexes,
            filters=self._wishes.filter_of,
            direct=direct,
            search_path=self._request.search_path,
            installed_only=installed_only,
        )
        return IndexCatalog(
            self._settings, self._store, self._client, self._archives, pool, self._progress, pages, self._likely
        )

    # --- how ---------------------------------------------------------------------------------------------------------

    def _fetch(self, pin: Pin) -> Verified:
        url, early = self._early.get(pin.name, ("", None))
        if early and url == pin.url:
            verified = early.result()
            if self._planner.planned_metadata.get(pin.url) in (None, verified.metadata_sha256):
                return verified  # if not, what follows says so
        return self._get(self._archives, pin)

    def _get(self, archives: Archives, pin: Pin) -> Verified:
        planned = self._planner.planned_metadata.get(pin.url)
        return archives.wheel(
            pin.filename,
            pin.url if "://" in pin.url else Path(pin.url).absolute().as_uri(),
            pin.digests,
            metadata_digests={"sha256": planned} if planned else None,
            received=self._received(pin),
            stated_by="the lock" if self._request.action == "lock" else "the index",
        )

    def _received(self, pin: Pin) -> Callable[[int], None]:
        return lambda received: self._progress.downloading(pin.filename, received, pin.size_bytes)

    def _fetch_script(self) -> dict[str, Any]:
        """Return what is at the URL that is asked for, held to its hash or to what was there first."""
        source = parse_source(self._request.subjects[0], name="script", environ=os.environ)
        if source.kind != "module":
            raise InvalidSource(source=source.shown, reason="it is no script, whose name ends in .py")
        acquired = self._archives.source(source, None)
        (path,), plan = acquired.verified.files, Plan(requirements=(), pins=())
        answer = {"plan": plan_to_json(plan), "source": acquired.verified.read(path).decode("latin-1")}
        store = str(self._store.root) if self._store.keeps else ""
        answer |= {"shown": source.shown, "kept": (store, acquired.verified.sha256)}
        if self._request.answer_key and self._store.keeps:
            self._keep(answer, plan)
        return answer

    def _unpack_programs(self) -> dict[str, Any]:
        """Unpack programs of a wheel that is in the store and return where they are: running them was asked for."""
        sha256, filename, *members = self._request.subjects
        view = self._store.open_archive(sha256)
        if view is None:
            raise StoreError(path=str(self._store.archive_path(sha256)), reason="it is gone, or damaged")
        archive = Archive(view, subject=filename, limits=self._settings.limits)
        names = {member.partition(".data/scripts/")[2]: member for member in members}
        self._store.hold(sha256)
        folder = self._store.unpack(
            f"{sha256}-programs", dict.fromkeys(names, True), lambda name: archive.chunks(names[name])
        )
        plan = Plan(requirements=(), pins=())
        answer = {"plan": plan_to_json(plan), "folder": str(folder)}
        if self._request.answer_key and self._store.keeps:
            self._keep(answer, plan, made=[str(folder / name) for name in names])
        return answer

    # --- locks -------------------------------------------------------------------------------------------------------

    def _lock(self, plan: Plan) -> str:
        """Return the text of the lock file for *plan*, wheels fetched whose index states no digest of theirs."""
        if installed := [str(pin) for pin in plan.pins if pin.installed_at]:
            raise UsageError(
                message=f"a lock names files, and this plan relies on what is installed: {', '.join(installed)}",
                way_out="Resolve with prefer_installed=False (--no-prefer-installed).",
            )
        from remote_wheel.resolution.pylock import dump_pylock

        whole = replace(plan, pins=tuple(self._with_digest(pin) for pin in plan.pins))
        folder = self._request.lock_folder
        return dump_pylock(self._public(whole), self._target, locate=lambda place: relative_place(place, folder))

    def _bundle(self, plan: Plan) -> list[dict[str, Any]]:
        """Have all wheels of *plan* in the store; return the fields of a bundling.BundledFile for each."""
        for pin in plan.pins:
            if pin.installed_at or not pin.filename.endswith(".whl"):
                what = "it is installed, and no file" if pin.installed_at else f"{pin.filename} is no wheel"
                way = "Build a wheel of it (pip wheel), or leave it out."
                raise UsageError(message=f"{pin} can't be in a bundle: {what}", way_out=way)
        with ThreadPoolExecutor(self._settings.limits.parallel_requests) as pool:
            return list(pool.map(self._bundle_file, plan.pins))

    def _bundle_file(self, pin: Pin) -> dict[str, Any]:
        acquired = self._planner.acquired(pin)
        verified = acquired.verified if acquired else self._fetch(pin)
        self._store.hold(verified.sha256)
        path = self._store.archive_path(verified.sha256)
        return {
            "project": pin.name,
            "filename": pin.filename,
            "path": str(path),
            "sha256": verified.sha256,
            "size_bytes": path.stat().st_size,
            "requires_python": verified.metadata.requires_python if verified.metadata else "",
            "metadata": verified.read(f"{verified.dist_info}/METADATA").decode("utf-8", "surrogateescape"),
        }

    def _bundled(self, pin: Pin) -> Pin:
        """Return *pin* as it is in the bundle, of whose index the lock need not speak."""
        place = os.path.join(self._request.lock_folder, BUNDLED_FILES, pin.filename)
        return replace(self._with_digest(pin), url=place, index="")

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
        return replace(plan, pins=tuple(map(public_pin, plan.pins)))


def _script_of(subjects: Sequence[str], target: Target) -> "Script":
    """Return what the block of a script says: its text and where the script is come first."""
    from remote_wheel.spec.script import parse_script  # only scripts need its library

    return parse_script(subjects[0], subjects[1], target.environment)


_TARGET_OPTIONS = ("python_version", "platform")  # of resolve and lock; these and the following are no Settings
_OWN_OPTIONS = frozenset(("sha256", "subdirectory", "deps", "name", "hostkey", "satisfies", "block", *_TARGET_OPTIONS))


def _merged(arguments: Mapping[str, Any], of_files: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call with those of its requirements files: lists join, else the call's own count."""
    merged = {**of_files, **arguments}
    for name, value in of_files.items():
        if name in arguments and not isinstance(value, (str, bool)):
            merged[name] = [*arguments[name], *value]
    return merged
