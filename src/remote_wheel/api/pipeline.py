"""The cold path: from requirements or a source to a plan, verified archives, images and a boot record.

Runs in the helper process by default, in the caller's where there can be none; see api.cold.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import NormalizedName

from remote_wheel.api.archives import Acquired, Archives
from remote_wheel.api.catalog import IndexCatalog, Progress
from remote_wheel.api.preparation import Preparation
from remote_wheel.errors import InvalidMetadata, NoCompatibleWheel, ResolutionError, UsageError
from remote_wheel.fetch.client import Client
from remote_wheel.index.candidates import Listing, listing_of_one
from remote_wheel.index.page import IndexFile
from remote_wheel.index.target import target_of_this_machine
from remote_wheel.mounts import boot
from remote_wheel.prepare.modules import choose_module, find_modules
from remote_wheel.resolution.plan import Pin, Plan, plan_to_json
from remote_wheel.resolution.provider import Policy
from remote_wheel.resolution.solve import solve
from remote_wheel.settings import Settings, merge_settings
from remote_wheel.spec.digest import parse_sha256
from remote_wheel.spec.requirement import parse_requirement, project_of
from remote_wheel.spec.source import Source, parse_source, redact, redact_text
from remote_wheel.store.cache import Store
from remote_wheel.verify.wheel import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it crosses to the helper: JSON values only.

    `action` is require, mount or resolve. `options` are as the user gave them. `search_path` is the caller's
    sys.path without mounts, `preferred` what it has mounted, `key` the name of the boot record to write.
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


class _Direct(dict[NormalizedName, Acquired]):
    """Distributions that the user named by URL or path, verified already."""

    @property
    def listings(self) -> dict[NormalizedName, Listing]:
        found = {}
        for name, acquired in self.items():
            metadata = acquired.verified.metadata
            assert metadata is not None  # a programming error: only those with metadata have a name
            file = IndexFile(
                filename=acquired.source.filename,
                url=acquired.source.shown,
                digests={"sha256": acquired.verified.sha256},
            )
            found[name] = listing_of_one(metadata, file)
        return found

    def complete(self, plan: Plan) -> Plan:
        """Return *plan* with what only the archives could tell of the pins that came from them."""
        pins = (
            replace(
                pin,
                commit=acquired.commit,
                content_sha256=acquired.verified.content_sha256,
                subdirectory=acquired.source.subdirectory,
            )
            if (acquired := self.get(NormalizedName(pin.name)))
            else pin
            for pin in plan.pins
        )
        return replace(plan, pins=tuple(pins))


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Carry out *request*; return {"plan": …} and, but for resolve, leave its boot record in the store.

    Raises RemoteWheelError.
    """
    return _Run(request, progress).carry_out()


class _Run:
    """The parts of one request, joined."""

    def __init__(self, request: Request, progress: Progress) -> None:
        options = {name: value for name, value in request.options.items() if name not in _OWN_OPTIONS}
        self._request, self._progress = request, progress
        self._settings = _with_local_indexes(merge_settings(options, os.environ))
        self._store = Store(Path(request.cache), boot.STORE_VERSION)
        self._client = Client(self._settings.limits, is_offline=self._settings.offline)
        self._archives = Archives(self._settings, self._store, self._client)
        self._target = target_of_this_machine()
        self._preparation = Preparation(
            self._settings, self._store, progress, optimize=request.optimize, rebuild=request.rebuild
        )
        self._fresh_until_s = float("inf")
        self._planned_metadata: Mapping[str, str] = {}
        self._local_files: list[str] = []

    def carry_out(self) -> dict[str, Any]:
        if self._request.action == "resolve":
            plan, _ = self._plan()
            return {"plan": plan_to_json(plan)}
        path = boot.record_path(self._request.cache, self._request.key)
        with self._store.lock(f"record {self._request.key}"):
            now_s = 0.0 if self._settings.offline else _now_s()
            # Another process or thread may have made the same record while this one waited for the lock.
            made = None if self._settings.refresh or self._request.rebuild else boot.read_record(path, now_s=now_s)
            if made is None:
                made = self._make_record()
                self._store.write_record(self._request.key, boot.dump_record(made))
        return {"plan": json.loads(made["plan"])}

    def _make_record(self) -> dict[str, Any]:
        plan, direct = self._plan()
        wanted = [pin for pin in plan.pins if not pin.installed_at]
        with ThreadPoolExecutor(self._settings.limits.parallel_requests) as pool:
            entries = list(pool.map(lambda pin: self._prepare(pin, direct), wanted))
        files = [(entry["image"], boot.file_token(entry["image"])) for entry in entries]
        files += [(e["root"], boot.file_token(e["root"])) for e in entries if e["root"] != e["image"]]
        files += [(pin.installed_at, boot.file_token(pin.installed_at)) for pin in plan.pins if pin.installed_at]
        local = [each.source.url for each in direct.values() if each.source.is_local] + self._local_files
        files += [(os.path.abspath(path), boot.file_token(path)) for path in local]
        return {
            "fresh_until_s": min(self._fresh_until_s, self._archives.fresh_until_s),
            "files": files,
            "mounts": entries,
            "subjects": [
                {"name": pin.name, "version": pin.version, "choices": self._choices(pin, entries)}
                for pin in self._subjects(plan)
            ],
            "scripts": self._scripts(plan, entries),
            "plan": json.dumps(plan_to_json(plan)),
        }

    # --- planning ------------------------------------------------------------------------------------------------

    def _plan(self) -> tuple[Plan, _Direct]:
        direct = _Direct()
        if self._request.action == "mount":
            return self._plan_mount(direct)
        requirements = [parse_requirement(text) for text in self._request.subjects]
        for requirement in requirements:
            if requirement.url:
                source = parse_source(requirement.url, environ=os.environ)
                acquired = self._archives.source(source, None)
                verified = acquired.verified
                if verified.metadata is None or verified.metadata.name != project_of(requirement):
                    what = verified.metadata.name if verified.metadata else "no project that says its name"
                    raise InvalidMetadata(subject=source.shown, reason=f"it holds {what}, not {requirement.name}")
                self._check_fits(verified)
                direct[verified.metadata.name] = acquired
        return direct.complete(self._solve(requirements, direct)), direct

    def _plan_mount(self, direct: _Direct) -> tuple[Plan, _Direct]:
        options = self._request.options
        source = parse_source(
            _with_hostkey(self._request.subjects[0], options.get("hostkey")),
            subdirectory=options.get("subdirectory") or "",
            name=options.get("name") or "",
            environ=os.environ,
        )
        stated = options.get("sha256")
        acquired = self._archives.source(source, parse_sha256(stated) if stated is not None else None)
        verified, metadata = acquired.verified, acquired.verified.metadata
        self._check_fits(verified)
        name = metadata.name if metadata else NormalizedName("")
        direct[name] = acquired
        if metadata is None or options.get("deps") is False:
            pin = Pin(
                name=name,
                version=str(metadata.version) if metadata else "",
                filename=source.filename,
                url=source.shown,
                digests={"sha256": verified.sha256},
                wanted_by=(("you", source.shown),),
            )
            return direct.complete(Plan(requirements=(source.shown,), pins=(pin,))), direct
        return direct.complete(self._solve([Requirement(f"{name}=={metadata.version}")], direct)), direct

    def _check_fits(self, verified: Verified) -> None:
        """Refuse a distribution of another platform or Python, which no index stood in front of."""
        metadata, target = verified.metadata, self._target
        needs = metadata.requires_python if metadata else None
        is_other_python = needs is not None and not target.admits_python(needs)
        if is_other_python or (verified.tags and target.rank(verified.tags) is None):
            raise NoCompatibleWheel(
                requirement=verified.filename,
                wheels=(verified.filename,),
                wheel_tags=tuple(sorted(str(tag) for tag in verified.tags)),
                fitting_tags=target.best_tags,
                reasons=(f"requires Python {needs}",) if is_other_python else (),
            )

    def _solve(self, requirements: Sequence[Requirement], direct: _Direct) -> Plan:
        settings, request = self._settings, self._request
        policy = Policy(
            pre=settings.pre,
            prefer_installed=settings.prefer_installed,
            preferred={NormalizedName(name): version for name, version in request.preferred},
        )
        rounds = settings.limits.resolver_rounds
        with ThreadPoolExecutor(settings.limits.parallel_requests) as pool:
            if settings.prefer_installed:
                installed = self._catalog(pool, direct, installed_only=True)
                try:
                    return solve(requirements, installed, self._target, policy, max_rounds=rounds)
                except ResolutionError:
                    pass  # what is installed does not do: ask the indexes
            catalog = self._catalog(pool, direct)
            plan = solve(requirements, catalog, self._target, policy, max_rounds=rounds)
        self._fresh_until_s = catalog.fresh_until_s
        self._planned_metadata = catalog.planned_metadata
        pages = [Path(url2pathname(urlsplit(url).path)) for url in catalog.local_folders]
        self._local_files = [str(folder / name) for folder in pages for name in ("", "index.json", "index.html")]
        return plan

    def _catalog(self, pool: ThreadPoolExecutor, direct: _Direct, *, installed_only: bool = False) -> IndexCatalog:
        return IndexCatalog(
            self._settings,
            self._store,
            self._client,
            self._target,
            self._archives,
            pool,
            self._progress,
            direct=direct.listings,
            search_path=self._request.search_path,
            installed_only=installed_only,
        )

    # --- preparing -------------------------------------------------------------------------------------------------

    def _prepare(self, pin: Pin, direct: _Direct) -> dict[str, Any]:
        """Return the boot record's entry of *pin*."""
        name = NormalizedName(pin.name)
        acquired = direct.get(name)
        verified = acquired.verified if acquired else None
        entry = self._preparation.entry(
            name,
            pin.version,
            sha256=verified.sha256 if verified else pin.digests.get("sha256"),
            planned_metadata=self._planned_metadata.get(pin.url),
            variant=_variant(acquired.source) if acquired else "",
            verified=lambda: verified or self._fetch(pin),
        )
        is_path = acquired is not None and acquired.source.is_local
        return {
            **entry,
            "source": pin.url if is_path else redact(pin.url),
            "index": pin.index,
            "commit": acquired.commit if acquired else "",
        }

    def _fetch(self, pin: Pin) -> Verified:
        planned = self._planned_metadata.get(pin.url)
        return self._archives.wheel(
            pin.filename,
            pin.url,
            pin.digests,
            metadata_digests={"sha256": planned} if planned else None,
            received=lambda received: self._progress.downloading(pin.filename, received, pin.size_bytes),
        )

    # --- which module a subject stands for ---------------------------------------------------------------

    def _subjects(self, plan: Plan) -> Iterator[Pin]:
        if self._request.action == "mount":
            yield plan.pins[0]
            return
        for text in self._request.subjects:
            name = project_of(parse_requirement(text))
            if all(pin.name != name for pin in plan.pins):
                raise UsageError(
                    message=f"{redact_text(text)!r} does not apply here: its marker is false on this machine"
                )
            yield plan[name]

    def _choices(self, pin: Pin, entries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        if pin.installed_at:
            found = Distribution.at(pin.installed_at)
            choices = choose_module(pin.name, find_modules(str(path) for path in _files_of(found)))
            return choices or (pin.name.replace("-", "_"),)  # an editable one lists no modules
        return tuple(next(entry["choices"] for entry in entries if entry["name"] == pin.name))

    def _scripts(self, plan: Plan, entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the console scripts by name, a requirement's own before a dependency's."""
        mounted = {entry["name"]: entry["scripts"] for entry in entries}
        scripts: dict[str, str] = {}
        for pin in reversed(plan.pins):
            scripts.update(_installed_scripts(pin) if pin.installed_at else mounted[pin.name])
        return scripts


_OWN_OPTIONS = frozenset(("sha256", "subdirectory", "deps", "name", "hostkey"))  # of mount alone; no part of Settings


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


def _with_hostkey(text: str, hostkey: str | None) -> str:
    """Return the source's text with the fingerprint that was given beside it."""
    return f"{text}{'&' if '#' in text else '#'}hostkey={hostkey}" if hostkey else text


def _variant(source: Source) -> str:
    """Tell apart images of the same bytes: a module is named by its file, a tree may be one of a repository's."""
    import hashlib

    version = source.repository.version if source.repository else ""
    tree = f"{source.subdirectory}@{version}" if version else source.subdirectory
    text = {"module": source.filename, "wheel": ""}.get(source.kind, tree)
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}" if text else ""


def _with_local_indexes(settings: Settings) -> Settings:
    def as_url(index: str) -> str:
        _, separator, _ = index.partition("://")
        if not separator and not index.startswith("file:"):
            if not Path(index).is_dir():
                raise UsageError(
                    message=f"the index {index!r} is neither a URL nor a folder",
                    way_out="Give a URL (https:, file:, s3:, sftp:) or an existing folder.",
                )
            return Path(index).resolve().as_uri()
        try:
            is_known = bool(urlsplit(index).netloc.rpartition("@")[2])
        except ValueError:
            is_known = False
        if not is_known and not index.startswith("file:"):
            raise UsageError(
                message=f"the index {redact_text(index)!r} is no URL that can be used",
                way_out="Give a URL (https:, file:, s3:, sftp:) or a folder.",
            )
        return index

    extra = tuple(as_url(index) for index in settings.extra_index_urls)
    return replace(settings, index_url=as_url(settings.index_url), extra_index_urls=extra)


def _now_s() -> float:
    import time

    return time.time()
