"""Core metadata of a distribution: the fields that planning and mounting need, strictly read."""

import marshal
from typing import Final, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from remote_wheel.errors import InvalidMetadata
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.mending import mend, mend_specifier
from remote_wheel.spec.version import check_versions, parse_version

_FIELDS: Final = frozenset(
    (b"metadata-version", b"name", b"version", b"requires-dist", b"requires-python", b"provides-extra")
)
_SHOWN: Final = 80  # characters of a requirement that a note has
METADATA_FORMAT: Final = 5  # to be raised with any change of what dump_metadata writes, or of what is read


class CoreMetadata(NamedTuple):
    """What a METADATA file (core metadata specification) says about one distribution.

    `requires_python` is a specifier set as normalised text, empty where every Python will do.
    """

    name: NormalizedName
    version: Version
    requires: tuple[Dependency, ...] = ()
    requires_python: str = ""
    extras: frozenset[NormalizedName] = frozenset()
    oddities: tuple[str, ...] = ()  # what is wrong with it, and was read as what it was meant to say


def parse_metadata(data: bytes, *, subject: str) -> CoreMetadata:
    """Parse a METADATA file; raise InvalidMetadata, naming *subject*, where a needed field can't be read."""
    from packaging.metadata import parse_email  # the email package is much to import, and kept metadata needs none

    raw, _unparsed = parse_email(_wanted_headers(data))
    if "name" not in raw or "version" not in raw:
        raise InvalidMetadata(subject=subject, reason="it states no Name or no Version")
    oddities: list[str] = []
    if raw.get("metadata_version", "1").partition(".")[0] not in ("1", "2"):
        # Core metadata: tools "MUST fail if metadata_version has a greater major version" than they know.
        reason = f"its Metadata-Version is {raw['metadata_version'][:20]}, and 2.x is the newest that is known"
        raise InvalidMetadata(subject=subject, reason=reason)
    try:
        return CoreMetadata(
            name=canonicalize_name(raw["name"].strip()),
            version=parse_version(raw["version"]),
            requires=tuple(_dependency_of(text, oddities) for text in raw.get("requires_dist", ())),
            requires_python=_python_of(raw.get("requires_python", ""), oddities),
            extras=frozenset(canonicalize_name(extra) for extra in raw.get("provides_extra", ())),
        )._replace(oddities=tuple(oddities))
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


def _dependency_of(text: str, oddities: list[str]) -> Dependency:
    """Return a Requires-Dist; one that only breaks the rules is mended, and told."""
    mended = mend(text)
    try:
        found = Dependency.parse(mended if _has_old_marker(text, mended) else text)
    except ValueError:
        if mended == text:
            raise
        found = Dependency.parse(mended)
    if found.text != text and mended != text:
        oddities.append(f"it requires {text[:_SHOWN]!r}, which is read as {found.text[:_SHOWN]!r}")
    return found


def _has_old_marker(text: str, mended: str) -> bool:
    """Whether the marker was mended: it can be parsed as it was, and not evaluated."""
    return text.partition(";")[2] != mended.partition(";")[2]


def _python_of(text: str, oddities: list[str]) -> str:
    """Return a Requires-Python, normalised and mended; one that can't be read even so counts as none, as in pip."""
    for each in (text, mend_specifier(text)):
        try:
            specifiers = SpecifierSet(each)
            check_versions(specifiers)
        except ValueError:  # InvalidSpecifier, and numbers too long for Python
            continue
        if each != text:
            oddities.append(f"it requires Python {text[:_SHOWN]!r}, which is read as {str(specifiers)!r}")
        return str(specifiers)
    return ""


def dump_metadata(metadata: CoreMetadata) -> bytes:
    """Return the metadata as bytes for load_metadata: what was parsed once need not be parsed again."""
    requires = [tuple(each) for each in metadata.requires]
    facts = (metadata.name, str(metadata.version), requires, metadata.requires_python, sorted(metadata.extras))
    return marshal.dumps((*facts, list(metadata.oddities)), 4)


def load_metadata(data: bytes) -> CoreMetadata:
    """Return what dump_metadata was given; *data* has to be exactly what it returned."""
    name, version, requires, requires_python, extras, oddities = marshal.loads(data)  # noqa: S302  # the caller checked it
    return CoreMetadata(
        name=name,
        version=parse_version(version),
        requires=tuple(map(Dependency._make, requires)),
        requires_python=requires_python,
        extras=frozenset(extras),
        oddities=tuple(oddities),
    )


def check_identity(metadata: CoreMetadata, name: NormalizedName, version: Version, *, subject: str) -> None:
    """Raise InvalidMetadata unless *metadata* is of the project and version that led to it."""
    if metadata.name != name or metadata.version != version:
        raise InvalidMetadata(
            subject=subject,
            reason=f"it says {metadata.name} {metadata.version} where {name} {version} was expected",
        )
