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


def settle(entries: Sequence[dict[str, Any]], allowed: Collection[str]) -> Iterator[str]:
    """Leave each top-level module of *entries* (of a boot record, in its order) to whom it belongs; yield what is odd.

    A module that has a project's name is that project's, where that is mounted, too; a name of the standard library is
    nobody's. *allowed* are modules of which the first wheel that has them wins, whoever that is.
    """
    owners: dict[str, dict[str, Any]] = {canonicalize_name(entry["name"]): entry for entry in entries}
    owners.pop("", None)  # single modules are of no project
    for entry in entries:
        shown = f"{entry['name'] or entry['filename']} {entry['version']}".rstrip()
        shadowed = tuple(name for name in entry["protected"] if name in allowed)
        entry["tops"] = (*entry["tops"], *shadowed)
        if shadowed:
            entry["shadows"] = shadowed
        for name in entry["tops"]:
            project, known = canonicalize_name(name), _WELL_KNOWN.get(name, ())
            owner = owners.get(project) or next((owners[each] for each in known if each in owners), None)
            if name in allowed or owner is entry:
                continue
            if owner and name in owner["tops"]:
                entry["tops"] = tuple(top for top in entry["tops"] if top != name)
                yield f"{shown} has a module {name!r}, which is {owner['name']}'s: it is not used (allow_shadow)"
            elif known and canonicalize_name(entry["name"]) not in known:
                yield f"{shown} has a module {name!r}, as {known[0]} has: is it what you think it is?"
        for path, what in entry["problems"][:_SHOWN]:
            yield f"{shown} does not match its RECORD, and verify='names' lets it pass: {path}: {what}"
        if len(entry["problems"]) > _SHOWN:
            yield f"{shown}: and {len(entry['problems']) - _SHOWN} more files like these"


_SHOWN: Final = 5
