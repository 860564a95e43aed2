"""GitHub, GitLab and Bitbucket: which commit a reference is, its archive, and the assets of private releases.

References are read as git itself reads them over HTTP, which all three speak, without an API's rate limits.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from remote_wheel.errors import AccessDenied, NotFound, ServerError
from remote_wheel.fetch.client import Client, basic
from remote_wheel.fetch.port import Answer, Sink
from remote_wheel.fetch.ranges import IDENTITY
from remote_wheel.settings import Limits
from remote_wheel.spec.repository import HOMES, Forge, Repository, is_commit, servers

_REFS_BYTES: Final = 64 * 1024 * 1024  # CPython's, with every pull request, are near 17 MB
_USERS: Final[Mapping[Forge, str]] = {"github": "x-access-token", "gitlab": "oauth2", "bitbucket": "x-token-auth"}
_ASSET: Final = r"/([^/]+/[^/]+)/releases/download/([^/]+)/([^/]+)"


class Forges:
    """Repositories over a Client. *environ* has the tokens, which go to the servers they are for and nowhere else."""

    def __init__(self, client: Client, limits: Limits, environ: Mapping[str, str]) -> None:
        self._client, self._limits, self._environ = client, limits, environ

    def commit(self, repository: Repository) -> str:
        """Return the full commit id that the reference is now; empty where the server doesn't speak git.

        Raises NotFound for a reference that is not there or means two things, AccessDenied, NetworkError.
        """
        if repository.commit:
            return repository.commit
        refs = self._references(repository)
        return self._choose(repository, refs) if refs else ""

    def tag(self, repository: Repository) -> str:
        """Return the commit that the reference is now as a tag; empty where it is none, or the server tells none."""
        name = repository.ref if repository.ref.startswith("refs/tags/") else f"refs/tags/{repository.ref}"
        refs = {} if repository.commit else self._references(repository)
        return refs.get(f"{name}^{{}}", refs.get(name, ""))

    def _references(self, repository: Repository) -> dict[str, str]:
        """Return name → commit id of the references; none where the server doesn't speak git."""
        url = f"{repository.url}.git/info/refs?service=git-upload-pack"
        headers = self._authorization(repository, url, is_git=True)
        try:
            answer = self._client.fetch(url, max_bytes=_REFS_BYTES, headers=headers, may_be_missing=True)
        except ServerError:  # no git there; the archive itself says its commit
            return {}
        except AccessDenied as error:
            if repository.server not in servers(repository.forge, self._environ):
                return {}  # perhaps no forge at all, but a place whose paths look like one's
            raise self._unseen(repository, error.reason) from error
        return dict(_references(answer.body)) if answer.status == 200 else {}

    def fetch_archive(self, repository: Repository, commit: str, *, sink: Sink) -> Answer:
        """Fetch the zip of *commit*, or of the reference where the commit is not known yet. Raises FetchError."""
        url = repository.archive_url(commit)
        answer = self._client.fetch(
            url,
            max_bytes=self._limits.download_bytes,
            headers={**IDENTITY, **self._authorization(repository, url, is_git=False)},
            sink=sink,
            may_be_missing=True,
        )
        if answer.status == 404:
            raise self._unseen(repository, "404 Not Found")
        return answer

    def private_asset(self, url: str) -> tuple[str, Mapping[str, str]] | None:
        """Return where, and with which headers, a release's asset at *url* is got with a token; None without one.

        By GitHub's REST API (Releases): the address that people use answers 404 for a private repository.
        """
        parts = urlsplit(url)
        server, found = f"{parts.scheme}://{parts.netloc}", re.fullmatch(_ASSET, parts.path)
        token = self._token("github", server)
        if not found or not token:
            return None
        path, tag, name = (unquote(part) for part in found.groups())
        headers = {"Authorization": f"Bearer {token}"}
        release = f"{self._api(server)}/repos/{path}/releases/tags/{quote(tag, safe='')}"
        answer = self._client.fetch(
            release, max_bytes=self._limits.metadata_bytes, headers=headers, may_be_missing=True
        )
        try:
            assets = json.loads(answer.body)["assets"] if answer.status == 200 else []
            address = next((str(asset["url"]) for asset in assets if asset["name"] == name), "")
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(url=release, reason="its answer is no release of GitHub's API") from error
        if urlsplit(address).netloc != urlsplit(release).netloc:  # the token is for that server alone
            return None
        return address, {**headers, "Accept": "application/octet-stream"}

    def _api(self, server: str) -> str:
        if server == HOMES["github"]:
            return "https://api.github.com"
        own = self._environ.get("GITHUB_API_URL", "").rstrip("/")
        return own if own and server == self._server("GITHUB_SERVER_URL") else f"{server}/api/v3"

    def _server(self, variable: str) -> str:
        named = self._environ.get(variable, "").rstrip("/")
        return named if "://" in named or not named else f"https://{named}"

    def _variables(self, forge: Forge, server: str) -> tuple[str, ...]:
        """Return the variables whose token is for *server*, as each forge's own tools read them; one for no other."""
        home = HOMES[forge]
        if forge == "github":
            actions = self._server("GITHUB_SERVER_URL") or home  # whose token GITHUB_TOKEN is
            own = ("GITHUB_TOKEN",) if server == actions else ()
            if server == home:
                return ("GH_TOKEN", *own)
            is_named = server in servers(forge, self._environ)
            return (*own, "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN") if is_named else ()
        named = ("GITLAB_HOST", "CI_SERVER_URL") if forge == "gitlab" else ("BITBUCKET_SERVER_URL",)
        first = next((self._server(name) for name in named if self._environ.get(name)), home)
        return (f"{forge.upper()}_TOKEN",) if server == first else ()

    def _token(self, forge: Forge, server: str) -> str:
        """Return the token for *server*, empty where there is none."""
        return next((self._environ[n] for n in self._variables(forge, server) if self._environ.get(n)), "")

    def _authorization(self, repository: Repository, url: str, *, is_git: bool) -> dict[str, str]:
        """Return the header for *url*; none where the user's own URL had credentials, which count more."""
        token = self._token(repository.forge, repository.server)
        if not token or self._client.has_credentials(url):
            return {}
        return {"Authorization": basic(_USERS[repository.forge], token) if is_git else f"Bearer {token}"}

    def _choose(self, repository: Repository, refs: Mapping[str, str]) -> str:
        ref = repository.ref or "HEAD"
        tag, branch = f"refs/tags/{ref}", f"refs/heads/{ref}"
        found = {name: refs[name] for name in (f"{tag}^{{}}", branch) if name in refs}
        if f"{tag}^{{}}" not in refs and tag in refs:
            found[tag] = refs[tag]
        if ref in ("HEAD", *refs):  # HEAD, or a full name such as refs/tags/v1 and refs/pull/7/head
            found = {ref: refs.get(f"{ref}^{{}}", refs.get(ref, ""))}
        commits = set(found.values()) - {""}
        if len(commits) > 1:
            reason = f"{ref!r} is a branch and a tag; write refs/heads/{ref} or refs/tags/{ref}"
            raise NotFound(url=repository.shown, reason=reason)
        if not commits and not re.fullmatch(r"[0-9a-f]{4,63}", ref):  # a short commit id only the archive can tell
            raise NotFound(url=repository.url, reason=f"it has no branch, tag or commit {ref!r}")
        return commits.pop() if commits else ""

    def _unseen(self, repository: Repository, reason: str) -> NotFound:
        names = " or ".join(self._variables(repository.forge, repository.server))
        if self._token(repository.forge, repository.server):
            why = "the token may not read it"
        elif names:
            why = f"it is private and there is no token ({names})"
        else:
            why = f"it is private; no token is for {repository.server}"
            if repository.forge == "github":
                why += " (GH_HOST names an enterprise server, GH_ENTERPRISE_TOKEN has its token)"
        return NotFound(url=repository.shown, reason=f"{reason}: it does not exist, or {why}")


def _references(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, commit id) of git's reference advertisement in pkt-lines (gitprotocol-http, gitformat-pack)."""
    at = 0
    while at + 4 <= len(body):
        try:
            length = int(body[at : at + 4], 16)
        except ValueError:
            return  # no pkt-line: a page for people, from a server that is no git server
        line = body[at + 4 : at + length].rstrip(b"\n").partition(b"\0")[0]
        at += max(4, length)
        commit, _, name = line.partition(b" ")
        if is_commit(commit.decode("ascii", "replace")):
            yield name.decode("utf-8", "replace"), commit.decode()
