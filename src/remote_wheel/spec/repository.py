"""Repositories on GitHub, GitLab and Bitbucket: what a reference names, and the URL of its archive. Pure."""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from remote_wheel.errors import InvalidSource

Forge = Literal["github", "gitlab", "bitbucket"]
HOMES: Final[Mapping[Forge, str]] = {
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
}
# The variables by which each forge's own tools name another server: GitHub Actions and gh, GitLab CI and glab.
_SERVER_VARIABLES: Final[Mapping[Forge, tuple[str, ...]]] = {
    "github": ("GITHUB_SERVER_URL", "GH_HOST"),
    "gitlab": ("CI_SERVER_URL", "GITLAB_HOST"),
    "bitbucket": ("BITBUCKET_SERVER_URL",),
}
_COMMIT: Final = r"[0-9a-f]{40}|[0-9a-f]{64}"  # SHA-1 and SHA-256 repositories
_SHORT: Final = r"(github|gitlab|bitbucket):(?!//)([^@#]+)(?:@([^#]+))?"
_ENDING: Final = r"\.(?:zip|tar\.gz)"
_ARCHIVES: Final[Mapping[Forge, str]] = {  # the forms that the forges' own download links have
    "github": rf"(?P<path>[^/]+/[^/]+)/archive/(?P<ref>.+){_ENDING}",
    "gitlab": rf"(?P<path>[^/]+(?:/[^/]+)+)/-/archive/(?P<ref>.+)/[^/]+{_ENDING}",
    "bitbucket": rf"(?P<path>[^/]+/[^/]+)/get/(?P<ref>.+){_ENDING}",
}


class Repository(NamedTuple):
    """One repository at one reference. `server` is ``https://host``, `path` ``owner/name``; an empty `ref` is HEAD."""

    forge: Forge
    server: str
    path: str
    ref: str = ""

    @property
    def url(self) -> str:
        """The repository's address, for people and git."""
        return f"{self.server}/{self.path}"

    @property
    def name(self) -> str:
        """The repository's own name, without its owner."""
        return self.path.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The address with the reference, as pip spells it."""
        return f"{self.url}@{self.ref}" if self.ref else self.url

    @property
    def commit(self) -> str:
        """The full commit id where the reference is one, else empty."""
        return self.ref if is_commit(self.ref) else ""

    @property
    def version(self) -> str:
        """The reference as the version that a tag may stand for: ``v1.2`` and ``name-1.2`` are 1.2."""
        tag = self.ref.removeprefix("refs/tags/")
        found = re.fullmatch(rf"(?:{re.escape(self.name)}[-_/@])?[vV]?(\d.*)", tag)
        return found[1] if found and not self.commit else ""

    def archive_url(self, ref: str = "") -> str:
        """Return the URL of the zip of *ref*, by default of the reference's own."""
        at = quote(ref or self.ref or "HEAD", safe="/")
        if self.forge == "gitlab":
            return f"{self.url}/-/archive/{at}/{self.name}-{at.replace('/', '-')}.zip"
        return f"{self.url}/{'archive' if self.forge == 'github' else 'get'}/{at}.zip"


def is_commit(ref: str) -> bool:
    """Whether *ref* is a full commit id, which can't move."""
    return bool(re.fullmatch(_COMMIT, ref))


def parse_repository(text: str, environ: Mapping[str, str]) -> Repository | None:
    """Return the repository that *text* names, None where it is something else.

    Takes ``github:owner/name@ref`` (also ``github:host/owner/name@ref``; gitlab and bitbucket alike), the archive
    URLs of the three, and pip's ``git+https://host/owner/name@ref`` where the host is one of them. *environ* names
    other servers as GitHub Actions, gh, GitLab CI and glab do. Raises InvalidSource for a reference without a name.
    """
    if match := re.fullmatch(_SHORT, text.partition("#")[0]):
        forge: Forge = match[1]  # type: ignore[assignment]  # the pattern names the three
        return _of_parts(text, forge, match[2], match[3] or "", environ)
    is_git = text.startswith("git+")
    parts = urlsplit(text.removeprefix("git+"))
    if parts.scheme not in ("https", "http") or parts.query:
        return _no_git(text) if is_git else None
    # Whoever is named in front of the host is for the Client to know, and for no message.
    server, path = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", unquote(parts.path).strip("/")
    if is_git:
        forge_of_host = next((name for name in HOMES if server in servers(name, environ)), None)
        if forge_of_host is None:
            return _no_git(text)
        path, _, ref = path.partition("@")
        return Repository(forge=forge_of_host, server=server, path=path.removesuffix(".git"), ref=ref)
    for name, pattern in _ARCHIVES.items():
        if found := re.fullmatch(pattern, path):
            return Repository(forge=name, server=server, path=found["path"], ref=found["ref"])
    return None


def servers(forge: Forge, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the servers that are known to be *forge*, the one that a short form means first."""
    named = (environ.get(variable, "").rstrip("/") for variable in _SERVER_VARIABLES[forge])
    return (*(value if "://" in value else f"https://{value}" for value in named if value), HOMES[forge])


def _of_parts(text: str, forge: Forge, path: str, ref: str, environ: Mapping[str, str]) -> Repository:
    server = servers(forge, environ)[0]
    parts = path.strip("/").removesuffix(".git").split("/")
    if len(parts) > 2 and ("." in parts[0] or ":" in parts[0]):  # no owner's name has a dot
        server, parts = f"https://{parts[0]}", parts[1:]
        server = next((known for known in servers(forge, environ) if known.endswith(server[5:])), server)
    if len(parts) < 2 or not all(parts) or (forge != "gitlab" and len(parts) > 2):
        raise InvalidSource(source=text, reason=f"a repository is written {forge}:owner/name@ref")
    return Repository(forge=forge, server=server, path="/".join(parts), ref=ref)


def _no_git(text: str) -> Repository:
    shown = text.partition("://")[0]
    raise InvalidSource(
        source=f"{shown}://…",
        reason="only repositories on GitHub, GitLab and Bitbucket can be fetched as archives; git itself is not run",
        way_out="Write github:owner/name@ref (gitlab:, bitbucket:), or git+https:// and one of their hosts.",
    )
