"""From what a request names (requirements, sources, a lock) to a plan, and to the archives that were met on the way."""

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import NormalizedName

from remote_wheel.api.archives import Acquired, Archives, Locked
from remote_wheel.api.catalog import IndexCatalog
from remote_wheel.api.indexes import check_index
from remote_wheel.api.inputs import Wishes
from remote_wheel.errors import (
    InvalidMetadata,
    InvalidSource,
    NoCompatibleWheel,
    RefusedByPolicy,
    ResolutionError,
    Unsatisfiable,
    UsageError,
)
from remote_wheel.index.listing import Listing, listing_of_one
from remote_wheel.index.page import IndexFile
from remote_wheel.index.target import Target
from remote_wheel.resolution.plan import Pin, Plan
from remote_wheel.resolution.provider import Policy
from remote_wheel.resolution.solve import solve
from remote_wheel.settings import Settings
from remote_wheel.spec.digest import parse_sha256
from remote_wheel.spec.requirement import applies, parse_requirement, project_of
from remote_wheel.spec.source import Source, is_source, parse_source, redact, redact_text, split_extras
from remote_wheel.verify.wheel import Verified, parse_filename

# (pool, listings known beforehand, whether only what is installed counts) → the catalogue of one resolution
MakeCatalog = Callable[[ThreadPoolExecutor, Callable[[NormalizedName], Listing | None], bool], IndexCatalog]


class _Bounds(TypedDict):
    max_rounds: int
    is_out_of_time: Callable[[], bool]


class Planner:
    """Makes the plan of one request. `subjects` are then the keys of the pins that the request named, in its order."""

    def __init__(
        self,
        settings: Settings,
        archives: Archives,
        target: Target,
        make_catalog: MakeCatalog,
        wishes: Wishes,
    ) -> None:
        self._settings, self._archives, self._target = settings, archives, target
        self._make_catalog, self._wishes = make_catalog, wishes
        self._acquired: dict[str, Acquired] = {}  # by the key of the pin
        self._direct: dict[NormalizedName, Listing] = {}
        self._held: set[str] = set()  # keys of pins that a requirements file states the hashes of
        self._places: dict[NormalizedName, frozenset[str]] = {}  # of what was acquired, as redact() shows URLs
        self._lock = threading.RLock()
        self.subjects: list[str] = []
        self.fresh_until_s = float("inf")
        self.planned_metadata: Mapping[str, str] = {}
        self.local_files: list[str] = []

    def plan_requirements(self, texts: Sequence[str], may_be_elsewhere: Collection[str] = ()) -> Plan:
        """Return the plan for requirements (PEP 508) and sources. Raises RemoteWheelError.

        A marker that is false here is an error but for those that *may_be_elsewhere*: files are for many machines.
        """
        wanted: list[Requirement] = []
        loose: list[Pin] = []
        for text in texts:
            if text.endswith(".py") and os.path.isfile(text) and not is_source(text):
                way = f"Write './{text}' for the file."
                raise UsageError(message=f"{text!r} is a file here and the name of a project", way_out=way)
            requirement = None if is_source(text) else parse_requirement(text)
            if requirement and not applies(requirement, self._target.environment):
                if text in may_be_elsewhere:
                    continue
                raise UsageError(
                    message=f"{redact_text(text)!r} does not apply here: its marker is false on this machine"
                )
            if requirement is None or requirement.url:
                place, extras = split_extras((requirement and requirement.url) or text)
                stated = self._stated(text, requirement)
                acquired = self._acquire(parse_source(place, environ=os.environ), stated)
                requirement = self._reference(acquired, requirement)
                if requirement and extras:
                    requirement.extras = {*requirement.extras, *extras}
                pin = self._keep(acquired, stated)
                self.subjects.append(pin.key)
                if requirement is None:
                    loose.append(pin)
            else:
                self.subjects.append(project_of(requirement))
            wanted += [requirement] if requirement else []
        plan = self._complete(self._solve(wanted)) if wanted else Plan(requirements=(), pins=())
        plan = replace(plan, pins=(*plan.pins, *loose), requirements=tuple(redact_text(text) for text in texts))
        self._check_hashes(plan)
        self.subjects = [key for key in self.subjects if any(pin.key == key for pin in plan.pins)]
        return plan

    def lacks_hash(self, project: NormalizedName) -> bool:
        """Return whether releases of a project will be refused: hashes are needed, and none is stated for it."""
        needed = self._settings.require_hashes or self._wishes.needs_hashes
        return needed and project not in self._wishes.hashes

    def _check_hashes(self, plan: Plan) -> None:
        """Refuse pins without a hash of their own where the requirements files state hashes, as pip does."""
        unstated = [pin for pin in plan.pins if pin.name not in self._wishes.hashes and pin.key not in self._held]
        missing = [str(pin) for pin in unstated]
        fetched = [str(pin) for pin in unstated if pin.key not in self._acquired]  # a source was asked when it was got
        if self._settings.require_hashes and fetched:
            what = f"{', '.join(fetched[:5])} without a hash"
            where = self._settings.origins.get("require_hashes", "")
            raise RefusedByPolicy(what=what, rule="require_hashes", where=where)
        if self._wishes.needs_hashes and missing:
            raise UsageError(
                message=f"the requirements files state hashes, and none for {', '.join(missing[:5])}",
                way_out="Give each a line with --hash=sha256:…, or none (remote-wheel lock writes all of them down).",
            )

    def plan_source(self, text: str, options: Mapping[str, Any]) -> Plan:
        """Return the plan for one source with mount()'s own *options*. Raises RemoteWheelError."""
        if os.path.isdir(text):
            way = (
                f"A folder of wheels is an index: require('PROJECT', index_url={text!r}). Archive a source tree first."
            )
            raise InvalidSource(source=text, reason="it is a folder", way_out=way)
        hostkey = options.get("hostkey")
        if hostkey and not text.startswith(("sftp:", "ssh:")):
            raise UsageError(message="hostkey= goes with sftp:// and ssh:// alone")
        source = parse_source(
            _with_hostkey(text, hostkey),
            subdirectory=options.get("subdirectory") or "",
            name=options.get("name") or "",
            environ=os.environ,
        )
        stated = options.get("sha256")
        digests = () if stated is None else (f"sha256:{parse_sha256(stated)}",)
        acquired = self._acquire(source, frozenset(digests), stated_by="you")
        requirement, pin = self._reference(acquired), self._keep(acquired)
        self.subjects.append(pin.key)
        if requirement is None or options.get("deps") is False:
            return Plan(requirements=(source.shown,), pins=(pin,))
        plan = self._complete(self._solve([requirement]))
        self._check_hashes(plan)
        return plan

    def plan_locked(self, plan: Plan) -> Plan:
        """Take *plan* as it is; what it names is what nothing else of it needs.

        Raises NoCompatibleWheel where it was made for another machine.
        """
        for pin in plan.pins:
            if pin.index:
                check_index(pin.index, self._settings)
            if pin.filename.endswith(".whl"):
                self._check_tags(pin.filename, parse_filename(pin.filename)[2])
        self.subjects += [pin.key for pin in plan.roots]
        return plan

    def acquired(self, pin: Pin) -> Acquired | None:
        """Return the archive of a pin that came from a source, None for one of an index. Raises as Archives does."""
        found = self._acquired.get(pin.key)
        if found is None and pin.url and not pin.filename.endswith(".whl"):
            lock = Locked(digests=pin.digests, commit=pin.commit, content_sha256=pin.content_sha256)
            found = self._archives.locked(_source_of(pin), lock)
            metadata = found.verified.metadata
            name, version = (metadata.name, str(metadata.version)) if metadata else ("", "")
            if (name, version) != (pin.name, pin.version or version):
                said = f"{name} {version}".strip() or "no project that says its name"
                raise InvalidMetadata(subject=pin.source, reason=f"it holds {said}, not {pin}")
            self._acquired[pin.key] = found
        return found

    # --- how ---------------------------------------------------------------------------------------------------------

    def _acquire(
        self, source: Source, stated: frozenset[str] = frozenset(), stated_by: str = "the requirements file"
    ) -> Acquired:
        """Return the archive or module of *source*, which has one of the digests that are *stated* ("sha256:hex")."""
        if len(stated) > 1 or any(not each.startswith("sha256:") for each in stated):
            acquired = self._archives.source_of_many(source, stated, stated_by=stated_by)
        else:
            digest = next((each.removeprefix("sha256:") for each in stated), None)
            acquired = self._archives.source(source, digest, stated_by=stated_by if digest else "you")
        self._check_fits(acquired.verified)
        if source.is_local:
            self.local_files.append(source.url)
        return acquired

    def _reference(self, acquired: Acquired, asked: Requirement | None = None) -> Requirement | None:
        """Return the direct reference (PEP 508) to what was acquired, None where it is of no project.

        Raises InvalidMetadata where it is not the project that *asked* names.
        """
        metadata, source = acquired.verified.metadata, acquired.source
        if asked and (metadata is None or metadata.name != project_of(asked)):
            what = metadata.name if metadata else "no project that says its name"
            raise InvalidMetadata(subject=source.shown, reason=f"it holds {what}, not {asked.name}")
        if metadata is None:
            return None
        reference = asked or Requirement(metadata.name)
        reference.url = Path(source.url).absolute().as_uri() if source.is_local else source.shown
        return reference

    def _stated(self, text: str, requirement: Requirement | None) -> frozenset[str]:
        """Return the hashes that a requirements file has behind a source, or for its project."""
        of_project = self._wishes.hashes.get(project_of(requirement)) if requirement else None
        return self._wishes.source_hashes.get(text) or of_project or frozenset()

    def _keep(self, acquired: Acquired, stated: frozenset[str] = frozenset()) -> Pin:
        """Let the archive be the one release of its project. Raises UsageError where another one is that already."""
        pin, source = pin_of(acquired), acquired.source
        known = self._acquired.get(pin.key)
        if known and known.verified.sha256 != acquired.verified.sha256:
            what = f"{pin.name} is asked for from two places: {known.source.shown} and {source.shown}"
            raise UsageError(message=what, way_out="Leave one of them out.")
        self._acquired[pin.key] = acquired
        if stated:
            self._held.add(pin.key)
        if metadata := acquired.verified.metadata:
            file = IndexFile(filename=source.filename, url=acquired.url)
            self._direct[metadata.name] = listing_of_one(metadata, file)
            shown = {source.shown, redact(acquired.url)}
            shown |= {Path(source.url).absolute().as_uri()} if source.is_local else set()
            self._places[metadata.name] = self._places.get(metadata.name, frozenset()) | shown
        return pin

    def _listing_of(self, project: NormalizedName) -> Listing | None:
        """Return the listing of a project that the user named by URL or path: exactly one release; None of another.

        One that only an override or a constraint names is acquired when it turns out to be needed.
        """
        with self._lock:
            wanted = self._wishes.places.get(project)
            if project not in self._direct and wanted and wanted.url:
                acquired = self._acquire(parse_source(wanted.url, environ=os.environ), self._stated("", wanted))
                self._reference(acquired, wanted)
                self._keep(acquired)
            return self._direct.get(project)

    def _policy(self) -> Policy:
        places = dict(self._places)
        for project, wanted in self._wishes.places.items():
            asked = redact(wanted.url or "")
            if asked not in places.get(project, (asked,)):
                self._keep(self._acquire(parse_source(wanted.url or "", environ=os.environ)))  # it may be the same
            places[project] = places.get(project, frozenset()) | {asked}
        return self._wishes.policy._replace(places=places)

    def _check_fits(self, verified: Verified) -> None:
        """Refuse a distribution of another platform or Python, which no index stood in front of."""
        needs = verified.metadata.requires_python if verified.metadata else ""
        is_other_python = not self._target.admits_python(needs)
        self._check_tags(verified.filename, verified.tags, f"requires Python {needs}" if is_other_python else "")

    def _check_tags(self, filename: str, tags: frozenset[Tag], reason: str = "") -> None:
        if reason or (tags and self._target.rank(tags) is None):
            raise NoCompatibleWheel(
                requirement=filename,
                wheels=(filename,),
                wheel_tags=tuple(sorted(str(tag) for tag in tags)),
                fitting_tags=self._target.best_tags,
                reasons=(reason,) if reason else (),
            )

    def _solve(self, requirements: Sequence[Requirement]) -> Plan:
        settings, policy = self._settings, self._policy()
        limits, began_s = settings.limits, time.thread_time()

        def is_out_of_time() -> bool:
            return time.thread_time() - began_s > limits.resolver_cpu_s

        bounds: _Bounds = {"max_rounds": limits.resolver_rounds, "is_out_of_time": is_out_of_time}
        held = policy._replace(holds_preferred=True)
        # What is mounted or loaded can't be had in another version as well: plans that keep it come first.
        policies = (held, policy) if policy.preferred else (policy,)
        with ThreadPoolExecutor(settings.limits.parallel_requests) as pool:
            for each in policies if settings.prefer_installed else ():
                installed = self._make_catalog(pool, self._listing_of, True)
                with suppress(ResolutionError):  # what is installed does not do: ask the indexes
                    return self._checked(solve(requirements, installed, self._target, each, explains=False, **bounds))
            catalog = self._make_catalog(pool, self._listing_of, False)
            try:
                plan = self._solve_indexed(requirements, catalog, policies, bounds)
            except ResolutionError as error:
                if catalog.pages.missing:  # offline: what is not there may have what nothing else has
                    raise catalog.pages.missing from error
                raise
        self.fresh_until_s = catalog.pages.fresh_until_s
        self.planned_metadata = catalog.planned_metadata
        self.local_files += catalog.pages.watched
        return plan

    def _solve_indexed(
        self, requirements: Sequence[Requirement], catalog: IndexCatalog, policies: Sequence[Policy], bounds: _Bounds
    ) -> Plan:
        *held, last = policies
        for each in held:
            with suppress(ResolutionError):
                return solve(requirements, catalog, self._target, each, explains=False, **bounds)
        return self._checked(solve(requirements, catalog, self._target, last, **bounds))

    def _checked(self, plan: Plan) -> Plan:
        """Return *plan*; raise Unsatisfiable where it has something installed that is mounted in another version.

        What would be mounted in another version than is loaded is refused when that is tried.
        """
        for pin in plan.pins:
            mounted = self._wishes.policy.preferred.get(NormalizedName(pin.name))
            if pin.installed_at and mounted not in (None, pin.version):
                raise Unsatisfiable(
                    requirements=tuple(text for who, text in pin.wanted_by if who == "you") or (pin.name,),
                    reasons=tuple(f"{who} requires {text}" for who, text in pin.wanted_by if who != "you"),
                    notes=(f"{pin.name} {mounted} is mounted or loaded in this process",),
                )
        return plan

    def _complete(self, plan: Plan) -> Plan:
        """Return *plan* with all that the archives tell of the pins that came from them."""
        pins = [
            replace(pin_of(acquired), needs=pin.needs, wanted_by=pin.wanted_by)
            if (acquired := self._acquired.get(pin.key))
            else pin
            for pin in plan.pins
        ]
        return replace(plan, pins=tuple(pins))


def pin_of(acquired: Acquired) -> Pin:
    """Return the pin of an archive that came from a source."""
    source, verified = acquired.source, acquired.verified
    metadata, repository = verified.metadata, source.repository
    return Pin(
        name=metadata.name if metadata else "",
        version=str(metadata.version) if metadata else "",
        filename=source.filename,
        url=os.path.abspath(acquired.url) if source.is_local else acquired.url,
        digests={"sha256": verified.sha256},
        size_bytes=acquired.size_bytes,
        requires_python=metadata.requires_python if metadata else "",
        repository=repository.url if repository else "",
        revision=repository.ref if repository else "",
        commit=acquired.commit,
        content_sha256=verified.content_sha256 if repository else "",
        subdirectory=source.subdirectory,
        wanted_by=(("you", source.shown),),
    )


def _source_of(pin: Pin) -> Source:
    """Return the source that a pin was made from, at the revision that was asked for."""
    source = parse_source(pin.url, subdirectory=pin.subdirectory, name=_module_name(pin), environ=os.environ)
    if source.repository:
        return source._replace(repository=source.repository._replace(ref=pin.revision))
    return source


def _module_name(pin: Pin) -> str:
    return pin.filename.removesuffix(".py") if pin.filename.endswith(".py") else ""


def _with_hostkey(text: str, hostkey: str | None) -> str:
    """Return the source's text with the fingerprint that was given beside it."""
    return f"{text}{'&' if '#' in text else '#'}hostkey={hostkey}" if hostkey else text
