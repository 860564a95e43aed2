"""Index pages: both representations say the same, and broken ones say so."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from remote_wheel.errors import InvalidIndexPage
from remote_wheel.index.html import HtmlPage
from remote_wheel.index.page import Page, parse_page

URL = "https://index.example/simple/thing/"
THING = canonicalize_name("thing")
JSON = "application/vnd.pypi.simple.v1+json"

AB, CD = "ab" * 32, "cd" * 32


def page(body: "str | dict[str, Any]", content_type: str = JSON, url: str = URL) -> Page:
    data = body if isinstance(body, str) else json.dumps(body)
    return parse_page(data.encode(), content_type, url=url, project=THING)


def json_page(*files: dict[str, Any], version: str = "1.1") -> dict[str, Any]:
    return {"meta": {"api-version": version}, "name": "thing", "files": list(files)}


def test_json_and_html_say_the_same() -> None:
    from_json = page(
        json_page(
            {
                "filename": "thing-1-py3-none-any.whl",
                "url": "../../files/thing-1-py3-none-any.whl",
                "hashes": {"sha256": AB},
                "requires-python": ">=3.8",
                "yanked": "why",
                "core-metadata": {"sha256": CD},
            }
        )
    )
    from_html = page(
        f'<a href="../../files/thing-1-py3-none-any.whl#sha256={AB}" data-requires-python="&gt;=3.8"'
        f' data-yanked="why" data-core-metadata="sha256={CD}">thing</a>',
        "text/html; charset=UTF-8",
    )
    assert from_json == from_html
    (file,) = from_json.files
    assert file.url == "https://index.example/files/thing-1-py3-none-any.whl"


@pytest.mark.parametrize(
    "content_type", [JSON, f"{JSON}; charset=utf-8", "application/json", "APPLICATION/VND.pypi.simple.V1+JSON"]
)
def test_content_types(content_type: str) -> None:
    assert page(json_page(), content_type).files == ()


def test_a_bare_yank_is_a_yank() -> None:
    assert page('<a href="x.whl" data-yanked>x</a>', "text/html").files[0].yanked == ""
    assert page('<a href="x.whl">x</a>', "text/html").files[0].yanked is None
    assert page(json_page({"filename": "x", "url": "x", "yanked": True, "hashes": {}})).files[0].yanked == ""
    assert page(json_page({"filename": "x", "url": "x", "yanked": False, "hashes": {}})).files[0].yanked is None


def test_both_spellings_of_metadata() -> None:
    base: dict[str, Any] = {"filename": "x", "url": "x", "hashes": {}}
    assert page(json_page({**base, "dist-info-metadata": {"sha256": AB}})).files[0].metadata_digests == {"sha256": AB}
    both = {**base, "core-metadata": False, "dist-info-metadata": True}
    assert not page(json_page(both)).files[0].has_metadata
    assert page(json_page({**base, "core-metadata": True})).files[0].has_metadata


def test_base_and_absolute_urls() -> None:
    html = (
        '<html><head><base href="https://cdn.example/d/"></head><a href="f/x.whl">x</a><a href="https://o/y.whl">y</a>'
    )
    assert [file.url for file in page(html, "text/html").files] == ["https://cdn.example/d/f/x.whl", "https://o/y.whl"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("{", JSON),
        ("[]", JSON),
        ("{}", JSON),
        (json.dumps(json_page(version="2.0")), JSON),
        (json.dumps(json_page({"filename": "x"})), JSON),
        (json.dumps(json_page({"filename": 3, "url": "x", "hashes": {}})), JSON),
        (json.dumps(json_page({"filename": "x", "url": "x", "hashes": []})), JSON),
        ("<a href='x'>", "image/png"),
        ("", ""),
    ],
)
def test_what_is_no_page(body: str, content_type: str) -> None:
    if body.endswith('"hashes": []}]}'):
        assert page(body).files[0].digests == {}  # an empty list where a table should be says the same: none
        return
    with pytest.raises(InvalidIndexPage, match=r"index\.example"):
        page(body, content_type)


@pytest.mark.parametrize(
    "head",
    [
        '<meta name="pypi:project-status" content="quarantined">',
        '<meta content="quarantined" name="pypi:project-status">',
        "<META NAME = 'pypi:project-status' CONTENT = quarantined />",
        '<!-- <a href="x"> --><meta name="pypi:project-status" data-x="1" content="quarantined">',
    ],
)
def test_a_status_counts_however_its_meta_is_written(head: str) -> None:
    read = page(f'<html><head>{head}</head><body><a href="thing-1-py3-none-any.whl">x</a></body></html>', "text/html")
    assert read.status == "quarantined"
    assert [file.filename for file in read.files] == ["thing-1-py3-none-any.whl"]


def test_what_stands_in_a_comment_counts_for_nothing() -> None:
    base = '<!-- <base href="https://elsewhere.example/"> <meta name="pypi:project-status" content="quarantined"> -->'
    read = page(f'{base}<a href="thing-1-py3-none-any.whl">x</a>', "text/html")
    assert (read.status, read.files[0].url) == ("active", f"{URL}thing-1-py3-none-any.whl")
    real = page('<base target=x href=/files/><a href="thing-1-py3-none-any.whl">x</a>', "text/html")
    assert real.files[0].url == "https://index.example/files/thing-1-py3-none-any.whl"


def test_links_that_are_no_files_are_in_nobodys_way() -> None:
    links = '<a href="#top">top</a><a name="here">x</a><a href="thing-1.zip#frag">x</a><a href="//[">y</a>'
    read = page(
        f'{links}<a href="thing-1-py3-none-any.whl#sha256={AB}">a longer text</a>',
        "text/html",
    )
    assert [file.filename for file in read.files] == ["top", "thing-1.zip", "thing-1-py3-none-any.whl"]
    assert read.files[-1].digests == {"sha256": AB}
    assert [name for name, _ in read.unreadable] == ["y"]


def test_a_page_to_log_in_at_is_no_index_page() -> None:
    form = '<form><input type="text" name="user"><input type="Password" name="p"></form><a href="/help">help</a>'
    with pytest.raises(InvalidIndexPage, match="a page to log in at"):
        page(f"<html><body>{form}</body></html>", "text/html")
    assert page(f'{form}<a href="thing-1-py3-none-any.whl">x</a>', "text/html").files


def test_a_later_version_of_the_html_page_is_refused() -> None:
    with pytest.raises(InvalidIndexPage, match=r"its repository-version is 2\.0"):
        page('<meta name="pypi:repository-version" content="2.0">', "text/html")
    assert page('<meta content="1.9" name="pypi:repository-version">', "text/html").files == ()


def test_where_attestations_are_is_kept() -> None:
    url = "https://index.example/attestations/thing"
    from_html = page(f'<a href="thing-1-py3-none-any.whl" data-provenance="{url}">x</a>', "text/html")
    from_json = page(json_page({"filename": "x.whl", "url": "x.whl", "hashes": {}, "provenance": url}))
    assert [from_html.files[0].provenance, from_json.files[0].provenance] == [url, url]


@pytest.mark.parametrize(
    "base", ["file:///tmp/", "s3://bucket/", "sftp://host/", "ftp://host/", "memory://x/", "FILE:///"]
)
@pytest.mark.parametrize("link", ["thing-1-py3-none-any.whl", "/thing-1-py3-none-any.whl"])
def test_a_page_of_the_web_leads_to_the_web_alone(base: str, link: str) -> None:
    """Whatever its <base> says: a link to a local file would have this machine run it."""
    good = '<a href="https://index.example/thing-2-py3-none-any.whl">x</a>'
    read = page(f'<base href="{base}"><a href="{link}">thing-1-py3-none-any.whl</a>{good}', "text/html")
    assert [file.url for file in read.files] == ["https://index.example/thing-2-py3-none-any.whl"]
    assert len(read.unreadable) == 1
    read = page(f'<base href="{base}"><a href="{base}{link}">thing-1-py3-none-any.whl</a>{good}', "text/html")
    assert len(read.files) == 1
    entry = {"filename": "thing-1-py3-none-any.whl", "url": f"{base}{link}", "hashes": {}}
    with pytest.raises(InvalidIndexPage, match="may not lead to"):
        page(json_page(entry))


def test_attestations_are_of_the_web_too() -> None:
    entry = {"filename": "thing-1-py3-none-any.whl", "url": "thing-1-py3-none-any.whl", "hashes": {}}
    assert page(json_page({**entry, "provenance": "file:///etc/passwd"})).files[0].provenance == ""
    assert page(json_page({**entry, "provenance": "p"})).files[0].provenance.startswith("https://")


@pytest.mark.parametrize(
    "digest",
    [
        "../../../../x",
        "ab",
        "",
        5,
        None,
        ["a"],
        {"a": 1},
        "g" * 64,
        "ab" * 33,
        "\udcff" * 64,
        "é" * 64,
        " " + "ab" * 32,
    ],
    ids=repr,
)
@pytest.mark.parametrize("where", ["hashes", "core-metadata", "dist-info-metadata"])
def test_what_is_no_digest_is_a_file_left_out(digest: Any, where: str) -> None:
    """The store names its files by digests: what an index states must be no path, and no error of another kind."""
    entry = {"filename": "thing-1-py3-none-any.whl", "url": "thing-1-py3-none-any.whl", "hashes": {}}
    right = {**entry, "filename": "thing-2-py3-none-any.whl", "url": "thing-2-py3-none-any.whl"}
    read = page(json_page({**entry, where: {"sha256": digest}}, right))
    assert [file.filename for file in read.files] == ["thing-2-py3-none-any.whl"]
    ((name, why),) = read.unreadable
    assert name == "thing-1-py3-none-any.whl"
    assert "which is no such digest" in why
    why.encode()


@pytest.mark.parametrize("field", ["url", "filename", "requires-python", "upload-time", "yanked"])
def test_text_that_can_be_written_nowhere_is_a_file_left_out(field: str) -> None:
    entry = {"filename": "thing-1-py3-none-any.whl", "url": "thing-1-py3-none-any.whl", "hashes": {}}
    right = {**entry, "filename": "thing-2-py3-none-any.whl", "url": "thing-2-py3-none-any.whl"}
    read = page(json_page({**entry, field: f"{entry.get(field, '')}\udcff"}, right))
    assert [file.filename for file in read.files] == ["thing-2-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("<A HREF=x-1.zip>y</A>", ["x-1.zip"]),
        ("<a href='x-1.zip'>", ["x-1.zip"]),
        ("<a\nhref\t=\n'x-1.zip'\n>y", ["x-1.zip"]),
        ("<a href=x-1.zip<b>c</a>", ["c"]),
        ("<a href='x-1.zip' href='y-1.zip'>z</a>", ["x-1.zip"]),
        ("<!-- <a href=x-1.zip>y</a> --><a href=z-1.zip></a>", ["z-1.zip"]),
        ("<!-- <a href=x-1.zip>y</a>", []),
        ("<script>'<a href=x-1.zip>'</script><a href=z-1.zip></a>", ["z-1.zip"]),
        ("<SCRIPT>'<a href=x-1.zip>'</ScRiPt ><a href=z-1.zip></a>", ["z-1.zip"]),
        ("<title><a href=x-1.zip></title><a href=z-1.zip></a>", ["z-1.zip"]),
        ("< a href=x-1.zip>y</a><a href=z-1.zip>", ["z-1.zip"]),
        ("<a href=x-1.zip", []),
        ("<a href='x-1.zip>y</a>", []),
        ("<a/href=x-1.zip>y</a>", ["x-1.zip"]),
        ("<![CDATA[ <a href=x-1.zip> ]]><a href=z-1.zip>", ["z-1.zip"]),
        ("<a href=x-1.zip?a&amp;b>y</a>", ["x-1.zip"]),
        ("a < b <a href=z-1.zip>", ["z-1.zip"]),
        ("<abbr href=x-1.zip></abbr><a href=z-1.zip>", ["z-1.zip"]),
    ],
)
def test_html_as_browsers_read_it(text: str, names: list[str]) -> None:
    assert [entry["filename"] for entry in HtmlPage(text).entries] == names


@given(
    st.lists(st.sampled_from(["<a ", "href=", "'", '"', ">", "</a>", "<!--", "-->", "x-1.zip", " ", "<", "/", "&amp;"]))
)
def test_no_html_is_too_odd(pieces: list[str]) -> None:
    HtmlPage("".join(pieces))
