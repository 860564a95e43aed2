"""Where projects come from: several indexes, names, bindings, flat places, credentials, and who may be insecure."""

import hashlib
import json
import random
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import Python
from tests.loopback import LoopbackIndex, serve

SHOW = """
import remote_wheel
try:
    plan = remote_wheel.resolve({subjects}, prefer_installed=False, {options})
    print(*(f"{{pin.name}}=={{pin.version}}" for pin in plan.pins), sep=",")
    print(*plan.notes, sep="|")
except remote_wheel.RemoteWheelError as error:
    print(f"{{type(error).__name__}}: {{error}} | {{error.hint}}")
"""


class Resolving:
    """Resolves in fresh interpreters; tells the pins, or the error."""

    def __init__(self, python: Python) -> None:
        self._python = python

    def __call__(self, *subjects: str, options: str = "", **environ: str) -> str:
        return self.with_notes(*subjects, options=options, **environ)[0]

    def with_notes(self, *subjects: str, options: str = "", **environ: str) -> list[str]:
        code = SHOW.format(subjects=", ".join(map(repr, subjects)), options=options)
        return [*self._python(code, **environ).stdout.splitlines(), ""]


@pytest.fixture
def resolving(python: Python) -> Resolving:
    return Resolving(python)


@pytest.fixture
def other() -> Iterator[LoopbackIndex]:
    """A second index."""
    with serve(LoopbackIndex()) as running:
        yield running


def test_the_first_index_that_has_a_project_owns_it(
    index: LoopbackIndex, other: LoopbackIndex, resolving: Resolving
) -> None:
    other.add("ours", "1.0", requires=["theirs"])
    index.add("ours", "9.0")  # dependency confusion: the greater version is on the public index
    index.add("theirs", "2.0")
    assert resolving("ours", options=f"extra_index_urls=[{other.url!r}]") == "ours==1.0,theirs==2.0"
    assert resolving("ours", options=f"index=['corp={other.url}']") == "ours==1.0,theirs==2.0"
    assert index.count("/simple/ours/") == 0
    best = f"extra_index_urls=[{other.url!r}], index_strategy='unsafe-best-match'"
    assert resolving("ours", options=best) == "ours==9.0"
    assert "'best' is not known" in resolving("ours", options="index_strategy='best'")


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_an_index_that_fails_is_never_skipped(
    index: LoopbackIndex, other: LoopbackIndex, resolving: Resolving, status: int
) -> None:
    index.add("ours", "9.0")
    other.statuses["/simple/ours/"] = status
    said = resolving("ours", options=f"extra_index_urls=[{other.url!r}]")
    assert said.partition(":")[0] in ("AccessDenied", "ServerError")
    assert index.requests == []


def test_a_bound_project_comes_from_its_index_alone(
    index: LoopbackIndex, other: LoopbackIndex, resolving: Resolving
) -> None:
    for name in ("torch", "numpy"):
        other.add(name, "2.0", requires=["numpy"] if name == "torch" else [])
        index.add(name, "3.0")
    options = f"index=['cpu={other.url}'], project_index=['Torch=cpu']"
    assert resolving("torch", options=options) == "torch==2.0,numpy==3.0", (
        "numpy is there too, and not taken from there"
    )
    assert "is not PROJECT=NAME of a named index" in resolving("torch", options="project_index=['torch=gpu']")
    assert "no_index and index contradict" in resolving("torch", options=f"no_index=True, {options}")
    assert "is given twice" in resolving("torch", options=f"index=['a={other.url}', 'a={index.url}']")
    assert "the index is empty" in resolving("torch", options="index_url=''")
    assert "was not found on any index: none is asked" in resolving("torch", options="no_index=True")
    assert "is not NAME=URL" in resolving("torch", options="index=['https://index.example/simple']")


@pytest.mark.slow
def test_flat_places_beside_an_index(
    index: LoopbackIndex, resolving: Resolving, remote_wheel: Python, tmp_path: Path
) -> None:
    index.add("upper", "1.0", requires=["lower"])
    index.add("lower", "1.0")
    folder = tmp_path / "flat"
    folder.mkdir()
    files = dict([make_wheel("lower", "2.0"), make_wheel("lower", "3.0")])
    for name, data in files.items():
        (folder / name).write_bytes(data)
        index.extra[f"/flat/{name}"] = data
    links = "".join(f'<a href="{name}">{name}</a>\n' for name in files) + '<a href="README.md">read me</a>'
    (folder / "links.html").write_text(f"<html><body>{links}</body></html>")
    index.html_at["/flat/"] = f"<html><body>{links}</body></html>"
    one = "lower-2.0-py3-none-any.whl"
    for place, version in (
        ("flat", "3.0"),
        ("flat/links.html", "3.0"),
        (f"flat/{one}", "2.0"),
        ("flat/lower-2*.whl", "2.0"),
        (folder.as_uri(), "3.0"),
        (f"{index.root}flat/", "3.0"),
        (f"{index.root}flat/{one}", "2.0"),
    ):
        assert resolving("upper", options=f"find_links=[{place!r}]") == f"upper==1.0,lower=={version}", place
        assert resolving("lower", options=f"find_links=[{place!r}], no_index=True") == f"lower=={version}", place
    said = resolving("upper", options="find_links=['flat'], no_index=True")
    assert said.startswith("ProjectNotFound: project 'upper' was not found on file://")
    assert "does not exist" in resolving("upper", options="find_links=['nowhere']")
    assert "NotFound" in resolving("upper", options=f"find_links=['{index.root}nowhere/']")
    (tmp_path / "empty").mkdir()
    assert resolving("upper", options="find_links=['empty']") == "upper==1.0,lower==1.0"
    run = (
        "run",
        "--no-index",
        "--find-links",
        "flat",
        "--with",
        "lower",
        "-c",
        "import lower; print(lower.__version__)",
    )
    assert remote_wheel(*run).stdout == "3.0\n"
    name, data = make_wheel("lower", "4.0")
    (folder / name).write_bytes(data)
    assert remote_wheel(*run).stdout == "4.0\n", "a folder is watched"


def test_a_watched_folder_keeps_the_warm_path(remote_wheel: Python, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    name, data = make_wheel("thing", "1.0")
    (folder / name).write_bytes(data)
    run = (
        "run",
        "--index-url",
        "wheels",
        "--with",
        "thing",
        "-c",
        "import sys; print('remote_wheel.api.cold' in sys.modules)",
    )
    assert remote_wheel(*run).stdout == "True\n", "the first one asked the helper"
    assert remote_wheel(*run).stdout == "False\n"


# --- what an index says of a project --------------------------------------------------------------------------------


@pytest.mark.parametrize("speaks_json", [True, False])
def test_project_status(index: LoopbackIndex, resolving: Resolving, speaks_json: bool) -> None:
    index.speaks_json = speaks_json
    for name in ("old", "older", "bad"):
        index.add(name, "1.0")
    index.status_of |= {
        "old": ("archived", ""),
        "older": ("deprecated", 'use "new" instead'),
        "bad": ("quarantined", "malware"),
    }
    pins, notes, *_ = resolving.with_notes("old", "older")
    assert pins == "old==1.0,older==1.0"
    assert notes == 'old is archived|older is deprecated: use "new" instead'
    assert "the project is quarantined: malware" in resolving("bad")
    index.add("needs-bad", "1.0", requires=["bad"])
    assert "quarantined" in resolving("needs-bad")


def test_one_broken_entry_does_not_hide_the_others(index: LoopbackIndex, resolving: Resolving) -> None:
    index.add("thing", "1.0")
    page = index.json_page("thing").decode()
    broken = page.replace('"files": [', '"files": [{"filename": 7, "url": "x"}, {"url": null}, 5, ')
    index.json_of["thing"] = broken
    pins, notes, *_ = resolving.with_notes("thing")
    assert pins == "thing==1.0"
    assert notes.startswith("3 entries of thing's page can't be read, as '7' ")
    index.json_of["thing"] = broken.replace('"filename": "thing-1.0', '"filename": "other-1.0')
    assert resolving("thing", options="refresh=True").startswith("NoMatchingVersion: "), "files of other projects"
    index.json_of["thing"] = '{"meta": {"api-version": "1.0"}, "name": "thing", "files": [5]}'
    assert resolving("thing", options="refresh=True").startswith("InvalidIndexPage: ")
    index.json_of["thing"] = page.replace('"name": "thing"', '"name": "other"')
    assert "it is the page of 'other'" in resolving("thing", options="refresh=True")


def test_what_was_skipped_is_told_to_who_asks(index: LoopbackIndex, remote_wheel: Python) -> None:
    index.add("thing", "1.0")
    bad = make_wheel("thing", "2.0", requires=["dep >= nonsense"])
    index.add_file("thing", *bad)
    index.add_file("thing", "thing-final.tar.gz", b"")
    page = index.json_page("thing").decode()
    index.json_of["thing"] = page.replace('"files": [', '"files": [{"filename": "thing-0.1.zip", "url": null}, ')
    told = remote_wheel("tree", "thing", "--isolated", "-v").stderr.splitlines()
    assert told[0].startswith("note: 1 entries of thing's page can't be read")
    assert told[1] == "skipped: thing: thing-final.tar.gz: it is no name of a distribution of this project"
    assert told[2].startswith("skipped: thing: thing-0.1.zip: ")
    assert told[3].startswith("skipped: thing 2.0: ")
    assert "nonsense" in told[3]
    quiet = remote_wheel("tree", "thing", "--isolated")
    assert quiet.stderr.splitlines() == told[:1]
    assert quiet.stdout == "thing 1.0\n"


def test_a_new_plan_warns_once(index: LoopbackIndex, python: Python, remote_wheel: Python) -> None:
    index.add("thing", "1.0")
    index.status_of["thing"] = ("archived", "see other-thing")
    index.cache_control = "max-age=600"
    warned = python("import remote_wheel\n\nremote_wheel.require('thing')").stderr
    assert warned.startswith("<string>:3: UserWarning: thing is archived: see other-thing\n")
    assert python("import remote_wheel\n\nremote_wheel.require('thing')").stderr == ""
    told = remote_wheel("run", "--with", "thing", "--isolated", "-c", "import thing")
    assert told.stderr == "note: thing is archived: see other-thing\n"
    assert remote_wheel("run", "--with", "thing", "--isolated", "-c", "import thing").stderr == ""


@pytest.mark.slow
def test_a_page_of_a_hundred_thousand_files(index: LoopbackIndex, resolving: Resolving) -> None:
    """Some 30 MB, most of it of no use: old versions, other systems, names that no standard explains."""
    file = index.add("thing", "1.0")
    page = json.loads(index.json_page("thing"))
    template = {"hashes": {"sha256": "0" * 64}, "requires-python": ">=3.8", "size": 1000, "yanked": False}
    names = (
        f"thing-{major}.{minor}.{patch}-{tag}.whl"
        for major, tag in (
            (0, "py3-none-any"),
            (1, "cp27-cp27m-win32"),
            (2, "cp312-cp312-macosx_11_0_arm64"),
            (3, "odd"),
        )
        for minor in range(250)
        for patch in range(100)
    )
    page["files"] += [{**template, "filename": name, "url": f"../../files/{name}"} for name in names]
    assert len(page["files"]) == 100_001
    index.json_of["thing"] = json.dumps(page)
    assert len(index.json_of["thing"]) > 20_000_000
    assert resolving("thing>=1,<2") == "thing==1.0"
    assert file.filename.startswith("thing-1.0-")


# --- who may log in --------------------------------------------------------------------------------------------------


def test_a_page_is_sorted_once(index: LoopbackIndex, resolving: Resolving, cache: Path) -> None:
    index.add("app", "1.0")
    index.add("app", "2.0")
    index.cache_control = "max-age=600"
    assert resolving("app") == "app==2.0"
    index.requests.clear()
    (page,) = (cache / "v1" / "pages").iterdir()
    (listing,) = (cache / "v1" / "listings").iterdir()
    whole = page.read_bytes()
    page.write_bytes(whole.partition(b"\n")[0] + b"\nnot looked at")
    assert resolving("app<2") == "app==1.0"
    assert not index.pages()
    index.requests.clear()
    listing.write_bytes(listing.read_bytes()[:-1])  # damaged, and the page is, too: both are made again
    assert resolving("app<1.5") == "app==1.0"
    assert [path for path, _ in index.requests] == ["/simple/app/"]
    assert page.read_bytes().partition(b"\n")[2] == whole.partition(b"\n")[2]


def test_a_new_page_is_a_new_listing(index: LoopbackIndex, resolving: Resolving) -> None:
    index.add("app", "1.0")
    index.cache_control = "no-cache"
    assert resolving("app") == "app==1.0"
    assert resolving("app") == "app==1.0"
    assert [status for _, status in index.requests if status == 304]
    index.add("app", "2.0", yanked="broken")
    assert resolving("app") == "app==1.0"
    assert resolving("app==2.0") == "app==2.0"
    assert resolving("app", options="python_version='3.11', constraints=['app<1']").startswith("NoMatchingVersion")
    index.add("app", "3.0", tag="cp312-cp312-win_amd64")
    assert resolving("app", options="python_version='3.12', platform='windows'") == "app==3.0"
    assert resolving("app") == "app==1.0"


def test_an_answer_is_kept_while_nothing_changes(index: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    index.add("app", "1.0", requires=["lib"])
    index.add("lib", "1.0")
    index.cache_control = "max-age=600"
    (tmp_path / "in.txt").write_text("app\n")
    both = "app==1.0,lib==1.0"
    assert resolving("-r in.txt") == both
    shutil.rmtree(tmp_path / "cache" / "v1" / "pages")  # nothing but the answer can give the answer now
    shutil.rmtree(tmp_path / "cache" / "v1" / "metadata")
    index.requests.clear()
    assert resolving("-r in.txt") == both
    assert resolving("-r in.txt", options="offline=True") == both
    assert not index.requests
    index.add("lib", "2.0")
    assert resolving("-r in.txt", options="refresh=True") == "app==1.0,lib==2.0"
    (tmp_path / "in.txt").write_text("app\nlib<2\n")
    assert resolving("-r in.txt") == both
    assert resolving("-r in.txt", options="python_version='3.12'") == both


def test_an_answer_ages_with_the_pages_and_with_what_is_installed(
    index: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    index.add("app", "1.0")
    site = tmp_path / "site"
    site.mkdir()
    code = "import sys, remote_wheel; sys.path.append('site'); print(remote_wheel.resolve('app').pins[0].installed_at)"
    index.cache_control = "max-age=0"
    python(code)
    index.requests.clear()
    python(code)
    assert index.pages() == 1
    index.cache_control = "max-age=600"
    assert python(code).stdout == "\n"
    assert python(code).stdout == "\n"
    assert index.pages() == 2
    (site / "app-0.5.dist-info").mkdir()
    (site / "app-0.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: app\nVersion: 0.5\n")
    assert "app-0.5.dist-info" in python(code).stdout


def test_what_an_index_says_of_a_wheel_reaches_no_other(
    index: LoopbackIndex, other: LoopbackIndex, resolving: Resolving
) -> None:
    """A stated metadata hash that nothing was checked against must name nothing."""
    index.add("app", "1.0")
    other.add("app", "1.0", requires=["evil"])
    other.add("evil", "1.0")
    honest = index.json_page("app").decode()
    digest = honest.partition('"core-metadata": {"sha256": "')[2][:64]
    lying = other.json_page("app").decode()
    other.json_of["app"] = lying.replace(lying.partition('"core-metadata": {"sha256": "')[2][:64], digest)
    other.statuses["/files/app-1.0-py3-none-any.whl.metadata"] = 404
    assert "DigestMismatch" in resolving("app", options=f"index_url={other.url!r}")
    assert resolving("app") == "app==1.0"


def test_what_decides_an_answer_is_in_its_key_or_watched(
    index: LoopbackIndex, other: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    index.add("app", "1.0")
    other.add("app", "2.0")
    index.cache_control = other.cache_control = "max-age=600"
    code = "import remote_wheel; print(remote_wheel.resolve('app', prefer_installed=False).pins[0])"
    config = tmp_path / "config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    environ = {"REMOTE_WHEEL_INDEX_URL": "", "PIP_CONFIG_FILE": "", "XDG_CONFIG_HOME": str(tmp_path / "config")}
    config.write_text(f"[global]\nindex-url = {index.url}\n")
    assert python(code, **environ).stdout == "app 1.0\n"
    config.write_text(f"[global]\nindex-url = {other.url}\n")
    assert python(code, **environ).stdout == "app 2.0\n"


def test_prefetch_beside_mounts_is_for_everybody(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1.0")
    index.add("app", "2.0")
    index.cache_control = "max-age=600"
    python("import remote_wheel; remote_wheel.require('app==1.0'); remote_wheel.prefetch('app')")
    code = "import remote_wheel, importlib.metadata as m; remote_wheel.require('app'); print(m.version('app'))"
    assert python(code).stdout == "2.0\n"


def test_an_answer_from_offline_is_no_answer_online(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        index.add("lib", version)
        index.add("app", version, requires=[f"lib>={version}"])
    index.cache_control = "max-age=600"
    place = tmp_path / "site" / "lib-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
    code = "import sys, remote_wheel; sys.path.append('site'); print(*remote_wheel.resolve('app', {}).pins)"
    for version in ("1.0", "2.0"):
        python(f"import remote_wheel; remote_wheel.resolve('app=={version}', prefer_installed=False)")
    shutil.rmtree(tmp_path / "cache" / "v1" / "listings")
    (tmp_path / "cache" / "v1" / "pages" / hashlib.sha256(f"{index.url}lib/".encode()).hexdigest()).unlink()
    offline = python(code.format("offline=True")).stdout
    assert "app 1.0" in offline
    assert "app 2.0" in python(code.format("")).stdout


def test_a_newer_page_counts_though_the_sorted_one_has_time_left(index: LoopbackIndex, resolving: Resolving) -> None:
    index.add("app", "1.0")
    index.cache_control = "max-age=600"
    assert resolving("app") == "app==1.0"
    index.add("app", "2.0")
    index.add("app", "3.0")
    assert resolving("app", options="refresh=True, constraints=['app<3']") == "app==2.0"  # nothing is sorted for all
    index.requests.clear()
    assert resolving("app<4") == "app==3.0"
    assert not index.pages()


def test_a_page_that_is_not_to_be_stored_is_not(index: LoopbackIndex, resolving: Resolving, cache: Path) -> None:
    index.add("app", "1.0")
    index.cache_control = "no-store"
    assert resolving("app") == "app==1.0"
    assert not list((cache / "v1" / "pages").iterdir())
    assert not list((cache / "v1" / "listings").iterdir())


def test_credentials_by_the_name_of_an_index(index: LoopbackIndex, other: LoopbackIndex, resolving: Resolving) -> None:
    other.user = "me:s3cret/+@"
    other.add("ours", "1.0")
    options = f"index=['my-corp={other.url}']"
    environ = {"REMOTE_WHEEL_INDEX_MY_CORP_USERNAME": "me", "REMOTE_WHEEL_INDEX_MY_CORP_PASSWORD": "s3cret/+@"}
    assert resolving("ours", options=options, **environ) == "ours==1.0"
    wrong = {**environ, "REMOTE_WHEEL_INDEX_MY_CORP_PASSWORD": "wr0ng-one"}
    said = resolving("ours", options=f"{options}, refresh=True", **wrong)
    assert said.startswith("AccessDenied: ")
    assert "wr0ng-one" not in said


def test_netrc(index: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    index.user = "me:netrc-secret"
    index.add("ours", "1.0")
    assert resolving("ours").startswith("AccessDenied: ")
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password netrc-secret\n")
    netrc.chmod(0o600)
    assert resolving("ours") == "ours==1.0"


def keyring_backend(folder: Path, check: str = "pass") -> dict[str, str]:
    """Return the variables for keyring's own backend in a file, which has a password for the user "me"."""
    (folder / "backend.py").write_text(
        "import keyring.backend\nfrom keyring.credentials import SimpleCredential\n"
        "class Backend(keyring.backend.KeyringBackend):\n    priority = 1\n"
        "    def get_password(self, service, username): return 'keyring-secret' if username == 'me' else None\n"
        "    def set_password(self, service, username, password): raise NotImplementedError\n"
        f"    def get_credential(self, service, username):\n        {check}\n"
        "        return SimpleCredential('me', 'keyring-secret') if username in (None, 'me') else None\n"
    )
    return {"PYTHONPATH": str(folder), "PYTHON_KEYRING_BACKEND": "backend.Backend"}


def test_a_keyring(index: LoopbackIndex, resolving: Resolving, python: Python, tmp_path: Path) -> None:
    """keyring itself, with a backend in a file, as its documentation has it."""
    index.user = "me:keyring-secret"
    index.add("ours", "1.0")
    environ = keyring_backend(tmp_path, f"assert '127.0.0.1:{index.port}' in service")
    assert resolving("ours", **environ) == "ours==1.0"
    index.add("theirs", "1.0")  # two pages are asked for, and refused, before anything is known
    code = "import remote_wheel; print(len(remote_wheel.require('ours', 'theirs')))"
    assert python(code, REMOTE_WHEEL_REFRESH="1", **environ).stdout == "2\n"
    assert python(code, REMOTE_WHEEL_CACHE_DIR=str(tmp_path / "other"), **environ).stdout == "2\n"
    assert resolving("ours", options="refresh=True", PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring").startswith(
        "AccessDenied: "
    )


def test_a_user_in_the_url_and_the_password_in_netrc(
    index: LoopbackIndex, resolving: Resolving, tmp_path: Path
) -> None:
    """Combined as uv does it; a login of another user in the file is none of this one."""
    index.user = "me:netrc-secret"
    index.add("ours", "1.0")
    netrc = tmp_path / "home" / ".netrc"
    options = f"index_url={index.url.replace('//', '//me@')!r}"
    for user, expected in (("somebody", "AccessDenied: "), ("me", "ours==1.0")):
        netrc.write_text(f"machine 127.0.0.1 login {user} password netrc-secret\n")
        netrc.chmod(0o600)
        assert resolving("ours", options=options).startswith(expected)


def test_a_user_in_the_url_and_the_password_in_the_keyring(
    index: LoopbackIndex, resolving: Resolving, tmp_path: Path
) -> None:
    index.user = "me:keyring-secret"
    index.add("ours", "1.0")
    environ = keyring_backend(tmp_path)
    for user, expected in (("somebody", "AccessDenied: "), ("me", "ours==1.0")):
        options = f"index_url={index.url.replace('//', f'//{user}@')!r}"
        assert resolving("ours", options=options, **environ).startswith(expected)


def test_plain_http_to_a_named_host(index: LoopbackIndex, resolving: Resolving) -> None:
    """By another name of this machine, which is not known to be it."""
    index.add("thing", "1.0")
    url = index.url.replace("127.0.0.1", "0.0.0.0")
    assert resolving("thing", options=f"index_url={url!r}").startswith("InsecureTransport: ")
    for host in ("0.0.0.0", f"0.0.0.0:{index.port}"):
        assert resolving("thing", options=f"index_url={url!r}, allow_insecure=[{host!r}]") == "thing==1.0"
    said = resolving("thing", options=f"index_url={url!r}, refresh=True, allow_insecure=['0.0.0.0:1', 'other']")
    assert said.startswith("InsecureTransport: ")


def test_a_page_without_an_etag_is_asked_for_by_its_date(index: LoopbackIndex, resolving: Resolving) -> None:
    index.add("app", "1.0")
    index.has_etag, index.cache_control = False, "max-age=0"
    index.last_modified = "Mon, 02 Nov 2026 10:00:00 GMT"
    assert resolving("app") == "app==1.0"
    assert resolving("app<2") == "app==1.0"
    assert [status for path, status in index.requests if path == "/simple/app/"] == [200, 304]


@pytest.mark.parametrize("what", ["silent", "gone"])
def test_an_index_that_does_not_answer_is_not_passed_over(
    index: LoopbackIndex, other: LoopbackIndex, resolving: Resolving, what: str
) -> None:
    """Who can keep the first index from answering must not choose where the project comes from."""
    index.add("app", "9.0")
    url = other.url
    if what == "silent":
        other.hang_s = 3.0
    else:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/simple/"
    said = resolving("app", options=f"extra_index_urls=[{url!r}], timeout_s=0.3")
    assert said.startswith({"silent": "FetchTimeout: ", "gone": "NetworkError: "}[what]), said
    assert not index.pages()


def test_one_file_of_a_version_that_is_yanked_does_not_yank_the_version(
    index: LoopbackIndex, resolving: Resolving
) -> None:
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-none-any"
    index.add("app", "0.9")
    index.add("app", "1.0")
    index.add("app", "1.0", tag=tag).yanked = "broken on this one"
    assert resolving("app") == "app==1.0"
    (any_file,) = (file for file in index.files["app"] if file.filename == "app-1.0-py3-none-any.whl")
    any_file.yanked = "and here"
    assert resolving("app", options="refresh=True") == "app==0.9"


@pytest.mark.parametrize("requires", ['lib; "x" in extras', "lib>=" + "1" * 5000], ids=["extras", "long"])
def test_a_release_with_a_requirement_that_means_nothing_is_left_out(
    index: LoopbackIndex, resolving: Resolving, requires: str
) -> None:
    index.add("lib", "1.0")
    index.add("top", "0.9", requires=["app<1"])
    index.add("top", "1.0", requires=["app>=1"])
    index.add("app", "0.5")
    index.add("app", "1.0", requires=[requires])
    assert resolving("top") == "top==0.9,app==0.5"
    said = resolving("app>=1")
    assert said.startswith("Unsatisfiable: "), said
    assert "app 1.0 can't be used" in said


def test_a_python_requirement_that_can_not_be_read_is_none(index: LoopbackIndex, resolving: Resolving) -> None:
    index.add("app", "1.0", requires_python=">=2.7, !=3.0.*, >=3.5.*")
    assert resolving("app") == "app==1.0"


def test_markers_of_the_user_that_mean_nothing_are_named(index: LoopbackIndex, resolving: Resolving) -> None:
    index.add("app", "1.0")
    said = resolving("app; os_name ~= 'posix'")
    assert said.startswith("InvalidRequirement: "), said
    assert "its marker can't be evaluated" in said


@pytest.mark.parametrize("has_ranges", [True, False])
def test_no_wheel_comes_twice_where_metadata_is_no_file(index: LoopbackIndex, python: Python, has_ranges: bool) -> None:
    index.has_metadata, index.has_ranges = False, has_ranges
    padding = {"lib/data.bin": random.Random(1).randbytes(300_000), "lib/__init__.py": ""}
    index.add("lib", "1.0", padding)
    index.add("app", "1.0", {**padding, "app.py": ""}, requires=["lib"])
    python("import remote_wheel; remote_wheel.prefetch('app')")
    whole = [path for path, status in index.requests if path.endswith(".whl") and status == 200]
    assert len(whole) == len(set(whole)) == 2
