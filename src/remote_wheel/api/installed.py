"""Installed distributions, of which a plan may make use: what they are, which modules and programs they have."""

from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PathDistribution

from packaging.utils import NormalizedName

from remote_wheel.errors import InvalidMetadata
from remote_wheel.index.listing import Installed
from remote_wheel.prepare.modules import choose_module, find_modules
from remote_wheel.spec.metadata import parse_metadata


def find_installed(project: NormalizedName, search_path: Sequence[str]) -> Installed | None:
    """Return the installed distribution of *project* on *search_path*, None where there is none that can be read."""
    for distribution in Distribution.discover(name=project, path=list(search_path)):
        raw = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        place = getattr(distribution, "_path", None)  # no public way leads to the dist-info folder itself
        if raw and place:
            try:
                return Installed(metadata=parse_metadata(raw.encode(), subject=str(place)), path=str(place))
            except InvalidMetadata:
                continue  # as good as not installed: what it needs can't be known
    return None


def modules_of(project: str, place: str) -> tuple[str, ...]:
    """Return the modules that *project*, installed with its dist-info at *place*, may stand for."""
    choices = choose_module(project, find_modules(_files_of(Distribution.at(place))))
    return choices or (project.replace("-", "_"),)  # an editable one lists no modules


def scripts_of(place: str) -> dict[str, str]:
    """Return the console scripts of the distribution with its dist-info at *place*."""
    groups = ("console_scripts", "gui_scripts")
    found = Distribution.at(place).entry_points
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
