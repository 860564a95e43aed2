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
# Variables with a token, for the public server and for a company's own; git's user name beside it.
_TOKENS: Final[Mapping[Forge, tuple[tuple[str, ...], tuple[str, ...], str]]] = {
    "github": (
        ("GH_TOKEN", "GITHUB_TOKEN"),
        ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GITHUB_TOKEN"),
        "x-access-token",
    ),
    "gitlab": (("GITLAB_TOKEN",), ("GITLAB_TOKEN",), "oauth2"),
    "bitbucket": (("BITBUCKET_TOKEN",), ("BITBUCKET_TOKEN",), "x-token-auth"),
}
_ASSET: Final = re.compile(r"/([^/]+/[^/]+)/releases/download/([^/]+)/([^/]+)")


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
        token, user = self._token(repository.forge, repository.server)
        try:
            answer = self._client.fetch(
                f"{repository.url}.git/info/refs?service=git-upload-pack",
                max_bytes=_REFS_BYTES,
                headers={"Authorization": basic(user, token)} if token else {},
                may_be_missing=True,
            )
        except ServerError:  # no git there; the archive itself says its commit
            return {}
        except AccessDenied as error:
            raise self._unseen(repository, error.reason) from error
        return dict(_references(answer.body)) if answer.status == 200 else {}

    def fetch_archive(self, repository: Repository, commit: str, *, sink: Sink) -> Answer:
        """Fetch the zip of *commit*, or of the reference where the commit is not known yet. Raises FetchError."""
        token, _ = self._token(repository.forge, repository.server)
        answer = self._client.fetch(
            repository.archive_url(commit),
            max_bytes=self._limits.download_bytes,
            headers={**IDENTITY, **({"Authorization": f"Bearer {token}"} if token else {})},
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
        server, found = f"{parts.scheme}://{parts.netloc}", _ASSET.fullmatch(parts.path)
        token, _ = self._token("github", server)
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
        return self._environ.get("GITHUB_API_URL", "").rstrip("/") or f"{server}/api/v3"

    def _token(self, forge: Forge, server: str) -> tuple[str, str]:
        """Return the token for *server* and git's user name for it; empty where there is none, or it is unknown."""
        public, own, user = _TOKENS[forge]
        if server not in servers(forge, self._environ):
            return "", user
        names = public if server == HOMES[forge] else own
        return next((self._environ[name] for name in names if self._environ.get(name)), ""), user

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
        token, _ = self._token(repository.forge, repository.server)
        names = " or ".join(_TOKENS[repository.forge][0])
        why = "the token may not read it" if token else f"it is private and there is no token ({names})"
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
