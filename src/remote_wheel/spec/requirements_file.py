"""Requirements files as pip documents them (Requirements File Format), but for what only builds need."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from remote_wheel.errors import UsageError
from remote_wheel.spec.digest import STRONG

_VARIABLE: Final = r"\$\{([A-Z0-9_]+)\}"
_HASH: Final = r"\s--hash[= ]\s*(\w+):([0-9a-fA-F]+)"
# As pip spells them → the option of ours, and whether it has a value.
_OPTIONS: Final[Mapping[str, tuple[str, bool]]] = {
    "-i": ("index_url", True),
    "--index-url": ("index_url", True),
    "--extra-index-url": ("extra_index_urls", True),
    "-f": ("find_links", True),
    "--find-links": ("find_links", True),
    "--no-index": ("no_index", False),
    "--pre": ("pre", False),
    "--require-hashes": ("require_hashes", False),
}
_NESTED: Final = {
    "-r": "requirements",
    "--requirement": "requirements",
    "-c": "constraints",
    "--constraint": "constraints",
}
_WITHOUT_MEANING: Final = ("--prefer-binary", "--only-binary", "--use-feature")  # wheels are all we take


class RequirementsFile:
    """What a file and those that it names ask for; `options` are by our names, `hashes` by requirement."""

    def __init__(self) -> None:
        self.requirements: list[str] = []
        self.constraints: list[str] = []
        self.places: dict[str, str] = {}  # requirement or constraint → "file, line n"
        self.hashes: dict[str, frozenset[str]] = {}  # requirement → "algorithm:hex"
        self.options: dict[str, list[str]] = {}
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
        option, value = _split(line)
        if option in _NESTED:
            target = found.constraints if _NESTED[option] == "constraints" else into
            _read(join(path, value), target, found, read, join, environ)
        elif option in _OPTIONS:
            name, has_value = _OPTIONS[option]
            if name == "find_links" or name.startswith(("index", "extra_index")):
                value = value if ":" in value[2:] else join(path, value)  # pip, too, means a folder beside the file
            found.options.setdefault(name, []).append(value if has_value else "")
        elif option == "--no-binary":
            raise _refusal(path, number, "--no-binary asks for a build, and nothing is ever built")
        elif option in ("-e", "--editable"):
            raise _refusal(path, number, "editable projects can't be mounted; add their folder to PYTHONPATH")
        elif option and option not in _WITHOUT_MEANING:
            raise _refusal(path, number, f"the option {option} is not known")
        elif not option:
            requirement = _with_hashes(line, path, number, found)
            found.places[requirement] = f"{path}, line {number}"
            into.append(requirement)


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


def _split(line: str) -> tuple[str, str]:
    """Return (option, value) of a line that starts with one, ("", line) of a requirement."""
    if not line.startswith("-"):
        return "", line
    if line.startswith("--"):
        option, _, value = line.replace("=", " ", 1).partition(" ")
    else:  # -rother.txt is as good as -r other.txt
        option, value = line[:2], line[2:].removeprefix("=")
    return option, value.strip().strip("\"'")


def _with_hashes(line: str, path: str, number: int, found: RequirementsFile) -> str:
    hashes = frozenset(f"{algorithm.lower()}:{digest.lower()}" for algorithm, digest in re.findall(_HASH, line))
    requirement = re.sub(_HASH, "", line).strip()
    if " --" in requirement:
        option = requirement.partition(" --")[2].partition(" ")[0]
        raise _refusal(path, number, f"the option --{option} is not known")
    if hashes:
        if not any(each.partition(":")[0] in STRONG for each in hashes):
            raise _refusal(path, number, "its hashes are weaker than SHA-256")
        found.hashes[requirement] = hashes
    return requirement


def _refusal(path: str, number: int, reason: str) -> UsageError:
    return UsageError(message=f"{path}, line {number}: {reason}")
