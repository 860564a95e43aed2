"""Whose a top-level module is: what a wheel has of a project that it needs, or of one that everybody knows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from packaging.utils import canonicalize_name

# Modules that attackers imitate most, being in most environments, and the projects that may have them.
_WELL_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    **{
        name: (name.replace("_", "-"),)
        for name in (
            "aiohttp anyio boto3 botocore certifi cffi charset_normalizer click colorama cryptography django"
            " fastapi flask httpx idna jinja2 jsonschema keras kubernetes lxml markupsafe"
            " matplotlib networkx numpy openai packaging pandas paramiko pip platformdirs pluggy polars psutil"
            " pyarrow pydantic pydantic_core pygments pymongo pytest redis requests rich s3transfer scipy selenium"
            " setuptools sqlalchemy starlette sympy tomli torch tqdm transformers typing_extensions tzdata urllib3"
            " uvicorn virtualenv websockets wheel xgboost"
        ).split()
    },
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless"),
    "dateutil": ("python-dateutil",),
    "dotenv": ("python-dotenv",),
    "OpenSSL": ("pyopenssl",),
    "PIL": ("pillow",),
    "sklearn": ("scikit-learn",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel"),
    "yaml": ("pyyaml",),
}


def settle(
    entries: Sequence[dict[str, Any]], allowed: Collection[str], installed: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Leave each top-level module of *entries* (of a boot record, in its order) to whom it belongs; yield what is odd.

    A module is the project's that has its name or, where one has it as its only public one, that one's, if that is
    mounted or *installed* (module → project), too; a name of the standard library is nobody's. *allowed* are modules of
    which the first wheel that has them wins, whoever that is.
    """
    owners = _owners(entries)
    first: dict[str, str] = {}  # by module: the entry that imports find
    for entry in entries:
        shown = f"{entry['name'] or entry['filename']} {entry['version']}".rstrip()
        shadowed = tuple(name for name in entry["protected"] if name in allowed and name != "remote_wheel")
        entry["tops"] = (*entry["tops"], *shadowed)
        if shadowed or allowed:
            entry["shadows"] = (*shadowed, *(name for name in entry["tops"] if name in allowed))
        for name in (*entry["tops"], *entry["namespaces"]):
            known = _WELL_KNOWN.get(name, ())
            owner, is_top = owners.get(name), name in entry["tops"]
            theirs = owner["name"] if owner else (installed or {}).get(name, "")
            if name in allowed:
                continue
            is_theirs = bool(theirs) and owner is not entry and theirs != entry["name"]
            if is_theirs and is_top:
                entry["tops"] = tuple(top for top in entry["tops"] if top != name)
                entry["hidden"] = (*entry.get("hidden", ()), name)
                yield f"{shown} has a module {name!r}, which is {theirs}'s: it is not used (allow_shadow)"
            elif is_theirs:
                yield f"{shown} adds to the package {name!r}, which is {theirs}'s"
            elif known and canonicalize_name(entry["name"]) not in known:
                yield f"{shown} has a module {name!r}, as {known[0]} has: is it what you think it is?"
        for name in entry["tops"]:
            if name in first and name not in _OF_NO_USE and name not in allowed:
                yield f"{shown} and {first[name]} both have the module {name!r}: that of {first[name]} is used"
            first.setdefault(name, shown)
        for path, what in entry["problems"][:_SHOWN]:
            yield f"{shown} does not match its RECORD, and verify='names' lets it pass: {path}: {what}"
        if len(entry["problems"]) > _SHOWN:
            yield f"{shown}: and {len(entry['problems']) - _SHOWN} more files like these"


def _owners(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by top-level module whose it is, as far as that is clear."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if len(entry["choices"]) == 1 and entry["name"] and entry["choices"][0] in entry["tops"]:
            found.setdefault(entry["choices"][0], entry)
    for entry in entries:  # its name says more than that it has nothing else
        for name in entry["tops"]:
            own = canonicalize_name(entry["name"])
            if own and (canonicalize_name(name) == own or own in _WELL_KNOWN.get(name, ())):
                found[name] = entry
    return found


_SHOWN: Final = 5
# Top-level folders that many projects ship by mistake, and nobody imports.
_OF_NO_USE: Final = frozenset(("benchmarks", "doc", "docs", "examples", "scripts", "test", "tests", "tools"))
