"""Inputs that double, for every reader of text from elsewhere: none may take more than in proportion, or is bounded.

Each case is a reader and a function that makes an input of about so many letters, which once took it minutes, or might.
"""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from packaging.utils import canonicalize_name

from fixtures.hostile import METADATA, Part, good, packed
from remote_wheel.errors import RemoteWheelError
from remote_wheel.index.page import parse_page
from remote_wheel.settings import Limits
from remote_wheel.spec.cutoff import parse_moment
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.digest import malformed_digest, parse_fragment_digests
from remote_wheel.spec.metadata import parse_metadata
from remote_wheel.spec.requirement import applies, parse_requirement
from remote_wheel.spec.requirements_file import parse_requirements_file
from remote_wheel.spec.script import parse_script
from remote_wheel.spec.source import is_source, parse_source, redact, redact_text, split_extras, without_secrets
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.names import find_collisions, name_fault
from remote_wheel.verify.tar import TarArchive
from remote_wheel.verify.wheel import parse_filename, verify_wheel
from tests.fuzz import targets

Case = tuple[Callable[[Any], object], Callable[[int], Any]]
_PROJECT: Final = canonicalize_name("x")
_LIMITS: Final = Limits()


def _page(kind: str) -> Callable[[str], object]:
    return lambda text: parse_page(text.encode(), kind, url="https://index.example/simple/x/", project=_PROJECT)


def _metadata(text: str) -> object:
    return parse_metadata(METADATA + text.encode(), subject="x")


def _record(text: str) -> object:
    data = packed(good(record=text.encode()))
    return verify_wheel(data, filename="evil-1.0-py3-none-any.whl", sha256="0" * 64, limits=_LIMITS)


def _wheel_file(text: str) -> object:
    wheel = f"Wheel-Version: 1.0\n{text}\n".encode()
    parts = [replace(part, data=wheel) if part.name.endswith(b"WHEEL") else part for part in good()]
    return verify_wheel(packed(parts), filename="evil-1.0-py3-none-any.whl", sha256="0" * 64, limits=_LIMITS)


def _zip(data: bytes) -> object:
    return Archive(data, subject="x", limits=_LIMITS)


def _tar(data: bytes) -> object:
    return TarArchive(data, subject="x", limits=_LIMITS)


def _many_members(count: int) -> bytes:
    return packed([Part(f"d/{at}.py".encode(), b"") for at in range(count // 100)])


def _deep_members(count: int) -> bytes:
    names = ("/".join([f"d{at}", *["x"] * 60]) for at in range(count // 500))
    return packed([Part(f"{name}.py".encode(), b"") for name in names])


def _extras(count: int) -> bytes:
    """One member whose extra field has as many fields as there is room for."""
    fields = b"".join(struct.pack("<2H", 0x8000 + at % 0x7000, 0) for at in range(min(count // 4, 16000)))
    return packed([Part(b"x.py", b"", extra=fields)])


def _tar_of(block: bytes) -> Callable[[int], bytes]:
    return lambda count: block * (count // len(block))


def _script(text: str) -> object:
    return parse_script(text, "/x.py", targets._TARGET.environment)


def _requirements(text: str) -> object:
    return parse_requirements_file("r.txt", lambda _: text, lambda _, named: named, {})


def _applies(text: str) -> object:
    return applies(parse_requirement(text), targets._TARGET.environment)


def _collisions(names: list[str]) -> object:
    return list(find_collisions(names))


def _repeated(*pieces: str) -> Callable[[int], str]:
    """Return what makes *pieces*: a beginning, what is repeated, an end."""
    first, middle, last = pieces
    return lambda count: first + middle * max(1, (count - len(first) - len(last)) // len(middle)) + last


def _json(count: int, **entry: Any) -> str:
    files = [
        {"filename": f"x-{at}-py3-none-any.whl", "url": "x.whl", "hashes": {}, **entry} for at in range(count // 80)
    ]
    return json.dumps({"meta": {"api-version": "1.0"}, "name": "x", "files": files})


HTML, JSON = "text/html", "application/vnd.pypi.simple.v1+json"
CASES: Final[dict[str, Case]] = {
    **{
        f"html {middle!r}": (_page(HTML), _repeated(first, middle, last))
        for first, middle, last in (
            ("", "<a ", ""), ("", "<a x", ""), ("", "<!--", ""), ("", "<!", ""), ("", "<?", ""), ("", "</", ""),
            ("", "</a", ""), ("", "<a href='", ""), ("", '<a href="', ""), ("<a ", "b='", ""), ("<a ", "b= ", ""),
            ("<a ", " ", ""), ("<a ", "=", ""), ("<a ", "/", ">"), ("", "<script>", ""), ("<script>", "</script", ""),
            ("<script>", "<!--", ""), ("", "<title>", ""), ("", "&", ""), ("<a>", "&amp", "</a>"), ("", "<", ""),
            ("", "<a href=x.whl>", ""), ("", "<a href=x.whl>y</a>", ""), ("", "<![CDATA[", ""), ("", "<!DOCTYPE ", ""),
            ("<a href='x#", "sha256=1&", "'>"), ("<a href='", "../", "x.whl'>y</a>"), ("<a href='", "%41", "'>y</a>"),
        )
    },
    "json files": (_page(JSON), _json),
    "json urls": (_page(JSON), lambda count: _json(count, url="https://" + "a:b@" * 20 + "x/y.whl")),
    "json nested": (_page(JSON), _repeated("", "[", "")),
    "json numbers": (_page(JSON), _repeated("", "9", "")),
    "json text": (_page(JSON), _repeated('{"meta": "', "\\u0041", '"}')),
    "json unreadable": (_page(JSON), lambda count: _json(100, hashes={"sha256": "https://a:b@" * (count // 1200)})),
    "metadata distinct fields": (_metadata, lambda count: "".join(f"X-{at}: y\n" for at in range(count // 10))),
    "metadata one field": (_metadata, _repeated("", "Requires-Dist: x>=1\n", "")),
    "metadata folded": (_metadata, _repeated("Summary: x\n", "  y\n", "")),
    "metadata folded requirement": (_metadata, _repeated("Requires-Dist: x\n", "  \n", "")),
    "metadata extras": (_metadata, lambda count: "".join(f"Provides-Extra: x{at}\n" for at in range(count // 20))),
    "metadata description": (_metadata, _repeated("\n", "a: b\n", "")),
    "metadata encoded words": (_metadata, _repeated("Summary: ", "=?utf-8?q?x?= ", "\n")),
    "metadata version": (_metadata, _repeated("Requires-Dist: x==1", ".0", "\n")),
    "record": (_record, lambda count: "".join(f"evil/{at}.py,sha256=x,1\n" for at in range(count // 25))),
    "record quotes": (_record, _repeated("", '"', "")),
    "record commas": (_record, _repeated("", ",", "")),
    "wheel tags": (_wheel_file, _repeated("", "Tag: py3-none-any\n", "")),
    "wheel one tag": (_wheel_file, _repeated("Tag: py3", ".py3", "-none-any\n")),
    "requirement name": (parse_requirement, _repeated("", "a-", "b")),
    "requirement extras": (parse_requirement, _repeated("x[a", ",a", "]")),
    "requirement extras open": (parse_requirement, _repeated("x[", "a,", "")),
    "requirement clauses": (parse_requirement, _repeated("x", ">=1,", "<2")),
    "requirement spaces": (parse_requirement, _repeated("x", " ", "!")),
    "requirement version": (parse_requirement, _repeated("x==1", ".1", "!")),
    "requirement version letters": (parse_requirement, _repeated("x==1+", "a.", "!")),
    "requirement url": (parse_requirement, _repeated("x @ https://", "a:b@", "y")),
    "requirement parentheses": (parse_requirement, _repeated("x (", "(", ")")),
    "requirement, old": (Dependency.parse, _repeated("x (>=1.", "*,", "<2)")),
    "requirement, old spaces": (Dependency.parse, _repeated("x (>=1", " ", "<2)")),
    "marker or": (_applies, _repeated("x; os_name == 'a'", " or os_name == 'b'", "")),
    "marker and": (_applies, _repeated("x; os_name == 'a'", " and os_name == 'b'", "")),
    "marker nested": (_applies, lambda count: "x; " + "(" * min(count, 20000) + "os_name == 'a'"),
    "marker text": (_applies, _repeated("x; os_name == '", "a", "'")),
    "marker version": (_applies, _repeated("x; python_version >= '1", ".0", "'")),
    "marker open": (_applies, _repeated("x; os_name == '", "a ", "")),
    "dependency": (Dependency.parse, _repeated("x; extra == 'a'", " or extra == 'b'", "")),
    "file name": (parse_filename, _repeated("x-1-", "py3.", "py3-none-any.whl")),
    "file name version": (parse_filename, _repeated("x-1", ".0", "-py3-none-any.whl")),
    "file name tags": (parse_filename, lambda count: f"x-1-{'.'.join(map(str, range(count // 8)))}-a-b.whl"),
    **{
        f"redaction {middle!r}": (redact_text, _repeated(first, middle, last))
        for first, middle, last in (
            ("", "a", "://b"), ("", "a://", ""), ("", "a://b@", ""), ("", "a://b'", ""), ("", "://", ""),
            ("https://", "a:b", "@c"), ("https://", "@", "x"), ("https://", "a/", "@b"), ("https://x?", "a=b&", ""),
            ("", "https://a ", ""), ("x://", "[", ""), ("", "aa://'", ""), ("", "1", "://x"), ("https://x/", "'", ""),
        )
    },
    "redact": (redact, _repeated("https://x?", "a=b&", "")),
    "without secrets": (without_secrets, _repeated("https://x?", "a=b&", "")),
    "source": (parse_source, _repeated("https://x/", "a/", "y.whl")),
    "source fragment": (parse_source, _repeated("https://x/y.whl#", "sha256=a&", "")),
    "is source": (is_source, _repeated("", "a", "")),
    "is source spaces": (is_source, _repeated("x", " ", "")),
    "split extras": (split_extras, _repeated("x.whl[", "a,", "")),
    "split extras open": (split_extras, _repeated("", "a.b[", "")),
    "fragment": (parse_fragment_digests, _repeated("", "sha256=a&", "")),
    "malformed": (malformed_digest, _repeated("", "sha2567=a&", "")),
    "moment": (parse_moment, _repeated("2020-01-01T00:00:00.", "0", "Z")),
    "member name": (name_fault, _repeated("", "a/", "b")),
    "collisions": (_collisions, lambda count: [f"d{at % 100}/{at}" for at in range(count // 8)]),
    "collisions of case": (_collisions, lambda count: ["a" * at for at in range(int(count**0.5))]),
    "script": (_script, _repeated("dependencies = [", "'x',", "]")),
    "script nested": (_script, _repeated("x = ", "[", "")),
    "script numbers": (_script, _repeated("x = ", "9", "")),
    "script keys": (_script, _repeated("", "a.", "b = 1")),
    "requirements file": (_requirements, _repeated("", "x==1 --hash=sha256:aa\n", "")),
    "requirements comments": (_requirements, _repeated("x ", "#", "\n")),
    "requirements spaces": (_requirements, _repeated("x", " ", "\n")),
    "requirements joined": (_requirements, _repeated("", "\\\n", "")),
    "requirements hashes": (_requirements, _repeated("x==1", " --hash=sha256:aa", "\n")),
    "requirements variables": (_requirements, _repeated("x", "${A}", "\n")),
    "zip members": (_zip, _many_members),
    "zip deep members": (_zip, _deep_members),
    "zip extra fields": (_zip, _extras),
    "zip end records": (_zip, lambda count: packed(good()) + b"PK\x05\x06" * (count // 4)),
    "tar zeros": (_tar, _tar_of(bytes(512))),
    "lock": (lambda text: targets.lock(text.encode()), _repeated(targets._LOCK, "[[packages]]\nname='y'\n", "")),
}  # fmt: skip


def read(name: str, count: int) -> None:
    """Read the case *name* with an input of about *count* letters."""
    reader, make = CASES[name]
    value = make(count)
    with suppress(RemoteWheelError, ValueError):
        reader(value)
