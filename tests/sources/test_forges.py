"""GitHub, GitLab and Bitbucket against a look-alike that serves real repositories."""

import hashlib
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel, make_zip
from remote_wheel.fetch.client import Client
from remote_wheel.fetch.forges import Forges
from remote_wheel.settings import Limits
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.forge import Forge
from tests.sources.conftest import Mounting

PROJECT = """
[project]
name = "garden-tools"
version = "1.4"
dependencies = ["needed>=1"]
[project.scripts]
dig = "garden.main:dig"
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[tool.hatch.build.targets.wheel]
packages = ["src/garden"]
"""
FILES: dict[str, str | bytes] = {
    "pyproject.toml": PROJECT,
    "src/garden/__init__.py": "V = 1\n",
    "src/garden/main.py": "import needed\ndef dig():\n    print('digging')\n",
    "src/garden/seeds.txt": "carrot\n",
    "tests/test_it.py": "",
}


@pytest.fixture
def garden(forge: Forge, index: LoopbackIndex) -> str:
    """A repository with a tag; its commit id."""
    index.add("needed", "1.5")
    return forge.commit("green/garden", FILES, tag="v1.4")


@pytest.mark.parametrize("ref", ["", "@v1.4", "@main", "@refs/tags/v1.4", "@COMMIT"])
def test_a_package_from_github(forge: Forge, garden: str, mounting: Mounting, ref: str) -> None:
    source = "github:green/garden" + ref.replace("COMMIT", garden)
    said = mounting.value(
        source,
        "m.__name__, mount.distribution.version, __import__('garden.main').main.needed.__name__,"
        " __import__('importlib.resources').resources.files('garden').joinpath('seeds.txt').read_text().strip(),"
        " mount.distribution.entry_points['dig'].value, 'commit  ' + '" + garden + "' in remote_wheel.explain(m)",
    )
    assert said == "garden 1.4 needed carrot garden.main:dig True"
    assert f"/green/garden/archive/{garden}.zip" in forge.sent_to("home"), "the commit is fetched, not the name"
    assert mounting.value(source, "m.V", "offline=True") == "1"


@pytest.mark.parametrize(
    "path",
    [
        "/green/garden/archive/refs/tags/v1.4.zip",
        "/green/garden/archive/main.zip",
        "/green/garden/archive/main.tar.gz",
        "/green/garden/-/archive/main/garden-main.zip",
        "/green/garden/get/main.zip",
        "/green/garden/get/v1.4.tar.gz",
    ],
)
def test_archive_urls_of_the_three(forge: Forge, garden: str, mounting: Mounting, path: str) -> None:
    said = mounting.value(forge.url + path, "m.V, 'commit  ' + '" + garden + "' in remote_wheel.explain(m)")
    assert said == "1 True"


@pytest.mark.parametrize(
    ("short", "variable", "mark"),
    [("gitlab", "GITLAB_HOST", "/-/archive/"), ("bitbucket", "BITBUCKET_SERVER_URL", "/get/")],
)
def test_short_forms_of_the_others(
    forge: Forge, garden: str, mounting: Mounting, short: str, variable: str, mark: str
) -> None:
    assert mounting.value(f"{short}:green/garden@v1.4", "m.V", **{variable: forge.url}) == "1"
    assert any(mark in path for path in forge.sent_to("home"))


def test_a_direct_reference_and_pips_spelling(forge: Forge, garden: str, python: Python) -> None:
    for url in ("github:green/garden@v1.4", f"git+{forge.url}/green/garden.git@v1.4"):
        code = f"import remote_wheel; print(remote_wheel.require('garden-tools @ {url}', module='garden').V)"
        assert python(code).stdout == "1\n"
    with_fragment = f"garden-tools @ git+{forge.url}/green/garden.git@v1.4#subdirectory=inner"
    forge.commit("green/garden", {f"inner/{name}": data for name, data in FILES.items()}, tag="v1.4")
    code = f"import remote_wheel; print(remote_wheel.require({with_fragment!r}, module='garden', refresh=True).V)"
    assert python(code).stdout == "1\n"


def test_subdirectory_and_a_tag_as_version(forge: Forge, mounting: Mounting) -> None:
    dynamic = '[project]\nname = "{}"\ndynamic = ["version"]\n[build-system]\nbuild-backend = "hatchling.build"\n'
    files = {
        f"packages/{name}/{path}": text
        for name in ("one", "two")
        for path, text in (("pyproject.toml", dynamic.format(name)), (f"src/{name}/__init__.py", f"V = {name!r}\n"))
    }
    forge.commit("mono/repo", dict(files), tag="v2.5")
    said = mounting.value("github:mono/repo@v2.5", "m.V, mount.distribution.version", "subdirectory='packages/two'")
    assert said == "two 2.5"
    said = mounting.value("github:mono/repo@v2.5#subdirectory=packages/one", "m.V, mount.distribution.version")
    assert said == "one 2.5"
    assert "no folder 'packages/three'" in mounting.error("github:mono/repo#subdirectory=packages/three")


# --- names that move ----------------------------------------------------------------------------------------------


def test_a_branch_is_looked_at_again_and_a_commit_never(forge: Forge, garden: str, mounting: Mounting) -> None:
    assert mounting.value("github:green/garden@main", "m.V") == "1"
    newer = forge.commit("green/garden", {"src/garden/__init__.py": "V = 2\n"})
    assert mounting.value("github:green/garden@main", "m.V") == "1", "fresh for a while"
    said = mounting.value("github:green/garden@main", f"m.V, {newer!r} in remote_wheel.explain(m)", "refresh=True")
    assert said == "2 True"
    forge.requests.clear()
    assert mounting.value("github:green/garden@main", "m.V", "refresh=True") == "2"
    assert forge.sent_to("codeload") == [], "the commit is the same, so is its archive"
    assert mounting.value(f"github:green/garden@{garden}", "m.V") == "1"
    forge.requests.clear()
    assert mounting.value(f"github:green/garden@{garden}", "m.V", "refresh=True") == "1"
    assert forge.requests == []


def test_a_branch_and_a_tag_of_one_name(forge: Forge, garden: str, mounting: Mounting) -> None:
    forge.git("green/garden", "branch", "both")
    forge.commit("green/garden", {"src/garden/__init__.py": "V = 2\n"}, tag="both")
    assert "'both' is a branch and a tag; write refs/heads/both or refs/tags/both" in mounting.error(
        "github:green/garden@both"
    )
    assert mounting.value("github:green/garden@refs/heads/both", "m.V") == "1"
    assert mounting.value("github:green/garden@refs/tags/both", "m.V") == "2"


def test_a_server_without_git_tells_the_commit_in_its_archive(forge: Forge, garden: str, mounting: Mounting) -> None:
    forge.speaks_git = False
    said = mounting.value("github:green/garden@v1.4", "m.V, '" + garden + "' in remote_wheel.explain(m)")
    assert said == "1 True"


def test_a_short_commit_id(forge: Forge, garden: str, mounting: Mounting) -> None:
    said = mounting.value(f"github:green/garden@{garden[:10]}", "m.V, '" + garden + "' in remote_wheel.explain(m)")
    assert said == "1 True"


# --- what is private --------------------------------------------------------------------------------------------------


def test_a_private_repository(forge: Forge, garden: str, mounting: Mounting) -> None:
    forge.token = "ghp_very-secret"
    said = mounting.error("github:green/garden@v1.4")
    assert said.startswith("NotFound: ")
    assert "it is private and there is no token (GITHUB_TOKEN or GH_ENTERPRISE_TOKEN" in said
    said = mounting.error("github:green/garden@v1.4", GITHUB_TOKEN="ghp_of-somebody-else")
    assert "the token may not read it" in said
    assert "ghp_of-somebody-else" not in said
    said = mounting.value("github:green/garden@v1.4", "m.V, mount, remote_wheel.explain(m)", GITHUB_TOKEN=forge.token)
    assert said.startswith("1 ")
    assert forge.token not in said


def test_a_token_is_not_forwarded(forge: Forge, garden: str, mounting: Mounting, cache: Path) -> None:
    forge.token = "ghp_very-secret"
    assert mounting.value("github:green/garden@v1.4", "m.V", GITHUB_TOKEN=forge.token) == "1"
    to_codeload = [sent for server, _, sent in forge.requests if server == "codeload"]
    assert to_codeload == [""]
    secrets = (forge.token.encode(), b"one-time-secret")
    for kept in (each for each in cache.rglob("*") if each.is_file()):
        assert not any(secret in kept.read_bytes() for secret in secrets), kept


def test_a_token_goes_to_no_other_server(forge: Forge, garden: str, mounting: Mounting) -> None:
    """A server nobody named as GitHub's gets no token of GitHub, however its URL looks."""
    url = f"{forge.url}/green/garden/archive/v1.4.zip"
    assert mounting.value(url, "m.V", GITHUB_SERVER_URL="https://github.index.example", GITHUB_TOKEN="ghp_x") == "1"
    assert {sent for _, _, sent in forge.requests} == {""}


A, B, HOME = "https://a.example", "https://b.example", "https://github.com"


@pytest.mark.parametrize(
    ("server", "environ", "token"),
    [
        (HOME, {"GITHUB_TOKEN": "t"}, "t"),
        (HOME, {"GITHUB_TOKEN": "t", "GH_TOKEN": "own"}, "own"),
        (HOME, {"GH_TOKEN": "own", "GITHUB_SERVER_URL": A}, "own"),
        (HOME, {"GITHUB_TOKEN": "t", "GITHUB_SERVER_URL": A}, ""),
        (HOME, {"GH_ENTERPRISE_TOKEN": "e"}, ""),
        (A, {"GITHUB_TOKEN": "t", "GITHUB_SERVER_URL": A}, "t"),
        (A, {"GITHUB_TOKEN": "t", "GH_TOKEN": "own"}, ""),
        (B, {"GITHUB_TOKEN": "t", "GITHUB_SERVER_URL": A, "GH_HOST": "b.example"}, ""),
        (B, {"GH_TOKEN": "own", "GH_HOST": "b.example"}, ""),
        (B, {"GH_ENTERPRISE_TOKEN": "e", "GH_HOST": "b.example"}, "e"),
        (B, {"GH_ENTERPRISE_TOKEN": "e"}, ""),
        ("https://gitlab.com", {"GITLAB_TOKEN": "g"}, "g"),
        ("https://gitlab.com", {"GITLAB_TOKEN": "g", "CI_SERVER_URL": A}, ""),
        (A, {"GITLAB_TOKEN": "g", "CI_SERVER_URL": A}, "g"),
        ("https://bitbucket.org", {"BITBUCKET_TOKEN": "b", "BITBUCKET_SERVER_URL": A}, ""),
    ],
)
def test_each_token_is_for_one_server(server: str, environ: dict[str, str], token: str) -> None:
    forges = Forges(Client(Limits()), Limits(), environ)
    found = {forges._token("github", server), forges._token("gitlab", server), forges._token("bitbucket", server)}
    assert found - {""} == {token} - {""}


def test_the_api_of_actions_is_only_for_its_own_server() -> None:
    environ = {"GITHUB_API_URL": "https://api.a.example", "GITHUB_SERVER_URL": A, "GH_HOST": "b.example"}
    forges = Forges(Client(Limits()), Limits(), environ)
    assert (forges._api(A), forges._api(B)) == ("https://api.a.example", f"{B}/api/v3")


def test_credentials_of_the_url_count_more_than_a_token(forge: Forge, garden: str, mounting: Mounting) -> None:
    forge.token = "explicit"
    url = f"http://me:explicit@127.0.0.1:{forge.port}/green/garden/archive/v1.4.zip"
    said = mounting.value(url, "m.V, mount, remote_wheel.explain(m)", GITHUB_TOKEN="of-the-environment")
    assert said.startswith("1 ")
    assert "explicit" not in said
    assert not any("of-the-environment" in sent for _, _, sent in forge.requests)


@pytest.mark.parametrize("name", ["archive/refs/tags/v1.4.zip", "archive/v1.4.tar.gz"])
def test_an_archive_with_a_stated_hash_is_that_very_file(
    forge: Forge, garden: str, mounting: Mounting, name: str
) -> None:
    ref, kind = name.removeprefix("archive/").partition("v1.4")[0] + "v1.4", name.partition("v1.4.")[2]
    data = forge.archive("green/garden", ref, kind)
    assert data is not None
    url = f"{forge.url}/green/garden/{name}"
    digest = hashlib.sha256(data).hexdigest()
    assert mounting.value(f"{url}#sha256={digest}", "m.V, mount.sha256") == f"1 {digest}"
    assert mounting.value(url, "m.V", f"sha256={digest!r}, cache_dir='other'") == "1"
    assert mounting.error(url, f"sha256={'0' * 64!r}, cache_dir='third'").startswith("DigestMismatch: ")


def test_a_host_whose_paths_only_look_like_a_forges(index: LoopbackIndex, mounting: Mounting) -> None:
    tree = make_zip({"pkg-1.0/pkg/__init__.py": "V = 3\n"})
    index.extra |= {"/a/b/archive/pkg-1.0.zip": tree, "/a/b/get/pkg-1.0.zip": tree}
    for place in ("archive", "get"):
        assert mounting.value(f"{index.root}a/b/{place}/pkg-1.0.zip", "m.V") == "3"
    index.statuses["/a/b.git/info/refs"] = 403
    assert mounting.value(f"{index.root}a/b/archive/pkg-1.0.zip", "m.V", "cache_dir='other'") == "3"


def test_a_file_that_the_build_would_write(forge: Forge, mounting: Mounting) -> None:
    """setuptools-scm and its like leave the version in a module that no repository has."""
    pyproject = (
        '[build-system]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "scm"\ndynamic = ["version"]\n'
        '[tool.setuptools_scm]\nversion_file = "src/scm/_version.py"\n'
    )
    files = {"pyproject.toml": pyproject, "src/scm/__init__.py": "from scm._version import version, version_tuple\n"}
    forge.commit("some/scm", dict(files), tag="v3.1.4")
    said = mounting.value("github:some/scm@v3.1.4", "m.version, m.version_tuple, mount.distribution.version")
    assert said == "3.1.4 (3, 1, 4) 3.1.4"


def test_a_release_asset(forge: Forge, index: LoopbackIndex, mounting: Mounting) -> None:
    filename, data = make_wheel("asset", "3.0", {"asset.py": "V = 9\n"})
    forge.releases[f"green/garden/v3/{filename}"] = data
    url = f"{forge.url}/green/garden/releases/download/v3/{filename}"
    assert mounting.value(url, "m.V") == "9"
    forge.token = "ghp_very-secret"
    said = mounting.error(url, "refresh=True, cache_dir='other'")
    assert said.startswith("NotFound: ")
    said = mounting.value(url, "m.V", "cache_dir='other'", GH_ENTERPRISE_TOKEN=forge.token)
    assert said == "9"
    wrong = url.replace("v3", "v4")
    assert mounting.error(wrong, GH_ENTERPRISE_TOKEN=forge.token).startswith("NotFound: ")


# --- what can't be mounted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"setup.py": "setup(name='fast', ext_modules=[Extension('x', [])])"}, "compiles native code"),
        (
            {"pyproject.toml": '[build-system]\nbuild-backend = "mesonpy"\n[project]\nname = "fast"\n'},
            "mesonpy, compiles",
        ),
        (
            {"pyproject.toml": '[build-system]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "fast"\n'
             'version = "1"\ndynamic = ["dependencies"]\n'},
            "its dependencies are computed by its build",
        ),
        ({"setup.py": "import os\nsetup(name='fast', install_requires=os.listdir('.'))"}, "computes its dependencies"),
    ],
)  # fmt: skip
def test_what_must_be_built_says_what_to_do_instead(
    forge: Forge, mounting: Mounting, files: dict[str, str | bytes], reason: str
) -> None:
    forge.commit("quick/fast", {**files, "fast/__init__.py": ""})
    said = mounting.error("github:quick/fast")
    assert said.startswith("MustBeBuilt: ")
    assert reason in said
    assert "Use require('fast'), which takes its wheel" in said


def test_what_goes_wrong_is_said(forge: Forge, garden: str, mounting: Mounting) -> None:
    assert "it has no branch, tag or commit 'v9'" in mounting.error("github:green/garden@v9")
    assert mounting.error("github:green/nothing").startswith("NotFound: ")
    said = mounting.error("git+https://git.index.example/green/garden")
    assert "only repositories on GitHub, GitLab and Bitbucket" in said
    assert "Write the repository as github:o/r@REF" in mounting.error("https://github.com/o/r")
    forge.requests.clear()
    said = mounting.value(
        "github:green/garden@main", "m.V", GITHUB_SERVER_URL="", GH_HOST=forge.url + "/", GH_TOKEN="x"
    )
    assert said == "1"
    assert {sent for _, _, sent in forge.requests} == {""}, "GH_TOKEN is for github.com alone"
    said = mounting.error("github:green/garden@v1.4", "sha256='" + "0" * 64 + "'")
    assert said.startswith("DigestMismatch: ")


def test_a_link_out_of_the_repository_is_refused(forge: Forge, mounting: Mounting) -> None:
    forge.commit("sly/links", {"links/__init__.py": "V = 1\n"})
    (forge.root / "sly/links/docs").symlink_to("links")  # one inside does no harm
    forge.commit("sly/links", {})
    assert mounting.value("github:sly/links", "m.V") == "1"
    (forge.root / "sly/links/passwords").symlink_to("../../../etc/passwd")
    forge.commit("sly/links", {})
    said = mounting.error("github:sly/links", "refresh=True")
    assert said.startswith("UnsafeArchive: ")
    assert "a link out of the archive" in said
