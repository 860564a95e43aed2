"""From what a request names (requirements, sources, a lock) to a plan, and to the archives that were met on the way."""

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import NormalizedName

from remote_wheel.api.archives import Acquired, Archives, Locked
from remote_wheel.api.catalog import IndexCatalog
from remote_wheel.api.inputs import Wishes
from remote_wheel.errors import (
    DigestMismatch,
    InvalidMetadata,
    InvalidSource,
    NoCompatibleWheel,
    RefusedByPolicy,
    ResolutionError,
    UsageError,
)
from remote_wheel.index.listing import Listing, listing_of_one
from remote_wheel.index.page import IndexFile
from remote_wheel.index.target import Target
from remote_wheel.resolution.plan import Pin, Plan
from remote_wheel.resolution.solve import solve
from remote_wheel.settings import Settings
from remote_wheel.spec.digest import parse_sha256
from remote_wheel.spec.requirement import parse_requirement, project_of
from remote_wheel.spec.source import Source, is_source, parse_source, redact_text, split_extras
from remote_wheel.verify.wheel import Verified, parse_filename

# (pool, listings known beforehand, whether only what is installed counts) → the catalogue of one resolution
MakeCatalog = Callable[[ThreadPoolExecutor, Mapping[NormalizedName, Listing], bool], IndexCatalog]


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
            if requirement is None or requirement.url:
                place, extras = split_extras((requirement and requirement.url) or text)
                acquired = self._acquire(parse_source(place, environ=os.environ))
                requirement = self._reference(acquired, requirement)
                if requirement and extras:
                    requirement.extras = {*requirement.extras, *extras}
                self._check_stated(acquired, requirement)
                pin = pin_of(acquired)
                self._acquired[pin.key] = acquired
                self.subjects.append(pin.key)
                if requirement is None:
                    loose.append(pin)
            else:
                self.subjects.append(project_of(requirement))
            wanted += [requirement] if requirement else []
        plan = self._complete(self._solve(wanted)) if wanted else Plan(requirements=(), pins=())
        plan = replace(plan, pins=(*plan.pins, *loose), requirements=tuple(redact_text(text) for text in texts))
        self._check_hashes(plan)
        for text, key in zip(texts, self.subjects, strict=True):
            if all(pin.key != key for pin in plan.pins) and text not in may_be_elsewhere:
                raise UsageError(
                    message=f"{redact_text(text)!r} does not apply here: its marker is false on this machine"
                )
        self.subjects = [key for key in self.subjects if any(pin.key == key for pin in plan.pins)]
        return plan

    def _check_hashes(self, plan: Plan) -> None:
        """Refuse pins without a hash of their own where the requirements files state hashes, as pip does."""
        unstated = [pin for pin in plan.pins if pin.name not in self._wishes.hashes]
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
        acquired = self._acquire(source, parse_sha256(stated) if stated is not None else None)
        requirement, pin = self._reference(acquired), pin_of(acquired)
        self._acquired[pin.key] = acquired
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

    def _acquire(self, source: Source, sha256: str | None = None) -> Acquired:
        acquired = self._archives.source(source, sha256)
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

    def _check_stated(self, acquired: Acquired, requirement: Requirement | None) -> None:
        """Hold an archive to the hashes of a requirements file."""
        stated = self._wishes.hashes.get(project_of(requirement)) if requirement else None
        if stated and f"sha256:{acquired.verified.sha256}" not in stated:
            raise DigestMismatch(
                subject=acquired.source.shown,
                stated_by="the requirements file",
                expected=" or ".join(sorted(stated)),
                actual=f"sha256:{acquired.verified.sha256}",
            )

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
        settings, policy = self._settings, self._wishes.policy
        limits, began_s = settings.limits, time.thread_time()

        def is_out_of_time() -> bool:
            return time.thread_time() - began_s > limits.resolver_cpu_s

        bounds: _Bounds = {"max_rounds": limits.resolver_rounds, "is_out_of_time": is_out_of_time}
        with ThreadPoolExecutor(settings.limits.parallel_requests) as pool:
            if settings.prefer_installed:
                installed = self._make_catalog(pool, self._listings(), True)
                try:
                    return solve(requirements, installed, self._target, policy, **bounds)
                except ResolutionError:
                    pass  # what is installed does not do: ask the indexes
            catalog = self._make_catalog(pool, self._listings(), False)
            plan = solve(requirements, catalog, self._target, policy, **bounds)
        self.fresh_until_s = catalog.pages.fresh_until_s
        self.planned_metadata = catalog.planned_metadata
        self.local_files += catalog.pages.watched
        return plan

    def _listings(self) -> dict[NormalizedName, Listing]:
        """Return the listings of the projects that the user named by URL or path: exactly one release each."""
        found = {}
        for acquired in self._acquired.values():
            if metadata := acquired.verified.metadata:
                file = IndexFile(filename=acquired.source.filename, url=acquired.url)
                found[metadata.name] = listing_of_one(metadata, file)
        return found

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
        return replace(source, repository=replace(source.repository, ref=pin.revision))
    return source


def _module_name(pin: Pin) -> str:
    return pin.filename.removesuffix(".py") if pin.filename.endswith(".py") else ""


def _with_hostkey(text: str, hostkey: str | None) -> str:
    """Return the source's text with the fingerprint that was given beside it."""
    return f"{text}{'&' if '#' in text else '#'}hostkey={hostkey}" if hostkey else text
