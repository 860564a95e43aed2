"""A bundle: a folder that is a simple index, the files behind it, and a lock, for a machine without a network.

Any static server, and any tool that reads an index in a folder or a flat folder of files, can use it.
"""

import hashlib
import html
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from packaging.utils import canonicalize_name, parse_wheel_filename

from remote_wheel.api.request import BUNDLED_FILES
from remote_wheel.errors import StoreError, UsageError

LOCK: Final = "pylock.toml"
_README: Final = """\
# Wheels for use without a network

Made for: {environment}. Required: {requirements}.

- `files`: the wheels, and the METADATA of each beside it
- `simple`: a simple index of them, as HTML (PEP 503) and JSON (PEP 691), for any static web server or as it is
- `pylock.toml`: the lock (PEP 751), with the hash of each wheel

```
remote-wheel run --lock pylock.toml SCRIPT
remote-wheel run --no-index --find-links files --with REQUIREMENT SCRIPT
pip install --no-index --find-links files REQUIREMENT
pip install --index-url file://PATH-OF-THIS-FOLDER/simple REQUIREMENT
uv pip sync pylock.toml
uv pip install --no-index --find-links files REQUIREMENT
```
"""


class BundledFile(NamedTuple):
    """A wheel to bundle: where it is, and what an index says of it."""

    project: str
    filename: str
    path: str
    sha256: str
    size_bytes: int
    requires_python: str
    metadata: str

    @property
    def metadata_sha256(self) -> str:
        """The SHA-256 of its METADATA (PEP 658)."""
        return hashlib.sha256(self.raw_metadata).hexdigest()

    @property
    def raw_metadata(self) -> bytes:
        """Its METADATA as it is in the wheel, whatever its encoding."""
        return self.metadata.encode("utf-8", "surrogateescape")


def write_bundle(
    folder: Path, files: Sequence[BundledFile], lock: str, *, requirements: Iterable[str], environment: str
) -> None:
    """Write the bundle to *folder*, which must not be there or be empty: whole or not at all.

    Raises UsageError where something is there, or can't be written; StoreError where a file changed meanwhile.
    """
    check_is_new(folder)
    staging = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir(parents=True)
        try:
            _write_files(staging / BUNDLED_FILES, files)
            _write_index(staging / "simple", files)
            text = _README.format(environment=environment, requirements=", ".join(requirements) or "what a lock has")
            (staging / "README.md").write_text(text, encoding="utf-8", newline="\n")
            (staging / LOCK).write_text(lock, encoding="utf-8", newline="\n")
            if folder.is_dir():
                folder.rmdir()
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UsageError(message=f"{str(folder)!r} can't be written: {error.strerror or error}") from error


def check_is_new(folder: Path) -> None:
    """Raise UsageError unless the bundle may be written there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(message=f"{str(folder)!r} is there and not empty", way_out="Name a new folder.")


def _write_files(folder: Path, files: Sequence[BundledFile]) -> None:
    folder.mkdir()
    for file in files:
        shutil.copyfile(file.path, folder / file.filename)
        with (folder / file.filename).open("rb") as copied:
            if hashlib.file_digest(copied, "sha256").hexdigest() != file.sha256:
                raise StoreError(path=file.path, reason="it changed while it was copied")
        (folder / f"{file.filename}.metadata").write_bytes(file.raw_metadata)


def _write_index(folder: Path, files: Sequence[BundledFile]) -> None:
    by_project: dict[str, list[BundledFile]] = {}
    for file in files:
        by_project.setdefault(canonicalize_name(file.project), []).append(file)
    for project, own in by_project.items():
        (folder / project).mkdir(parents=True)
        links = "\n".join(f"<a{_attributes(file)}>{html.escape(file.filename)}</a><br>" for file in own)
        versions = sorted({parse_wheel_filename(file.filename)[1] for file in own})
        values = {"name": project, "versions": list(map(str, versions)), "files": [_entry(file) for file in own]}
        _write_page(folder / project, project, links, values)
    links = "\n".join(f'<a href="{project}/">{project}</a><br>' for project in sorted(by_project))
    _write_page(folder, "Simple index", links, {"projects": [{"name": project} for project in sorted(by_project)]})


def _write_page(folder: Path, title: str, links: str, values: Mapping[str, Any]) -> None:
    head = f'<meta charset="utf-8"><meta name="pypi:repository-version" content="1.1"><title>{title}</title>'
    page = f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{links}\n</body></html>\n"
    (folder / "index.html").write_text(page, encoding="utf-8", newline="\n")
    text = json.dumps({"meta": {"api-version": "1.1"}, **values}, indent=1)
    (folder / "index.json").write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _attributes(file: BundledFile) -> str:
    needs = f' data-requires-python="{html.escape(file.requires_python)}"' if file.requires_python else ""
    digest = f"sha256={file.metadata_sha256}"
    metadata = f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"'
    return f' href="{html.escape(_url(file))}#sha256={file.sha256}"{needs}{metadata}'


def _entry(file: BundledFile) -> dict[str, Any]:
    digest = {"sha256": file.metadata_sha256}
    return {
        "filename": file.filename,
        "url": _url(file),
        "hashes": {"sha256": file.sha256},
        "size": file.size_bytes,
        "core-metadata": digest,
        "dist-info-metadata": digest,
        **({"requires-python": file.requires_python} if file.requires_python else {}),
    }


def _url(file: BundledFile) -> str:
    return f"../../{BUNDLED_FILES}/{quote(file.filename)}"
