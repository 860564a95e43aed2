"""One function for each reader: takes any bytes, and raises only where a reader does what it must not."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from packaging.utils import canonicalize_name

from fixtures.hostile import METADATA, Part, good, packed
from remote_wheel.errors import RemoteWheelError
from remote_wheel.index.page import parse_page
from remote_wheel.index.target import target_of_this_machine
from remote_wheel.resolution.pylock import parse_pylock
from remote_wheel.settings import Limits, merge_settings, options_of_table
from remote_wheel.spec.metadata import dump_metadata, load_metadata, parse_metadata
from remote_wheel.spec.requirement import parse_requirement
from remote_wheel.spec.requirements_file import parse_requirements_file
from remote_wheel.spec.script import parse_script
from remote_wheel.spec.source import is_source, parse_source, redact, without_secrets
from remote_wheel.toml import load_toml
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.tar import TarArchive
from remote_wheel.verify.wheel import verify_wheel

LIMITS: Final = Limits(unpacked_bytes=1 << 24, member_bytes=1 << 22, members=1000, source_bytes=1 << 24)
_TARGET = target_of_this_machine()


def archive(data: bytes) -> None:
    """What our reader accepts, zipfile reads alike: the same names, the same contents."""
    try:
        ours = Archive(data, subject="x", limits=LIMITS)
        contents = {name: ours.read(name) for name in ours.members}
    except RemoteWheelError:
        return
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        assert sorted(theirs.namelist()) == sorted(contents)
        assert {name: theirs.read(name) for name in theirs.namelist()} == contents


def tar(data: bytes) -> None:
    """What our reader accepts, tarfile reads alike: the same names, the same contents."""
    try:
        ours = TarArchive(data, subject="x", limits=LIMITS)
    except RemoteWheelError:
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as theirs:
        members = {_name_of(member): member for member in theirs.getmembers()}
        members.pop("./", None)
        assert sorted(members) == sorted(ours.members)
        for name, member in ours.members.items():
            if member.is_link:
                assert members[name].issym()
            elif not name.endswith("/"):
                contents = theirs.extractfile(members[name])
                assert contents is not None
                assert contents.read() == ours.read(name)


def _name_of(member: tarfile.TarInfo) -> str:
    name = f"{member.name}/" if member.isdir() else member.name
    return name.removeprefix("./") or "./"


def wheel(data: bytes) -> None:
    """What is verified has every file that it says, by its name."""
    try:
        verified = verify_wheel(data, filename="evil-1.0-py3-none-any.whl", sha256="0" * 64, limits=LIMITS)
    except RemoteWheelError:
        return
    assert all(len(verified.read(path)) == verified.size_of(path) for path in verified.files)


def record(data: bytes) -> None:
    """Any RECORD in a right wheel."""
    wheel(packed(good(record=data)))


def metadata(data: bytes) -> None:
    """What is read is kept and read again as it was."""
    try:
        read = parse_metadata(data, subject="x")
    except RemoteWheelError:
        return
    assert load_metadata(dump_metadata(read)) == read


def page(data: bytes) -> None:
    """Both kinds of page; every file of it has a URL with a scheme."""
    for content_type in ("application/vnd.pypi.simple.v1+json", "text/html", "text/html; charset=x", ""):
        try:
            found = parse_page(
                data, content_type, url="https://index.example/simple/x/", project=canonicalize_name("x"), index="i"
            )
        except RemoteWheelError:
            continue
        assert all(":" in file.url for file in found.files)


def lock(data: bytes) -> None:
    """A lock file is a plan with hashes, or is refused."""
    try:
        plan = parse_pylock(data.decode("utf-8", "replace"), _TARGET, shown="x", locate=lambda path: path)
    except RemoteWheelError:
        return
    assert all(pin.digests or pin.commit for pin in plan.pins)


def requirements(data: bytes) -> None:
    """Requirements files are read, or refused by line."""
    try:
        parse_requirements_file("r.txt", lambda _: data.decode("utf-8", "replace"), lambda _, named: named, {})
    except (RemoteWheelError, RecursionError):  # a file that includes itself is read once; this one is always another
        return


def requirement(data: bytes) -> None:
    """A requirement is read, whatever its marker holds, or refused."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(RemoteWheelError):
        parse_requirement(text)
    with suppress(RemoteWheelError):
        if is_source(text):
            parse_source(text)
    redact(text)
    without_secrets(text)


def script(data: bytes) -> None:
    """The block of a script is read by uv's meaning, or refused."""
    with suppress(RemoteWheelError):
        parse_script(data.decode("utf-8", "replace"), "/x/s.py", _TARGET.environment)


def settings_table(data: bytes) -> None:
    """A table of settings is read, or refused by its option."""
    try:
        table = load_toml(data.decode("utf-8", "replace"))
    except ValueError:
        return
    with suppress(RemoteWheelError):
        merge_settings({}, {}, {name: (value, "f") for name, value in options_of_table(table, "f").items()})


def _tar_seed() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        entry = tarfile.TarInfo("x/__init__.py")
        entry.size = 2
        made.addfile(entry, io.BytesIO(b"x\n"))
    return out.getvalue()


_FILE = {"filename": "x-1-py3-none-any.whl", "url": "x-1-py3-none-any.whl", "hashes": {"sha256": "0" * 64}, "size": 1}
_LOCK = f"""lock-version = "1.0"
created-by = "x"
[[packages]]
name = "x"
version = "1"
[[packages.wheels]]
url = "https://index.example/x-1-py3-none-any.whl"
hashes = {{ sha256 = "{"0" * 64}" }}
"""
_SCRIPT = """dependencies = ["x>=1", "y; sys_platform == 'none'", "z"]
requires-python = ">=3.8"
[tool.uv]
exclude-newer = 2026-01-01
constraint-dependencies = ["x<9"]
[tool.uv.sources]
y = { index = "ours" }
z = [{ url = "https://index.example/z-1-py3-none-any.whl", marker = "os_name == 'nt'" }]
x = { git = "https://git.example/x.git", tag = "1" }
[[tool.uv.index]]
name = "ours"
url = "https://index.example/simple/"
explicit = true
"""
_SETTINGS = """index-url = "https://index.example/"
allowed-hosts = ["a.example"]
timeout-s = 5.0
offline = "auto"
max-cache-size = "2GB"
"""
# reader → what it should read; the fuzzers change these
TARGETS: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "archive": (
        archive,
        (
            packed(good()),
            packed(good(Part(b"evil/x.py", b"x" * 500, method=8), Part(b"evil/sub/"), Part(b"d/", b"", 8))),
        ),
    ),
    "tar": (tar, (_tar_seed(),)),
    "wheel": (wheel, (packed(good()),)),
    "record": (record, (good()[-1].data,)),
    "metadata": (metadata, (METADATA + b"Requires-Dist: x>=1; extra == 'y'\nProvides-Extra: y\n\nText\n",)),
    "page": (
        page,
        (
            json.dumps({"meta": {"api-version": "1.1"}, "name": "x", "files": [_FILE]}).encode(),
            b'<!DOCTYPE html><html><body><a href="x-1-py3-none-any.whl#sha256=00" data-yanked="">x-1</a></body></html>',
        ),
    ),
    "lock": (lock, (_LOCK.encode(),)),
    "requirements": (requirements, (b"x>=1 --hash=sha256:00\n-c c.txt\n--index-url https://index.example\n",)),
    "requirement": (
        requirement,
        (b"x[y]>=1,<2; (os_name == 'nt' or 'a' in extra) and python_version < '4'", b"x @ https://u:p@a.example:1/x#a"),
    ),
    "script": (script, (_SCRIPT.encode(),)),
    "settings": (settings_table, (_SETTINGS.encode(),)),
}
