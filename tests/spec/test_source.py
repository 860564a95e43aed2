"""Sources taken apart, and what of a URL may be shown."""

import pytest

from remote_wheel.errors import InvalidSource, UsageError
from remote_wheel.spec.digest import Hasher, check_digests, parse_fragment_digests, parse_sha256
from remote_wheel.spec.source import parse_source, redact


@pytest.mark.parametrize(
    ("text", "url", "filename", "kind", "is_local"),
    [
        (
            "https://h/a/x-1-py3-none-any.whl#sha256=" + "AB" * 32,
            "https://h/a/x-1-py3-none-any.whl",
            "x-1-py3-none-any.whl",
            "wheel",
            False,
        ),
        ("https://h/x%2B1.zip?v=2", "https://h/x%2B1.zip?v=2", "x+1.zip", "zip", False),
        ("x.py", "x.py", "x.py", "module", True),
        ("/a b/x.whl", "/a b/x.whl", "x.whl", "wheel", True),
        (r"C:\wheels\x.whl", r"C:\wheels\x.whl", "x.whl", "wheel", True),
        ("file:///a%20b/x.whl", "/a b/x.whl", "x.whl", "wheel", True),
        ("file:///C:/x.whl", "C:/x.whl", "x.whl", "wheel", True),
    ],
)
def test_parts(text: str, url: str, filename: str, kind: str, is_local: bool) -> None:
    source = parse_source(text)
    assert (source.url, source.filename, source.kind, source.is_local) == (url, filename, kind, is_local)


def test_fragment() -> None:
    source = parse_source(f"https://h/x.zip#subdirectory=a/b&sha256={'AB' * 32}&egg=x")
    assert source.digests == {"sha256": "ab" * 32}
    assert source.subdirectory == "a/b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://h/x.rar",
        "s3:x.whl",
        "git+https://h/o/r@main",
        "github:owner",
        "github:a/b/c",
        "sftp://h/x.py?hostkey=SHA256:short",
        "https:///x.whl",
        "https://h/x.whl#sha256=",
        "https://h/x.whl#sha256:00",
        "https://h/x.whl#md5=xy",
        "https://[h/x.whl",
        "x",
        "https://h/",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidSource):
        parse_source(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@h:8/p?token=t&x=#f", "https://h:8/p?token=***&x=***"),
        ("https://h/p", "https://h/p"),
        ("https://t%40ken@h/", "https://h/"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_digests() -> None:
    assert parse_fragment_digests("sha256=AA&md5=bb&foo=1&sha1") == {"sha256": "aa", "md5": "bb"}
    assert parse_sha256("sha256:" + "A" * 64) == "a" * 64
    for bad in ("", "a" * 63, "g" * 64):
        with pytest.raises(UsageError):
            parse_sha256(bad)
    check_digests(b"", {"md5": "d41d8cd98f00b204e9800998ecf8427e", "unknown": "x"}, subject="s", stated_by="t")
    hasher = Hasher(["sha512"])
    hasher.update(b"ab")
    hasher.update(b"c")
    assert hasher.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_texts_are_redacted() -> None:
    from remote_wheel.spec.source import redact_text

    assert redact_text("a @ https://u:p@h/x.whl?s=t#f is bad") == "a @ https://h/x.whl?s=*** is bad"
    assert redact("https://h/?bare") == "https://h/?***"
    assert redact("https://[broken") == "***"
