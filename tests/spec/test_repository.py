"""Repositories as they are written, and the URLs that follow."""

import pytest

from remote_wheel.errors import InvalidSource
from remote_wheel.spec.repository import Repository, parse_repository
from remote_wheel.spec.source import is_source, parse_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("github:o/r", "https://github.com/o/r", ""),
        ("github:o/r@v1.0", "https://github.com/o/r", "v1.0"),
        ("github:o/r.git@feature/x", "https://github.com/o/r", "feature/x"),
        ("github:o/r@v1#subdirectory=x", "https://github.com/o/r", "v1"),
        ("github:git.example/o/r@v1", "https://git.example/o/r", "v1"),
        ("gitlab:group/sub/r@v1", "https://gitlab.com/group/sub/r", "v1"),
        ("bitbucket:o/r@v1", "https://bitbucket.org/o/r", "v1"),
        ("https://github.com/o/r/archive/refs/tags/v1.zip", "https://github.com/o/r", "refs/tags/v1"),
        (f"https://github.com/o/r/archive/{COMMIT}.tar.gz", "https://github.com/o/r", COMMIT),
        ("https://gitlab.com/g/s/r/-/archive/v1/r-v1.zip", "https://gitlab.com/g/s/r", "v1"),
        ("https://bitbucket.org/o/r/get/main.zip", "https://bitbucket.org/o/r", "main"),
        ("git+https://github.com/o/r.git@v1", "https://github.com/o/r", "v1"),
        ("git+https://github.com/o/r", "https://github.com/o/r", ""),
    ],
)
def test_parts(text: str, url: str, ref: str) -> None:
    repository = parse_repository(text, {})
    assert repository is not None
    assert (repository.url, repository.ref) == (url, ref)
    assert parse_repository(repository.archive_url(COMMIT), {}) == Repository(
        forge=repository.forge, server=repository.server, path=repository.path, ref=COMMIT
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/o/r/releases/download/v1/r-1-py3-none-any.whl",
        "https://h/x.zip",
        "x.zip",
        "https://h/o/r/archive/v1.zip?token=x",
        "s3://bucket/o/r/archive/v1.zip",
    ],
)
def test_what_is_no_repository(text: str) -> None:
    assert parse_repository(text, {}) is None


@pytest.mark.parametrize(
    "text", ["github:o", "github:a/b/c", "github:/r", "git+ssh://h/o/r", "git+https://h.example/r"]
)
def test_what_can_not_be_one(text: str) -> None:
    with pytest.raises(InvalidSource):
        parse_repository(text, {})


@pytest.mark.parametrize(
    ("name", "ref", "version"),
    [
        ("r", "v1.2", "1.2"),
        ("r", "1.2", "1.2"),
        ("r", "r-1.2", "1.2"),
        ("r", "r/v1.2", "1.2"),
        ("r", "refs/tags/v1.2rc1", "1.2rc1"),
        ("r", "main", ""),
        ("r", "other-1.2", ""),
        ("r", COMMIT, ""),
    ],
)
def test_the_version_of_a_tag(name: str, ref: str, version: str) -> None:
    assert Repository(forge="github", server="https://h", path=f"o/{name}", ref=ref).version == version


def test_servers_of_a_companys_own() -> None:
    assert parse_source("github:o/r", environ={"GH_HOST": "git.example"}).url == "https://git.example/o/r"
    own = parse_repository("git+https://git.example/o/r@v1", {"GITHUB_SERVER_URL": "https://git.example"})
    assert own is not None
    assert own.forge == "github"


def test_who_is_named_in_the_url_stays_out_of_the_repository() -> None:
    source = parse_source("https://me:secret@github.com/o/r/archive/v1.zip")
    assert source.repository is not None
    assert "secret" not in source.repository.shown + source.shown
    assert "me:secret@" in source.url, "for the Client to learn"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flask", False),
        ("flask>=3,<4", False),
        ("discord.py", False),
        ("flask[async]==3.*; python_version > '3'", False),
        ("flask @ https://h/flask-3-py3-none-any.whl", False),
        ("flask[async] @ github:o/flask", False),
        ("flask @ ./flask-3-py3-none-any.whl", False),
        ("x; sys_platform == 'a/b'", False),
        ("https://h/x.whl", True),
        ("github:o/r@v1", True),
        ("s3://b/x.py", True),
        ("./x.py", True),
        ("dist/x", True),
        (r"dist\x.py", True),
        ("/a b/x.whl", True),
        ("x-1-py3-none-any.whl", True),
        ("x-1.tar.gz", True),
        (r"C:\x\y.whl", True),
    ],
)
def test_what_is_a_source_among_requirements(text: str, expected: bool) -> None:
    assert is_source(text) is expected
