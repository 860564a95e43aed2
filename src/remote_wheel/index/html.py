"""Pages of the simple repository API as HTML (PEP 503, 592, 629, 658, 714, 740, 792), read as their JSON would be.

mousebender reads a page whole or not at all, and not its head; docs/decisions/0010-resolution.md says more.
"""

from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from remote_wheel.spec.digest import parse_fragment_digests

_ENDINGS: Final = (".whl", ".tar.gz", ".zip")
_PREFIX: Final = "pypi:"  # of the names of <meta> that PEP 629 and 792 define


class HtmlPage(HTMLParser):
    """A page that is read when it is made: *text*'s links as `entries`, what `base` they are of, and its `metas`.

    Raises ValueError for what is no HTML, asks who reads it to log in, or is of a version that nobody knows yet.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.entries: list[dict[str, Any]] = []
        self.base = ""
        self.metas: dict[str, str] = {}  # name → content, of names without "pypi:"
        self._anchor: dict[str, str] | None = None
        self._text: list[str] = []
        self._asks_password = False
        try:
            self.feed(text)
            self.close()
        except AssertionError as error:  # for "<!["
            raise ValueError(str(error)) from error
        self._end_anchor()
        if self._asks_password and not any(entry["filename"].endswith(_ENDINGS) for entry in self.entries):
            raise ValueError("it is a page to log in at, not one of an index")
        version = self.metas.get("repository-version", "1")
        if version.partition(".")[0] != "1":  # PEP 629: clients MUST fail on a greater major version
            raise ValueError(f"its repository-version is {version}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what is known of a tag; the first of an attribute counts, as in a browser."""
        values = {name: value or "" for name, value in reversed(attrs)}
        if tag == "a":
            self._end_anchor()
            self._anchor = values
        elif tag == "base":
            self.base = self.base or values.get("href", "")
        elif tag == "meta" and (name := values.get("name", "").strip().lower()).startswith(_PREFIX):
            self.metas.setdefault(name.removeprefix(_PREFIX), values.get("content", "").strip())
        elif tag == "input" and values.get("type", "").lower() == "password":
            self._asks_password = True

    def handle_endtag(self, tag: str) -> None:
        """End a link."""
        if tag == "a":
            self._end_anchor()

    def handle_data(self, data: str) -> None:
        """Take a link's text."""
        if self._anchor is not None:
            self._text.append(data)

    def _end_anchor(self) -> None:
        if self._anchor is not None and "href" in self._anchor:
            self.entries.append(_entry_of(self._anchor, "".join(self._text).strip()))
        self._anchor, self._text = None, []


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
