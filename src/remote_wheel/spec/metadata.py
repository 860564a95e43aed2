"""Core metadata of a distribution: the fields that planning and mounting need, strictly read."""

import marshal
from typing import Final, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from remote_wheel.errors import InvalidMetadata
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.version import check_versions, parse_version

_FIELDS: Final = frozenset(
    (b"metadata-version", b"name", b"version", b"requires-dist", b"requires-python", b"provides-extra")
)
METADATA_FORMAT: Final = 4  # to be raised with any change of what dump_metadata writes, or of what is read


class CoreMetadata(NamedTuple):
    """What a METADATA file (core metadata specification) says about one distribution.

    `requires_python` is a specifier set as normalised text, empty where every Python will do.
    """

    name: NormalizedName
    version: Version
    requires: tuple[Dependency, ...] = ()
    requires_python: str = ""
    extras: frozenset[NormalizedName] = frozenset()


def parse_metadata(data: bytes, *, subject: str) -> CoreMetadata:
    """Parse a METADATA file; raise InvalidMetadata, naming *subject*, where a needed field can't be read."""
    from packaging.metadata import parse_email  # the email package is much to import, and kept metadata needs none

    raw, _unparsed = parse_email(_wanted_headers(data))
    if "name" not in raw or "version" not in raw:
        raise InvalidMetadata(subject=subject, reason="it states no Name or no Version")
    try:
        return CoreMetadata(
            name=canonicalize_name(raw["name"]),
            version=parse_version(raw["version"]),
            requires=tuple(Dependency.parse(text) for text in raw.get("requires_dist", ())),
            requires_python=_python_of(raw.get("requires_python", "")),
            extras=frozenset(canonicalize_name(extra) for extra in raw.get("provides_extra", ())),
        )
    except ValueError as error:  # InvalidVersion, InvalidRequirement, and numbers too long for Python
        raise InvalidMetadata(subject=subject, reason=str(error).splitlines()[0]) from error


def _wanted_headers(data: bytes) -> bytes:
    """Return the lines of a METADATA file that have a field which is read, with those that go on with it (RFC 5322).

    A file may have as many different fields as it has lines, and packaging looks through all for each of them.
    """
    wanted: list[bytes] = []
    is_wanted = False
    for line in data.splitlines(keepends=True):
        if line[:1] in (b" ", b"\t"):
            if is_wanted:
                wanted.append(line)
            continue
        name, colon, _ = line.partition(b":")
        if not colon or not name.strip():  # the description, or no header any more, as email.parser has it
            break
        is_wanted = name.lower() in _FIELDS
        if is_wanted:
            wanted.append(line)
    return b"".join(wanted)


def _python_of(text: str) -> str:
    """Return a Requires-Python, normalised; one that can't be read (``>=3.5.*``) counts as none, as in pip."""
    try:
        specifiers = SpecifierSet(text)
        check_versions(specifiers)
    except ValueError:  # InvalidSpecifier, and numbers too long for Python
        return ""
    return str(specifiers)


def dump_metadata(metadata: CoreMetadata) -> bytes:
    """Return the metadata as bytes for load_metadata: what was parsed once need not be parsed again."""
    requires = [tuple(each) for each in metadata.requires]
    values = (metadata.name, str(metadata.version), requires, metadata.requires_python, sorted(metadata.extras))
    return marshal.dumps(values, 4)


def load_metadata(data: bytes) -> CoreMetadata:
    """Return what dump_metadata was given; *data* has to be exactly what it returned."""
    name, version, requires, requires_python, extras = marshal.loads(data)  # noqa: S302  # the caller checked it
    return CoreMetadata(
        name=name,
        version=parse_version(version),
        requires=tuple(map(Dependency._make, requires)),
        requires_python=requires_python,
        extras=frozenset(extras),
    )


def check_identity(metadata: CoreMetadata, name: NormalizedName, version: Version, *, subject: str) -> None:
    """Raise InvalidMetadata unless *metadata* is of the project and version that led to it."""
    if metadata.name != name or metadata.version != version:
        raise InvalidMetadata(
            subject=subject,
            reason=f"it says {metadata.name} {metadata.version} where {name} {version} was expected",
        )
