"""Names that stand for something else: modules of others, look-alikes, and a project that two indexes have."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex, serve

CATCH = """
import warnings, remote_wheel
def caught(function, *arguments, **options):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            function(*arguments, **options)
        except remote_wheel.RemoteWheelError as error:
            return f"{type(error).__name__}: {error}"
    return [str(each.message) for each in told]
"""
REQUIRE = "print(caught(remote_wheel.require, 'app', prefer_installed=False))"


def test_a_wheel_has_not_the_module_of_a_project_it_needs(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1", {"app.py": "import helper\nWHO = helper.WHO\n", "helper/__init__.py": "WHO = 'app'\n"},
              requires=["helper"])  # fmt: skip
    index.add("helper", "2", {"helper/__init__.py": "WHO = 'helper'\n"})
    code = CATCH + REQUIRE + "\nimport app; print(app.WHO)"
    said, who = python(code).stdout.splitlines()
    assert said == "[\"app 1 has a module 'helper', which is helper's: it is not used (allow_shadow)\"]"
    assert who == "helper"
    assert python(code).stdout.splitlines() == ["[]", "helper"]  # told once, true for ever
    assert python(code, REMOTE_WHEEL_ALLOW_SHADOW="helper").stdout.splitlines() == ["[]", "app"]


def test_the_same_where_images_are_finished_behind_the_import(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1", {"app.py": "import helper\nWHO = helper.WHO\n", "helper/__init__.py": "WHO = 'app'\n"},
              requires=["helper"])  # fmt: skip
    index.add("helper", "2", {"helper/__init__.py": "WHO = 'helper'\n"})
    code = "import time, remote_wheel; print(remote_wheel.require('app').WHO)"
    for _ in range(3):
        assert python(f"{code}; time.sleep(0.5)", REMOTE_WHEEL_COMPILE="ahead").stdout == "helper\n"


def test_whose_module_it_is_by_what_else_a_project_has(index: LoopbackIndex, python: Python) -> None:
    """A project whose only module has another name, as pyjwt's jwt: in one plan, in two calls, and installed."""
    index.add("aaa", "1", {"aaa.py": "", "jwt/__init__.py": "WHO = 'aaa'\n"})
    index.add("pyjwt", "1", {"jwt/__init__.py": "WHO = 'pyjwt'\n"})
    code = CATCH + "print(caught(remote_wheel.require, 'aaa', 'pyjwt'))\nimport jwt; print(jwt.WHO)"
    told, who = python(code).stdout.splitlines()
    assert told == "[\"aaa 1 has a module 'jwt', which is pyjwt's: it is not used (allow_shadow)\"]"
    assert who == "pyjwt"
    for first, second in (("aaa", "pyjwt"), ("pyjwt", "aaa")):
        code = f"import remote_wheel as rw; rw.resolve({first!r}).mount(); rw.resolve({second!r}).mount()"
        assert python(code + "; import jwt; print(jwt.WHO)").stdout == "pyjwt\n"


def test_a_module_of_what_is_installed(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    info = tmp_path / "site" / "helper-2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: helper\nVersion: 2\n")
    (info / "RECORD").write_text("helper.py,,\nhelper-2.dist-info/METADATA,,\n")
    (tmp_path / "site" / "helper.py").write_text("WHO = 'installed'\n")
    index.add("app", "1", {"app.py": "import helper\nWHO = helper.WHO\n", "helper.py": "WHO = 'app'\n"},
              requires=["helper"])  # fmt: skip
    code = "import sys; sys.path.append('site'); import remote_wheel; print(remote_wheel.require('app').WHO)"
    for _ in range(2):
        assert python(code).stdout == "installed\n"


def test_this_library_is_never_replaced(index: LoopbackIndex, python: Python) -> None:
    index.add("evil", "1", {"evil.py": "V = 1\n", "remote_wheel/__init__.py": "1/0\n", "remote_wheel/mounts.py": "1/0"})
    index.add("good", "1", {"good/__init__.py": "", "good/x.txt": "text"})
    code = """
        import remote_wheel, importlib.resources
        with remote_wheel.environment("evil", "good", in_memory=[":all:"], allow_shadow=["remote_wheel"]) as env:
            import good, evil
            print(importlib.resources.files("good").joinpath("x.txt").read_text(), evil.V)
            import remote_wheel as again
            print(again is remote_wheel)
    """
    assert python(code).stdout == "text 1\nTrue\n"


def test_the_standard_library_is_shadowed_only_on_request(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1", {"app.py": "import tomllib\nWHO = getattr(tomllib, 'WHO', 'python')\n",
                           "tomllib/__init__.py": "WHO = 'app'\n"})  # fmt: skip
    code = "import remote_wheel; print(remote_wheel.require('app').WHO)"
    assert python(code).stdout == "python\n"
    assert python(code, REMOTE_WHEEL_ALLOW_SHADOW="tomllib").stdout == "app\n"
    assert python(code, REMOTE_WHEEL_ALLOW_SHADOW="tomllib").stdout == "app\n"
    assert python(code).stdout == "python\n"


def test_a_module_of_a_well_known_project_is_told(index: LoopbackIndex, python: Python) -> None:
    index.add("reqeusts", "1", {"requests/__init__.py": "", "app.py": ""})
    index.add("pillow-simd", "1", {"PIL/__init__.py": ""})
    index.add("pyyaml", "1", {"yaml/__init__.py": ""})
    said = python(CATCH + "print(caught(remote_wheel.resolve('reqeusts', 'pillow-simd', 'pyyaml').mount))").stdout
    assert "reqeusts 1 has a module 'requests', as requests has: is it what you think it is?" in said
    assert "pillow-simd 1 has a module 'PIL', as pillow has" in said
    assert "yaml" not in said


@pytest.mark.parametrize("name", ["APP", "a-p-p", "a_p.P", "A.-_p.p"])
def test_spellings_of_one_name(index: LoopbackIndex, python: Python, name: str) -> None:
    index.add("a.p_P" if "p" in name[1:] or "." in name else "app", "1", {"app.py": "V = 1\n"})
    found = "a-p-p" if name != "APP" else "app"
    index.files = {found: next(iter(index.files.values()))}
    code = f"import remote_wheel; print(remote_wheel.require({name!r}, module='app').V)"
    assert python(code).stdout == "1\n"
    assert index.count(f"/simple/{found}/") == 1


@pytest.mark.parametrize("name", ["аpp", "app\u200b", "../app", "app/../../x", "app%2e", "app?x", "-app", "app-"])
def test_names_that_are_none(index: LoopbackIndex, python: Python, name: str) -> None:
    index.add("app", "1")
    said = python(CATCH + f"print(ascii(caught(remote_wheel.resolve, {name!r})))").stdout
    assert "Invalid" in said or "UsageError" in said, said
    assert index.requests == []


@pytest.mark.parametrize("first", [200, 404, 401, 403, 407, 429, 500, 503, "quarantined", "yanked"])
@pytest.mark.parametrize("is_offline", [False, True], ids=["online", "offline"])
def test_the_public_index_never_answers_for_the_private_one(python: Python, first: int | str, is_offline: bool) -> None:
    """A higher version on the second index is taken only where the first does not know the project at all."""
    with serve(LoopbackIndex()) as private, serve(LoopbackIndex()) as public:
        public.add("corp", "99", {"corp.py": "WHO = 'public'\n"})
        if first != 404:
            private.add("corp", "1", {"corp.py": "WHO = 'private'\n"}, yanked="no" if first == "yanked" else None)
        if first == "quarantined":
            private.status_of["corp"] = ("quarantined", "bad")
        if isinstance(first, int) and first not in (200, 404):
            private.statuses["/simple/corp/"] = first
        code = CATCH + "print(caught(lambda: print(remote_wheel.require('corp', prefer_installed=False).WHO)))"
        environ = {"REMOTE_WHEEL_INDEX_URL": public.url, "REMOTE_WHEEL_EXTRA_INDEX_URLS": private.url}
        said = python(code, **environ).stdout
        if is_offline:
            again = python(code, REMOTE_WHEEL_OFFLINE="1", **environ).stdout
            assert again.splitlines()[0] == said.splitlines()[0] or again.startswith("NotCached"), again
            said = again if first in (200, 404) else said
        expected = {200: "private\n", 404: "public\n"}.get(first if isinstance(first, int) else 0)
        if expected:
            assert said.startswith(expected), said
        else:
            assert "public" not in said.replace("public_", ""), said
            assert public.count("corp") == 0


POLICIES = {
    "allowed-hosts": '["other.example", "*.elsewhere.example"]',
    "allowed-indexes": '["https://index.example/simple/"]',
    "require-hashes": "true",
}


@pytest.mark.parametrize("rule", POLICIES)
@pytest.mark.parametrize("place", ["call", "environment", "project", "user"])
def test_what_policy_refuses_says_where_it_was_set(
    index: LoopbackIndex, python: Python, tmp_path: Path, rule: str, place: str
) -> None:
    index.add("app", "1")
    name, value = rule.replace("-", "_"), json.loads(POLICIES[rule])
    environ, options, where = {}, "", "the call"
    if place == "call":
        options = f", {name}={value!r}"
    elif place == "environment":
        where = f"REMOTE_WHEEL_{name.upper()}"
        environ[where] = "1" if value is True else " ".join(value)
    else:
        path = tmp_path / ("pyproject.toml" if place == "project" else "home/.config/remote_wheel/config.toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(("[tool.remote-wheel]\n" if place == "project" else "") + f"{rule} = {POLICIES[rule]}\n")
        where = str(path)
    code = CATCH + f"print(caught(remote_wheel.require, 'app'{options}))"
    said = python(code, **environ).stdout
    assert said.startswith("RefusedByPolicy: "), said
    assert said.endswith(f" is refused: {name} is set by {where}\n")
    assert index.wheels() == 0
    if place in ("project", "user"):
        path.unlink()
        assert python(code).stdout == "[]\n"
        path.write_text(("[tool.remote-wheel]\n" if place == "project" else "") + f"{rule} = {POLICIES[rule]}\n")
        again = python(code).stdout  # not the record of before, and of what is in the cache by now
        assert again.endswith(f" is refused: {name} is set by {where}\n")


def test_hashes_are_required_of_everything(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """On every way in, and of what is in the cache already."""
    file = index.add("app", "1", requires=["lib"])
    index.add("lib", "1")
    url, sha256 = index.file_url(file), hashlib.sha256(file.data).hexdigest()
    (tmp_path / "app-1-py3-none-any.whl").write_bytes(file.data)
    python(f"import remote_wheel; remote_wheel.mount({url!r})")
    for call in (
        f"remote_wheel.mount({url!r}, require_hashes=True)",
        f"remote_wheel.mount({url!r}, sha256={sha256!r}, require_hashes=True)",  # what it needs has none
        "remote_wheel.mount('./app-1-py3-none-any.whl', require_hashes=True)",
        f"remote_wheel.require('app @ {url}', require_hashes=True)",
    ):
        assert "RefusedByPolicy" in python(f"import remote_wheel; {call}", expect=1).stderr, call
    python(f"import remote_wheel; remote_wheel.mount({url!r}, sha256={sha256!r}, deps=False, require_hashes=True)")


def test_a_projects_file_does_not_loosen_the_users(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("app", "1")
    own = tmp_path / "home" / ".config" / "remote_wheel" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("require-hashes = true\n")
    (tmp_path / "pyproject.toml").write_text("[tool.remote-wheel]\nrequire-hashes = false\n")
    said = python(CATCH + "print(caught(remote_wheel.require, 'app'))").stdout
    assert said.endswith(f"require_hashes is set by {own}\n")


def test_a_page_of_the_web_leads_to_the_web(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    file = index.add("app", "1")
    (tmp_path / file.filename).write_bytes(file.data)
    places = ((tmp_path / file.filename).as_uri(), f"s3://bucket/{file.filename}", f"sftp://h.example/{file.filename}")
    entry = {"filename": file.filename, "hashes": {"sha256": hashlib.sha256(file.data).hexdigest()}}
    for place in places:
        page = {"meta": {"api-version": "1.1"}, "name": "app", "files": [{**entry, "url": place}]}
        index.json_of["app"] = json.dumps(page)
        said = python(CATCH + "print(caught(remote_wheel.resolve, 'app', refresh=True))").stdout
        assert said.startswith("InvalidIndexPage"), said
        assert "may not lead to" in said


def test_what_policy_allows(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    file = index.add("app", "1")
    index.redirects["/files/other.whl"] = f"http://localhost:{index.port}/files/{file.filename}"
    host = f"127.0.0.1:{index.port}"
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.remote-wheel]\nallowed-hosts = ["{host}"]\nallowed_indexes = ["{index.root}"]\ntimeout-s = 3\n'
    )
    code = CATCH + "print(caught(remote_wheel.require, 'app'))"
    assert python(code).stdout == "[]\n"
    away = CATCH + f"print(caught(remote_wheel.mount, '{index.root}files/other.whl'))"
    assert python(away).stdout.startswith(f"RefusedByPolicy: http://localhost:{index.port}/files/")
    sha256 = hashlib.sha256(file.data).hexdigest()
    url = index.file_url(file)
    python(f"import remote_wheel; remote_wheel.mount({url!r}, require_hashes=True, sha256={sha256!r})")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("index-url = 1", "index_url can't be 1"),
        ("colour = true", "unknown option 'colour'"),
        ("offline = true", "unknown option 'offline'"),
        ("allowed-hosts = 'x'", "allowed_hosts can't be 'x'"),
        ("verify = 'no'", "verify='no' is not known"),
        ("this is no toml", "can't be read"),
    ],
)
def test_settings_files_that_are_wrong(
    index: LoopbackIndex, python: Python, tmp_path: Path, line: str, reason: str
) -> None:
    index.add("app", "1")
    (tmp_path / "settings.toml").write_text(f"{line}\n")
    environ = {"REMOTE_WHEEL_CONFIG_FILE": str(tmp_path / "settings.toml")}
    said = python(CATCH + "print(caught(remote_wheel.require, 'app'))", **environ).stdout
    assert said.startswith("UsageError: ")
    assert reason in said


def test_paths_in_a_settings_file_are_beside_it(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("app", "1")
    index.add("app", "2")
    (tmp_path / "bounds.txt").write_text("app<2\n")
    (tmp_path / "pyproject.toml").write_text('[tool.remote-wheel]\nconstraints = ["bounds.txt"]\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    code = f"import os, remote_wheel; os.chdir({str(inner)!r}); print(remote_wheel.require('app').__version__)"
    assert python(code).stdout == "1\n"
    (tmp_path / "bounds.txt").write_text("app<3\n")
    assert python(code).stdout == "2\n"


def test_a_broken_record_and_verify_names(index: LoopbackIndex, python: Python) -> None:
    record = "app.py,sha256=AAAA,4\napp-1.dist-info/METADATA,,\n"
    index.add("app", "1", {"app.py": "V = 1\n", "more.py": ""}, record=record)
    refused = CATCH + "print(caught(remote_wheel.require, 'app'))"
    assert "RecordMismatch: app-1-py3-none-any.whl does not match its RECORD: app-1.dist-info/METADATA: no hash" in (
        python(refused).stdout
    )
    lenient = CATCH + "print(caught(lambda: print(remote_wheel.require('app', verify='names').V)))"
    said = python(lenient).stdout
    assert said.startswith("1\n")
    assert (
        "app 1 does not match its RECORD, and verify='names' lets it pass: app.py: 6 bytes where RECORD says 4" in said
    )
    assert python(refused).stdout.startswith("RecordMismatch")  # what was made meanwhile is not used
    assert python(lenient).stdout.startswith("1\n")


def test_audit_events(index: LoopbackIndex, python: Python) -> None:
    file = index.add("app", "1")
    code = """
        import sys
        seen = []
        def hook(event, facts):
            if event.startswith("remote_wheel."):
                seen.append((event, *facts))
        sys.addaudithook(hook)
        import remote_wheel
        remote_wheel.require("app")
        for each in seen: print(*each)
    """
    sha256 = hashlib.sha256(file.data).hexdigest()
    lines = python(code).stdout.splitlines()
    kinds = [line.split()[0].removeprefix("remote_wheel.") for line in lines]
    assert kinds == ["fetch", "fetch", "fetch", "verify", "mount", "import"]
    assert lines[0] == f"remote_wheel.fetch {index.url}app/"
    assert lines[3] == f"remote_wheel.verify {file.filename} {sha256}"
    assert lines[4].startswith("remote_wheel.mount app 1 ")
    assert lines[4].endswith(sha256)
    assert lines[5].startswith("remote_wheel.import app ")
    warm = python(code).stdout.splitlines()
    assert [line.split()[0] for line in warm] == ["remote_wheel.mount", "remote_wheel.import"]


LOOSER = {  # option → what the user's own file says, and what would loosen it
    "require-hashes": ("true", "false"),
    "exclude-newer": ('"2021-01-01"', '"2099-01-01"'),
    "allowed-hosts": ('["elsewhere.example"]', "[]"),
    "allowed-indexes": ('["https://elsewhere.example/"]', "[]"),
    "frozen": ("true", "false"),
    "verify": ('"full"', '"names"'),
}


@pytest.mark.parametrize("option", LOOSER)
@pytest.mark.parametrize("where", ["project", "script"])
def test_nothing_loosens_what_the_user_says(
    index: LoopbackIndex, remote_wheel: Python, tmp_path: Path, option: str, where: str
) -> None:
    strict, loose = LOOSER[option]
    record = "app-1.dist-info/RECORD,,\n" if option == "verify" else None
    index.has_hashes = option != "frozen"
    index.add("app", "1", {"app.py": "V = 1\n"}, upload_time="2025-01-01T00:00:00Z", record=record)
    own = tmp_path / "home" / ".config" / "remote_wheel" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text(f"{option} = {strict}\n")
    block = f"# /// script\n# dependencies = ['app']\n# [tool.remote-wheel]\n# {option} = {loose}\n# ///\n"
    (tmp_path / "s.py").write_text(f"{block if where == 'script' else ''}import app\n")
    if where == "project":
        (tmp_path / "pyproject.toml").write_text(f"[tool.remote-wheel]\n{option} = {loose}\n")
    command = ("run", *(() if where == "script" else ("--with", "app")), "s.py")
    assert remote_wheel(*command, expect=2).stderr.startswith("error: ")
    own.write_text("")
    assert remote_wheel(*command).stdout == ""  # what the user does not say, these may


def test_text_of_an_index_does_nothing_to_a_terminal(
    index: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path
) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\u202e"
    index.add("app", "1").yanked = evil
    index.add("app", "0.5")
    index.status_of["app"] = ("archived", evil)
    index.add("other", "1", requires=["app==1"])
    shown = [remote_wheel("tree", "app"), remote_wheel("run", "--with", "app", "-c", "1")]
    shown.append(remote_wheel("tree", "app>=1", expect=2))
    for done in shown:
        text = done.stdout + done.stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(text), repr(text)
    assert any(r"\x1b[2J" in done.stderr for done in shown)
    said = python(
        "import remote_wheel, warnings; warnings.simplefilter('always'); remote_wheel.require('app', refresh=True)"
    ).stderr
    assert r"\x1b[2J" in said
    assert "\x1b" not in said


@pytest.mark.skipif(os.name == "nt", reason="it has no such files")
def test_only_regular_files_are_read(tmp_path: Path, python: Python) -> None:
    os.mkfifo(tmp_path / "pipe-1-py3-none-any.whl")
    (tmp_path / "zero-1-py3-none-any.whl").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        said = python(CATCH + f"print(caught(remote_wheel.mount, './{name}-1-py3-none-any.whl'))").stdout
        assert "it is no regular file" in said


def test_a_wheel_does_not_become_a_module_that_we_rely_on(index: LoopbackIndex, python: Python) -> None:
    index.add("evil", "1", {"evil.py": "", "packaging/__init__.py": "raise SystemExit('it ran')\n"})
    index.add("other", "1")
    code = """
import sys, remote_wheel
remote_wheel.require("evil", prefer_installed=False, allow_shadow=["packaging"])
remote_wheel.require("other", prefer_installed=False)  # by a helper
assert "packaging" not in sys.modules
sys.frozen = True
try:
    remote_wheel.require("evil>0", prefer_installed=False)
except remote_wheel.RemoteWheelError as error:
    print(error)
"""
    assert "the module packaging is that of evil 1, which is mounted" in python(code).stdout


def test_a_plan_that_is_too_large_together(index: LoopbackIndex, python: Python) -> None:
    index.add("app", "1", {"app.bin": b"\0" * 40_000, "app.py": ""}, requires=["lib"])
    index.add("lib", "1", {"lib.bin": b"\0" * 40_000, "lib.py": ""})
    code = """
import sys
from remote_wheel.api import cold, pipeline, checked, request_of
from remote_wheel.api.request import Request
from remote_wheel.settings import Limits
raw = request_of("require", ["app"], checked({"prefer_installed": False}), "cache", "key")
lists = {"subjects": ("app",), "search_path": (), "preferred": ()}
merge = pipeline.merge_settings
limits = Limits(plan_bytes=int(sys.argv[1]))
pipeline.merge_settings = lambda *given: merge(*given)._replace(limits=limits)
try:
    print(len(pipeline.run(Request(**{**raw, **lists}), cold.Silent())["plan"]["pins"]))
except Exception as error:
    print(error)
"""
    assert "with the other archives of the plan it unpacks to more than 60000 bytes" in python(code, "60000").stdout
    assert python(code, "100000").stdout == "2\n"


def test_a_lock_leads_to_no_index_that_is_not_allowed(index: LoopbackIndex, remote_wheel: Python) -> None:
    index.add("app", "1")
    remote_wheel("lock", "app")
    run = ("run", "--lock", "pylock.toml", "--no-index", "-c", "import app")
    said = remote_wheel(*run, "--allowed-indexes", "x", expect=0)  # the program's own argument
    assert said.stdout == ""
    options = ("--allowed-indexes", "https://index.example/")
    refused = remote_wheel("run", *options, "--refresh", *run[1:], expect=2).stderr
    assert "allowed_indexes is set by the call" in refused
    remote_wheel("run", "--allowed-indexes", index.url, "--refresh", *run[1:])


@pytest.mark.parametrize("error", ["PermissionError", "RuntimeError", "KeyboardInterrupt"])
@pytest.mark.parametrize("how", ["require", "environment", "isolated"])
def test_an_audit_hook_may_refuse_a_mount(index: LoopbackIndex, python: Python, error: str, how: str) -> None:
    """It is asked before anything is changed; an OSError of its own is not taken for an image that is damaged."""
    index.add("thing", "1")
    index.add("other", "1")
    code = f"""
        import sys, remote_wheel
        remote_wheel.prefetch("thing")
        remote_wheel.require("other")
        before = (list(sys.path), list(sys.meta_path), dict(sys.modules))
        asked = []
        def hook(event, args):
            if event == "remote_wheel.mount" and args[0] == "thing":
                asked.append(args)
                raise {error}("not this one")
        sys.addaudithook(hook)
        for _ in range(2):
            try:
                if {how!r} == "require":
                    remote_wheel.require("thing")
                else:
                    with remote_wheel.environment("thing", isolated={how == "isolated"}):
                        print("entered")
            except {error} as error:
                print(error)
        assert sys.path == before[0]
        assert sys.meta_path == before[1]
        print(len(asked))
        try:
            import thing
        except ImportError:
            print("not there")
    """
    assert python(code).stdout.splitlines() == ["not this one", "not this one", "2", "not there"]
