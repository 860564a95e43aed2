"""Each error of the main job names the thing, the reason and the way out; from the command line without traceback."""

import os
import re
import socket
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel, record_row
from tests.conftest import Python
from tests.loopback import LoopbackIndex

CATCH = """
    import remote_wheel
    try:
        {}
    except remote_wheel.RemoteWheelError as error:
        print(type(error).__name__)
        print(error)
        print(error.hint)
        print(error.detail)
"""


@pytest.fixture
def caught(python: Python) -> "Catch":
    return Catch(python)


class Catch:
    """Run a statement, return the lines of its error: class, message, hint, detail."""

    def __init__(self, python: Python) -> None:
        self._python = python

    def __call__(self, statement: str, **environ: str) -> list[str]:
        return self._python(CATCH.format(statement), **environ).stdout.splitlines()

    def require(self, requirement: str, **environ: str) -> list[str]:
        return self(f"remote_wheel.require({requirement!r})", **environ)


def test_unknown_project(index: LoopbackIndex, caught: Catch) -> None:
    name, message, hint, _ = caught.require("no-such-thing")
    assert name == "ProjectNotFound"
    assert message == f"project 'no-such-thing' was not found on {index.url}"
    assert "--index-url" in hint


def test_no_version_matches(index: LoopbackIndex, caught: Catch) -> None:
    index.add("thing", "1.0")
    index.add("thing", "1.5", yanked="broken")
    name, message, hint, *_ = caught.require("thing>=2")
    assert name == "NoMatchingVersion"
    assert message == "no version satisfies 'thing>=2': usable versions are 1.0"
    assert hint == "Widen the version range."
    name, message, hint, *_ = caught.require("thing>1.2")
    assert message == "no version satisfies 'thing>1.2': usable versions are 1.0; left out: 1.5 is yanked (broken)"
    assert hint == "A yanked release is taken if you pin it exactly (==)."


def test_only_sdists(index: LoopbackIndex, caught: Catch) -> None:
    index.add_file("thing", "thing-1.0.tar.gz", b"")
    name, message, hint, _ = caught.require("thing")
    assert name == "OnlySdists"
    assert "thing-1.0.tar.gz" in message
    assert "never runs build scripts" in hint


def test_no_wheel_fits_this_machine(index: LoopbackIndex, caught: Catch) -> None:
    index.add("thing", "1", tag="cp27-cp27m-win32")
    name, message, _, *detail = caught.require("thing")
    assert name == "NoCompatibleWheel"
    assert "cp27-cp27m-win32" in message
    assert re.search(r"best fitting here are cp3\d+-cp3\d+-", message)
    assert "wheel: thing-1-cp27-cp27m-win32.whl" in detail


def test_requires_another_python(index: LoopbackIndex, caught: Catch) -> None:
    index.add("thing", "1", requires_python=">=4")
    name, message, *_ = caught.require("thing")
    assert name == "NoCompatibleWheel"
    assert "requires Python >=4" in message


def test_wrong_hash_on_the_index(index: LoopbackIndex, caught: Catch) -> None:
    index.add("thing", "1", sha256="0" * 64)
    name, message, *_ = caught.require("thing")
    assert name == "DigestMismatch"
    assert "thing-1-py3-none-any.whl is not what the index promised: expected sha256:0000" in message
    assert message.count("sha256:") == 2


@pytest.mark.parametrize("cut", [0, 100, -1, -30])
def test_truncated_archive(index: LoopbackIndex, caught: Catch, cut: int) -> None:
    _, data = make_wheel("thing", "1")
    index.extra["/thing-1-py3-none-any.whl"] = data[:cut]
    name, message, *_ = caught(f"remote_wheel.mount('{index.root}thing-1-py3-none-any.whl')")
    assert name == "UnsafeArchive"
    assert "thing-1-py3-none-any.whl is not a well-formed archive" in message


def test_connection_cut_short(index: LoopbackIndex, caught: Catch) -> None:
    _, data = make_wheel("thing", "1")
    index.extra["/thing-1-py3-none-any.whl"] = data
    index.cut["/thing-1-py3-none-any.whl"] = 200
    name, message, *_ = caught(f"remote_wheel.mount('{index.root}thing-1-py3-none-any.whl')")
    assert name == "NetworkError"
    assert "broke off" in message
    assert index.count(".whl") == 4  # the first try and three more


def test_record_mismatch_names_each_file(index: LoopbackIndex, caught: Catch) -> None:
    record = "\n".join(
        [
            record_row("thing/__init__.py", "something else"),
            "thing/gone.py,sha256=abc,3",
            "thing/unhashed.py,,",
            "thing-1.dist-info/METADATA,md5=abc,",
            "",
        ]
    )
    index.add("thing", "1", {"thing/__init__.py": "", "thing/extra.py": "", "thing/unhashed.py": ""}, record=record)
    name, message, _, *detail = caught.require("thing")
    assert name == "RecordMismatch"
    assert [line.split(": ")[0] for line in detail] == [
        "thing-1.dist-info/METADATA",
        "thing-1.dist-info/WHEEL",
        "thing/__init__.py",
        "thing/extra.py",
        "thing/gone.py",
        "thing/unhashed.py",
    ]
    assert "thing/extra.py: not listed in RECORD" in detail
    assert "thing/gone.py: listed but missing" in message


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("Metadata-Version: 2.1\nName: other\nVersion: 1\n", "it says other 1 where thing 1 was expected"),
        ("Metadata-Version: 2.1\nName: thing\nVersion: 2\n", "it says thing 2 where thing 1 was expected"),
        ("Name: thing\nVersion: 1\nRequires-Dist: what is this\n", "Expected"),
        ("", "it states no Name or no Version"),
    ],
)
def test_metadata_that_lies_or_can_not_be_read(index: LoopbackIndex, caught: Catch, metadata: str, reason: str) -> None:
    _, data = make_wheel("thing", "1", metadata=metadata)
    index.extra["/thing-1-py3-none-any.whl"] = data
    name, message, *_ = caught(f"remote_wheel.mount('{index.root}thing-1-py3-none-any.whl')")
    assert name == "InvalidMetadata"
    assert reason in message


def test_metadata_file_that_differs_from_the_wheels_own(index: LoopbackIndex, caught: Catch) -> None:
    file = index.add("thing", "1")
    file.metadata = file.metadata + b"Requires-Dist: other\n"
    index.add("other", "1")
    name, message, *_ = caught.require("thing")
    assert name == "DigestMismatch"
    assert "METADATA of thing-1-py3-none-any.whl is not what the index promised" in message


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "AccessDenied"), (403, "AccessDenied"), (500, "ServerError"), (503, "ServerError"), (418, "ServerError")],
)
def test_statuses_of_the_index(index: LoopbackIndex, caught: Catch, status: int, expected: str) -> None:
    index.statuses["/simple/thing/"] = status
    name, message, hint, _ = caught.require("thing")
    assert name == expected
    assert f"can't fetch {index.url}thing/: {status}" in message
    assert hint


def test_a_missing_file_behind_an_index_link(index: LoopbackIndex, caught: Catch) -> None:
    file = index.add("thing", "1")
    index.statuses[f"/files/{file.filename}"] = 404
    name, message, *_ = caught.require("thing")
    assert name == "NotFound"
    assert f"{file.filename}: 404" in message


def test_nobody_listens(index: LoopbackIndex, caught: Catch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        name, message, *_ = caught.require("thing", REMOTE_WHEEL_INDEX_URL=f"http://me:pw@127.0.0.1:{port}/simple")
    assert name == "NetworkError"
    assert f"can't fetch http://127.0.0.1:{port}/simple/thing/: " in message
    assert "refused" in message
    assert "pw" not in message


def test_unknown_host(caught: Catch) -> None:
    name, message, *_ = caught.require("thing", REMOTE_WHEEL_INDEX_URL="https://index.invalid/simple")
    assert name == "NetworkError"
    assert "the host name index.invalid can't be resolved" in message


def test_plain_http_to_another_host_is_refused(caught: Catch) -> None:
    name, message, hint, _ = caught.require("thing", REMOTE_WHEEL_INDEX_URL="http://index.example/simple")
    assert name == "InsecureTransport"
    assert "plain http" in message
    assert "https" in hint


def test_a_server_that_hangs(index: LoopbackIndex, python: Python) -> None:
    index.hang_s = 2.0
    code = f"""
        from remote_wheel.errors import FetchTimeout
        from remote_wheel.fetch.http import HttpTransport
        from remote_wheel.fetch.port import HttpOptions
        from remote_wheel.settings import Limits
        try:
            options = HttpOptions(Limits(read_timeout_s=0.1, retries=0))
            HttpTransport(options).fetch("{index.url}thing/", headers={{}}, max_bytes=9)
        except FetchTimeout as error:
            print(error)
    """
    assert "the host did not answer in time" in python(code).stdout


def test_a_server_that_sends_for_ever(index: LoopbackIndex, python: Python) -> None:
    index.extra["/large"] = bytes(3_000_000)
    code = f"""
        from remote_wheel.errors import FetchTimeout, TooLarge
        from remote_wheel.fetch.http import HttpTransport
        from remote_wheel.fetch.port import HttpOptions
        from remote_wheel.settings import Limits
        for limits, most in ((Limits(patience_s=0, least_bytes_s=1 << 60), 9_000_000), (Limits(), 2_000_000)):
            try:
                HttpTransport(HttpOptions(limits)).fetch("{index.root}large", headers={{}}, max_bytes=most)
            except (FetchTimeout, TooLarge) as error:
                print(type(error).__name__)
    """
    assert python(code).stdout.split() == ["FetchTimeout", "TooLarge"]


def test_html_error_page_in_place_of_an_index_page(index: LoopbackIndex, caught: Catch) -> None:
    index.extra["/simple/thing/"] = b"<h1>Welcome</h1>"
    name, message, *_ = caught.require("thing")
    assert name == "InvalidIndexPage"
    assert "its content type is application/octet-stream" in message


def test_a_page_of_another_kind_of_html(index: LoopbackIndex, caught: Catch) -> None:
    """What pip and uv refuse, too: XHTML may mean other links than HTML, read from the same bytes."""
    index.extra["/simple/thing/"] = b"<!DOCTYPE html><a href='thing-1-py3-none-any.whl'>thing-1-py3-none-any.whl</a>"
    index.content_types["/simple/thing/"] = "application/xhtml+xml"
    name, message, *_ = caught.require("thing")
    assert name == "InvalidIndexPage"
    assert "its content type is application/xhtml+xml" in message


def test_conflict_with_a_version_already_imported(index: LoopbackIndex, caught: Catch) -> None:
    index.add("packaging", "1.0")
    name, message, hint, *_ = caught("import packaging; remote_wheel.require('packaging==1.0')")
    assert name == "AlreadyImported"
    assert re.search(r"packaging 1\.0 can't be mounted: module 'packaging' is already imported, version 2\d", message)
    assert "site-packages" in message
    assert "before the first import" in hint


def test_conflict_with_a_version_mounted_and_imported(index: LoopbackIndex, caught: Catch) -> None:
    index.add("thing", "1")
    index.add("thing", "2")
    name, message, *_ = caught("remote_wheel.require('thing==1'); remote_wheel.require('thing==2')")
    assert name == "AlreadyImported"
    assert f"version 1, from {index.root}files/thing-1-py3-none-any.whl (mounted)" in message


def test_unsatisfiable_requirements_are_explained_chain_by_chain(index: LoopbackIndex, caught: Catch) -> None:
    index.add("app", "1.0", requires=["http<2"])
    index.add("app", "1.1", requires=["http<2"])
    index.add("tool", "3.0", requires=["http>=2"])
    index.add("http", "1.9")
    index.add("http", "2.0")
    name, message, hint, *_ = caught("remote_wheel.require('app', 'tool')")
    assert name == "Unsatisfiable"
    assert message == (
        "because all versions of app depend on http<2 and tool 3.0 depends on http>=2, and you require app and tool,"
        " there is no solution (usable versions of http: 1.9, 2.0)"
    )
    assert "Loosen" in hint


def test_a_dependency_that_does_not_exist(index: LoopbackIndex, caught: Catch) -> None:
    index.add("app", "1.0", requires=["missing-thing>=1"])
    name, message, *_ = caught.require("app")
    assert name == "Unsatisfiable"
    assert "app 1.0 depends on missing-thing>=1" in message
    assert f"missing-thing was not found on {index.url}" in message


def test_a_dependency_by_url_is_refused(index: LoopbackIndex, caught: Catch) -> None:
    index.add("app", "1.0", requires=["evil @ https://index.example/evil-1-py3-none-any.whl"])
    name, message, *_ = caught.require("app")
    assert name == "Unsatisfiable"
    assert "depends on evil by URL" in message


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("remote_wheel.require('flask >')", "InvalidRequirement"),
        ("remote_wheel.require('')", "InvalidRequirement"),
        ("remote_wheel.require()", "UsageError"),
        ("remote_wheel.require('a', 'b', module='a')", "UsageError"),
        ("remote_wheel.mount('')", "InvalidSource"),
        ("remote_wheel.mount('nowhere.whl')", "InvalidSource"),
        ("remote_wheel.mount('nosuch://host/x.whl')", "InvalidSource"),
        ("remote_wheel.mount('https:///x.whl')", "InvalidSource"),
        ("remote_wheel.mount('https://host/page.html')", "InvalidSource"),
        ("remote_wheel.mount('x.whl', sha256='abc')", "UsageError"),
        ("remote_wheel.require('thing; python_version < \"3\"')", "UsageError"),
    ],
)
def test_bad_arguments(index: LoopbackIndex, caught: Catch, statement: str, expected: str) -> None:
    index.add("thing", "1")
    assert caught(statement)[0] == expected


def test_bad_environment_value(caught: Catch) -> None:
    name, message, *_ = caught.require("thing", REMOTE_WHEEL_REFRESH="perhaps")
    assert (name, message) == ("UsageError", "REMOTE_WHEEL_REFRESH='perhaps' is neither true nor false")


def test_garbage_in_the_boot_record_is_a_miss(index: LoopbackIndex, python: Python, cache: "object") -> None:
    index.add("thing", "1")
    code = """
        import pathlib, os, remote_wheel
        for record in pathlib.Path(os.environ["REMOTE_WHEEL_CACHE_DIR"], "v1", "boot").glob("*"):
            record.write_bytes(b"RWB4 this is no record")
        print(remote_wheel.require("thing").__version__)
    """
    python(code)
    assert python(code).stdout.strip() == "1"


def test_the_real_exception_of_a_module_comes_through(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1", {"thing/__init__.py": "from thing import inner\n", "thing/inner.py": "1 / 0\n"})
    code = """
        import sys, remote_wheel
        try:
            remote_wheel.require("thing")
        except ZeroDivisionError as error:
            import traceback
            print(traceback.format_exc())
        print("thing" in sys.modules, "thing.inner" in sys.modules)
    """
    said = python(code).stdout
    assert "1 / 0" in said
    assert said.splitlines()[-1] == "False False"


def test_command_line_errors_have_no_traceback(index: LoopbackIndex, remote_wheel: Python) -> None:
    index.add("app", "1.0", requires=["missing-thing>=1"])
    done = remote_wheel("run", "--with", "app", "-c", "pass", expect=2)
    lines = done.stderr.splitlines()
    assert done.stdout == ""
    assert lines[0].startswith("error: because app 1.0 depends on missing-thing>=1, and you require app")
    assert lines[1].startswith("try: ")
    assert lines[2:] == ["(-v shows the detail)"]
    detailed = remote_wheel("run", "-v", "--with", "app", "-c", "pass", expect=2).stderr.splitlines()
    assert f"missing-thing was not found on {index.url}" in detailed
    assert remote_wheel("tree", "no-such-thing", expect=2).stderr.startswith("error: project 'no-such-thing'")


def test_a_page_of_the_web_does_not_run_a_local_file(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    """A <base> that leads to a folder on this machine: a direct link to one is refused, and so is this."""
    filename, data = make_wheel("thing", "9", {"thing.py": "print('it ran')\n"})
    (tmp_path / filename).write_bytes(data)
    index.add("thing", "1")
    index.pages_of["thing"] = f'<base href="{tmp_path.as_uri()}/"><a href="{filename}">{filename}</a>'
    said = python("import remote_wheel; remote_wheel.require('thing')", expect=1)
    assert "may not lead to file:" in said.stderr
    assert "it ran" not in said.stdout


def test_no_pipe_in_the_cache_holds_anybody_up(index: LoopbackIndex, python: Python, cache: Path) -> None:
    """Whoever put it there: it is no file of ours, and nobody waits for who writes into it."""
    index.add("thing", "1", {"thing.py": "V = 1\n"})
    index.add("native", "1", {"native/__init__.py": "V = 2\n", "native/x.so": b""}, tag="py3-none-linux_x86_64")
    code = "import remote_wheel; a, b = remote_wheel.require('thing', 'native'); print(a.V, b.V)"
    python(code)
    for path in sorted((cache / "v1").rglob("*")):
        if path.is_file() and path.suffix != ".lock" and "trees" not in path.parts and path.name != "leases":
            data = path.read_bytes()
            path.unlink()
            os.mkfifo(path, 0o600)
            assert python(code).stdout == "1 2\n", path
            if not path.is_file():
                path.unlink()
                path.write_bytes(data)
