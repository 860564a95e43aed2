"""Pages of the simple repository API as HTML (PEP 503, 592, 629, 658, 714, 740, 792), read as their JSON would be.

mousebender reads a page whole or not at all, and not its head; docs/decisions/0010-resolution.md says more. html.parser
takes minutes for some kilobytes of what is no HTML; this reads each letter a few times at most, as a tokenizer by the
HTML standard (section 13.2.5) does.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from remote_wheel.spec.digest import parse_fragment_digests

_ENDINGS: Final = (".whl", ".tar.gz", ".zip")
_PREFIX: Final = "pypi:"  # of the names of <meta> that PEP 629 and 792 define
_NAME: Final = re.compile(r"/?[A-Za-z][^\s/>]*")
_SPACE: Final = re.compile(r"[\s/]*")
_ATTRIBUTE: Final = re.compile(r"[^\s/>][^\s/>=]*")
_EQUALS: Final = re.compile(r"\s*=\s*")
_UNQUOTED: Final = re.compile(r"[^\s>]*")
_RAW: Final = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title", "textarea")}


class HtmlPage:
    """A page that is read when it is made: *text*'s links as `entries`, what `base` they are of, and its `metas`.

    Raises ValueError for what is no HTML, asks who reads it to log in, or is of a version that nobody knows yet.
    """

    def __init__(self, text: str) -> None:
        self.entries: list[dict[str, Any]] = []
        self.base = ""
        self.metas: dict[str, str] = {}  # name → content, of names without "pypi:"
        self._anchor: dict[str, str] | None = None
        self._text: list[str] = []
        self._asks_password = False
        for tag, said in _tokens(text):
            if tag == "a":
                self._end_anchor()
                self._anchor = dict(said)
            elif tag == "/a":
                self._end_anchor()
            elif tag:
                self._take(tag, dict(said))
            elif self._anchor is not None:
                self._text.append(said[0][1])
        self._end_anchor()
        if self._asks_password and not any(entry["filename"].endswith(_ENDINGS) for entry in self.entries):
            raise ValueError("it is a page to log in at, not one of an index")
        version = self.metas.get("repository-version", "1")
        if version.partition(".")[0] != "1":  # PEP 629: clients MUST fail on a greater major version
            raise ValueError(f"its repository-version is {version}")

    def _take(self, tag: str, values: dict[str, str]) -> None:
        if tag == "base":
            self.base = self.base or values.get("href", "")
        elif tag == "meta" and (name := values.get("name", "").strip().lower()).startswith(_PREFIX):
            self.metas.setdefault(name.removeprefix(_PREFIX), values.get("content", "").strip())
        elif tag == "input" and values.get("type", "").lower() == "password":
            self._asks_password = True

    def _end_anchor(self) -> None:
        if self._anchor is not None and "href" in self._anchor:
            self.entries.append(_entry_of(self._anchor, unescape("".join(self._text)).strip()))
        self._anchor, self._text = None, []


def _tokens(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (tag, attributes), an end tag with its slash and without attributes; ("", [("", text)]) between them.

    Of an attribute that is given twice the first counts, as in a browser, and so comes last.
    """
    at = 0
    while (opening := text.find("<", at)) >= 0:
        if opening > at:
            yield "", [("", text[at:opening])]
        at = opening + 1
        name = _NAME.match(text, at)
        if not name:
            at = _end_of_markup(text, opening)
            continue
        tag = name[0].lower()
        attributes, at = _attributes(text, name.end())
        if at < 0:  # the tag does not end
            return
        yield tag, attributes if tag[0] != "/" else []
        if raw := _RAW.get(tag):  # what is in there is text, whatever it looks like
            end = raw.search(text, at)
            if end is None:
                return
            at = end.start()
    if at < len(text):
        yield "", [("", text[at:])]


def _end_of_markup(text: str, opening: int) -> int:
    """Return where a comment, a declaration or a stray "<" ends that is no tag."""
    if text.startswith("<!--", opening):
        end = text.find("-->", opening + 4)
        return len(text) if end < 0 else end + 3
    if text.startswith(("<!", "<?", "</"), opening):
        end = text.find(">", opening)
        return len(text) if end < 0 else end + 1
    return opening + 1


def _attributes(text: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """Return the attributes of a tag whose name ends at *at*, last first, and where it ends; -1 where it does not."""
    found: list[tuple[str, str]] = []
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty string
        if at >= len(text):
            return found, -1
        if text[at] == ">":
            return found[::-1], at + 1
        name = _ATTRIBUTE.match(text, at)
        assert name is not None  # a programming error: what is no space and no end is a name's beginning
        value, at = "", name.end()
        if equals := _EQUALS.match(text, at):
            at = equals.end()
            quote = text[at : at + 1]
            if quote in ("'", '"'):
                end = text.find(quote, at + 1)
                if end < 0:
                    return found, -1
                value, at = text[at + 1 : end], end + 1
            else:
                bare = _UNQUOTED.match(text, at)
                assert bare is not None  # as above: it matches the empty string
                value, at = bare[0], bare.end()
        found.append((name[0].lower(), unescape(value)))


def _entry_of(values: dict[str, str], text: str) -> dict[str, Any]:
    """Return a link as an entry of PEP 691. The URL tells the file's name, as for other tools; else the text may."""
    url, _, fragment = values["href"].strip().partition("#")
    try:
        name = unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:  # who reads the entry says what is wrong with it
        name = ""
    entry: dict[str, Any] = {
        "url": url,
        "filename": name if name.endswith(_ENDINGS) or not text else text,
        "hashes": parse_fragment_digests(fragment),
        "requires-python": values.get("data-requires-python", ""),
        "yanked": values.get("data-yanked", False),
        "provenance": values.get("data-provenance") or None,
    }
    for key in ("core-metadata", "dist-info-metadata"):
        if stated := values.get(f"data-{key}"):
            entry[key] = parse_fragment_digests(stated) or stated.lower() != "false"
    return entry
