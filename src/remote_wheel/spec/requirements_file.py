"""Requirements files as pip documents them (Requirements File Format), but for what only builds need."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from packaging.utils import canonicalize_name

from remote_wheel.errors import UsageError
from remote_wheel.spec.digest import STRONG
from remote_wheel.spec.source import redact_text

_VARIABLE: Final = r"\$\{([A-Z0-9_]+)\}"
_HASH: Final = re.compile(r"(\w+):([0-9a-fA-F]+)")
# As pip spells them → the option of ours, and whether it has a value.
_OPTIONS: Final[Mapping[str, tuple[str, bool]]] = {
    "-i": ("index_url", True),
    "--index-url": ("index_url", True),
    "--pypi-url": ("index_url", True),
    "--extra-index-url": ("extra_index_urls", True),
    "-f": ("find_links", True),
    "--find-links": ("find_links", True),
    "--trusted-host": ("allow_insecure", True),
    "--no-index": ("no_index", False),
    "--pre": ("pre", False),
    "--require-hashes": ("require_hashes", False),
}
_PLACES: Final = ("index_url", "extra_index_urls", "find_links")  # options that name places
_NESTED: Final = {
    "-r": "requirements",
    "--requirement": "requirements",
    "-c": "constraints",
    "--constraint": "constraints",
}
# Of builds, or without meaning where wheels are all we take → whether it has a value.
_WITHOUT_MEANING: Final = {"--prefer-binary": False, "--use-feature": True}
_OF_BUILDS: Final = {"--config-settings": True, "--config-setting": True, "-C": True, "--global-option": True}
_BINARY: Final = ("--no-binary", "--only-binary")


class RequirementsFile:
    """What a file and those that it names ask for; `options` are by our names, `hashes` by requirement."""

    def __init__(self) -> None:
        self.requirements: list[str] = []
        self.constraints: list[str] = []
        self.places: dict[str, str] = {}  # requirement or constraint → "file, line n"
        self.hashes: dict[str, frozenset[str]] = {}  # requirement → "algorithm:hex"
        self.options: dict[str, list[str]] = {}
        self.no_binary: set[str] = set()  # projects of which no wheel is to be taken, or ":all:"
        self.only_binary: set[str] = set()  # those of which nothing else is: the later word counts
        self.files: list[str] = []  # all that were read


def parse_requirements_file(
    path: str, read: Callable[[str], str], join: Callable[[str, str], str], environ: Mapping[str, str]
) -> RequirementsFile:
    """Read the requirements file at *path* and the files that it names.

    *read* returns a file's text, *join* the normal path of a file that another one names. Raises UsageError for a
    line that can't be honoured.
    """
    found = RequirementsFile()
    _read(path, found.requirements, found, read, join, environ)
    return found


def _read(
    path: str,
    into: list[str],
    found: RequirementsFile,
    read: Callable[[str], str],
    join: Callable[[str, str], str],
    environ: Mapping[str, str],
) -> None:
    if path in found.files:  # files may name each other
        return
    found.files.append(path)
    for number, line in _lines(read(path), environ):
        requirement, words = _split(line, path, number)
        if requirement:
            requirement = _with_hashes(requirement, words, path, number, found)
            found.places[requirement] = f"{redact_text(path)}, line {number}"
            into.append(requirement)
            continue
        for option, value in _options(words, path, number):
            if option in _NESTED:
                target = found.constraints if _NESTED[option] == "constraints" else into
                _read(join(path, value), target, found, read, join, environ)
            else:
                _take_option(option, value, path, number, found, join)


def _take_option(
    option: str, value: str, path: str, number: int, found: RequirementsFile, join: Callable[[str, str], str]
) -> None:
    if option in _OPTIONS:
        name, has_value = _OPTIONS[option]
        if name == "allow_insecure" and "://" in path:
            raise _refusal(path, number, "a file from elsewhere may not say which hosts are to be trusted")
        if name in _PLACES:
            value = value if ":" in value[2:] else join(path, value)  # pip, too, means a folder beside the file
        found.options.setdefault(name, []).append(value if has_value else "")
    elif option in _BINARY:
        own, other = found.no_binary, found.only_binary
        _take_binary(value, *((own, other) if option == _BINARY[0] else (other, own)))
    elif option in ("-e", "--editable"):
        raise _refusal(path, number, "editable projects can't be mounted; add their folder to PYTHONPATH")
    elif option not in _WITHOUT_MEANING:
        raise _refusal(path, number, f"the option {option} is not known")


def _take_binary(value: str, into: set[str], out_of: set[str]) -> None:
    """Take the projects of --no-binary or --only-binary, as pip does: the other one's no longer count."""
    for text in value.split(","):
        project = text.strip() if text.strip().startswith(":") else canonicalize_name(text.strip())
        if project == ":none:":
            into.clear()
        elif project == ":all:":
            out_of.clear()
            into.clear()
            into.add(project)
        else:
            into.add(project)
            out_of.discard(project)


def _lines(text: str, environ: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of the lines that say something: joined at backslashes, without comments, variables set."""
    whole, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            whole += line[:-1] + " "
            continue
        said = _without_comment(whole + line)
        if said:
            yield start, re.sub(_VARIABLE, lambda match: environ.get(match[1], match[0]), said)
        whole, start = "", 0
    if whole.strip():
        yield start, whole.strip()


def _without_comment(line: str) -> str:
    """Return a line up to a "#" that begins it or follows a space, stripped."""
    at = line.find("#")
    while at > 0 and not line[at - 1].isspace():
        at = line.find("#", at + 1)
    return (line if at < 0 else line[:at]).strip()


def _split(line: str, path: str, number: int) -> tuple[str, list[str]]:
    """Return what a line requires, empty where it has options alone, and the words of its options, as pip does."""
    at = 0 if line.startswith("-") else len(line)
    for found in re.finditer(r"\s-", line):
        at = min(at, found.end() - 1)
        break
    try:
        return line[:at].strip(), shlex.split(line[at:])
    except ValueError as error:  # a quotation without an end
        raise _refusal(path, number, f"its options can't be read ({error})") from error


def _options(words: list[str], path: str, number: int) -> Iterator[tuple[str, str]]:
    """Yield (option, value) of a line's words; a value may be behind a space, "=", or a short option itself."""
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        takes = _OPTIONS[option][1] if option in _OPTIONS else {**_WITHOUT_MEANING, **_OF_BUILDS}.get(option)
        if takes is None:
            takes = option in _NESTED or option in (*_BINARY, "--hash", "-e", "--editable")
        if not word.startswith("-"):
            raise _refusal(path, number, f"{word!r} belongs to no option")
        if not equals and takes:
            value = next(rest, "")
            if not value:
                raise _refusal(path, number, f"the option {option} lacks its value")
        elif equals and not takes and option in _OPTIONS:
            raise _refusal(path, number, f"the option {option} has no value")
        yield option, value.removeprefix("=") if not word.startswith("--") else value


def _with_hashes(requirement: str, words: list[str], path: str, number: int, found: RequirementsFile) -> str:
    hashes = set()
    for option, value in _options(words, path, number):
        if option in _OF_BUILDS:
            continue
        stated = _HASH.fullmatch(value) if option == "--hash" else None
        if stated is None:
            what = f"{value!r} is no hash" if option == "--hash" else f"the option {option} is not known"
            raise _refusal(path, number, what)
        hashes.add(f"{stated[1].lower()}:{stated[2].lower()}")
    if hashes:
        if not any(each.partition(":")[0] in STRONG for each in hashes):
            raise _refusal(path, number, "its hashes are weaker than SHA-256")
        found.hashes[requirement] = frozenset(hashes)
    return requirement


def _refusal(path: str, number: int, reason: str) -> UsageError:
    return UsageError(message=f"{redact_text(path)}, line {number}: {redact_text(reason)}")
