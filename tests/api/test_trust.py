"""What must hold on the second way in, too: from the store, from another index, with another spelling."""

import hashlib
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import Python
from tests.loopback import LoopbackIndex, serve

CATCH = """
import remote_wheel
def caught(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except remote_wheel.RemoteWheelError as error:
        return f"{type(error).__name__}: {error}"
"""


@pytest.mark.parametrize("wrong", ["sha512=" + "0" * 128, "md5=" + "0" * 32, "sha256=" + "0" * 64])
def test_a_stated_hash_counts_when_the_archive_is_in_the_store(
    index: LoopbackIndex, python: Python, wrong: str
) -> None:
    url = index.file_url(index.add("thing", "1"))
    code = (
        CATCH
        + f"""
remote_wheel.mount({url!r}).unmount()
print(caught(remote_wheel.mount, {url + "#" + wrong!r}))
"""
    )
    assert python(code).stdout.startswith("DigestMismatch")


@pytest.mark.parametrize("call", ["sha256=''", "sha256='00'"])
def test_an_empty_or_short_hash_is_an_error(index: LoopbackIndex, python: Python, call: str) -> None:
    url = index.file_url(index.add("thing", "1"))
    assert python(CATCH + f"print(caught(remote_wheel.mount, {url!r}, {call}))").stdout.startswith("UsageError")


@pytest.mark.parametrize("fragment", ["sha256=", "sha256:" + "0" * 64, "sha256=xyz"])
def test_a_malformed_fragment_is_an_error(index: LoopbackIndex, python: Python, fragment: str) -> None:
    url = index.file_url(index.add("thing", "1"))
    said = python(CATCH + f"print(caught(remote_wheel.mount, {url + '#' + fragment!r}))").stdout
    assert said.startswith("InvalidSource")


def test_metadata_that_adds_a_dependency_is_refused_when_the_wheel_is_known(
    index: LoopbackIndex, python: Python
) -> None:
    file = index.add("foo", "1")
    index.add("evil", "1")
    python(f"import remote_wheel; remote_wheel.mount({index.file_url(file)!r})")
    file.metadata += b"Requires-Dist: evil\n"
    assert python(CATCH + "print(caught(remote_wheel.require, 'foo'))").stdout.startswith("DigestMismatch")


def test_a_known_archive_under_another_version_or_name_is_refused(index: LoopbackIndex, python: Python) -> None:
    file = index.add("foo", "1.0")
    python(f"import remote_wheel; remote_wheel.mount({index.file_url(file)!r})")
    index.add_file("foo", "foo-2.0-py3-none-any.whl", file.data)
    index.add_file("bar", "bar-1.0-py3-none-any.whl", file.data)
    index.has_metadata = False
    for requirement in ("foo==2.0", "bar"):
        said = python(CATCH + f"print(caught(remote_wheel.require, {requirement!r}))").stdout
        assert said.startswith(("InvalidWheel", "InvalidMetadata", "Unsatisfiable")), said


def test_what_one_index_says_of_a_wheel_does_not_reach_another(index: LoopbackIndex, python: Python) -> None:
    file = index.add("foo", "1")
    with serve(LoopbackIndex()) as bad:
        lie = bad.add_file("foo", file.filename, file.data)
        lie.metadata = file.metadata + b"Requires-Dist: nothing-like-it\n"
        python(CATCH + f"print(caught(remote_wheel.resolve, 'foo', index_url={bad.url!r}))")
    assert python("import remote_wheel; print(remote_wheel.require('foo').__version__)").stdout.strip() == "1"


def test_signed_urls_and_credentials_reach_no_record(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.user = "user:SEKRIT"
    file = index.add("foo", "1")
    url = f"http://user:SEKRIT@127.0.0.1:{index.port}/files/{file.filename}?sig=TOKENX"
    code = (
        CATCH
        + f"""
print(caught(remote_wheel.require, "foo @ {url}"))
print(caught(remote_wheel.require, "foo>=9 @ {url}"))
print(caught(remote_wheel.require, "bar @ {url}"))
print(caught(remote_wheel.require, "foo @ {url} ; python_version < '3'"))
"""
    )
    said = python(code).stdout
    assert "SEKRIT" not in said
    assert "TOKENX" not in said
    for path in cache.rglob("*"):
        if path.is_file():
            assert b"SEKRIT" not in path.read_bytes()
            assert b"TOKENX" not in path.read_bytes()


def test_a_redirect_with_a_secret_is_not_told(index: LoopbackIndex, python: Python) -> None:
    index.redirects["/x.whl"] = "gopher://host/y?token=SEKRIT"
    assert "SEKRIT" not in python(CATCH + f"print(caught(remote_wheel.mount, '{index.root}x.whl'))").stdout


def test_wheels_of_another_platform_or_python_are_refused(index: LoopbackIndex, python: Python) -> None:
    other = index.file_url(index.add("foo", "1", tag="cp39-cp39-win_amd64"))
    future = index.file_url(index.add("bar", "1", requires_python=">=4"))
    code = (
        CATCH
        + f"""
print(caught(remote_wheel.mount, {other!r}))
print(caught(remote_wheel.require, "foo @ {other}"))
print(caught(remote_wheel.mount, {future!r}, deps=False))
"""
    )
    assert [line.split(":")[0] for line in python(code).stdout.splitlines()] == ["NoCompatibleWheel"] * 3


def test_a_rebuilt_wheel_of_an_index_without_hashes_is_refused(index: LoopbackIndex, python: Python) -> None:
    index.has_hashes = False
    file = index.add("foo", "1", {"foo.py": "BUILD = 1\n"})
    code = "import remote_wheel; print(remote_wheel.require('foo').BUILD)"
    assert python(code).stdout.strip() == "1"
    file.data = make_wheel("foo", "1", {"foo.py": "BUILD = 2\n"})[1]
    assert "ContentChanged: " in python(code, expect=1, REMOTE_WHEEL_REFRESH="1").stderr


def test_a_local_index_is_read_each_time(python: Python, tmp_path: Path) -> None:
    from fixtures.wheels import write_index

    code = "import remote_wheel; print(remote_wheel.require('foo', index_url='simple').__version__)"
    wheels = [make_wheel("foo", "1")]
    for version in ("1", "2"):
        wheels.append(make_wheel("foo", version))
        write_index(wheels, tmp_path / "simple")
        assert python(code).stdout.strip() == version


def test_the_same_relative_index_elsewhere_is_another(python: Python, tmp_path: Path) -> None:
    from fixtures.wheels import write_index

    for version in ("1", "2"):
        write_index([make_wheel("foo", version)], tmp_path / version / "simple")
    code = "import os, remote_wheel; os.chdir({!r}); print(remote_wheel.require('foo', index_url='simple').__version__)"
    assert [python(code.format(version)).stdout.strip() for version in ("1", "2", "1")] == ["1", "2", "1"]


def test_an_empty_index_variable_is_unset(python: Python, tmp_path: Path) -> None:
    from fixtures.wheels import write_index

    write_index([make_wheel("foo", "1")], tmp_path)
    said = python(
        CATCH + "print(caught(remote_wheel.require, 'foo'))",
        REMOTE_WHEEL_INDEX_URL="",
        PIP_INDEX_URL="https://index.invalid/simple",
    ).stdout
    assert "index.invalid" in said


# --- imports are what was planned ------------------------------------------------------------------------------


def test_a_module_in_front_of_the_mount_is_an_error(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("foo", "2.0")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "foo.py").write_text("__version__ = '1.0'\n")
    code = CATCH + "print(caught(remote_wheel.require, 'foo==2.0'))"
    said = python(code, PYTHONPATH="lib").stdout
    assert said.startswith("Shadowed: foo 2.0 is mounted, but `import foo` finds version 1.0 at ")
    (tmp_path / "turtle").mkdir()
    (tmp_path / "turtle" / "turtle.py").write_text("")
    said = python(CATCH + "import os; print(caught(remote_wheel.mount('turtle/turtle.py').import_module))").stdout
    assert said.startswith("Shadowed")


def test_an_installed_version_that_a_mount_is_in_front_of_is_an_error(
    index: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    index.add("foo", "1.0")
    info = tmp_path / "lib" / "foo-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foo\nVersion: 2.0\n")
    (info / "top_level.txt").write_text("foo\n")
    (tmp_path / "lib" / "foo.py").write_text("__version__ = '2.0'\n")
    code = (
        CATCH
        + """
import sys
sys.path.append("lib")
print(remote_wheel.require("foo==1.0").__version__)
print(caught(remote_wheel.require, "foo>=2"))
"""
    )
    first, second = python(code).stdout.splitlines()
    assert first == "1.0"
    assert second.startswith("Unsatisfiable: ")
    assert "foo 1.0 is mounted or loaded in this process" in second


def test_a_namespace_module_imported_in_another_version(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("ns-a", "2.0", {"ns/a.py": "V = 2\n"})
    (tmp_path / "lib" / "ns").mkdir(parents=True)
    (tmp_path / "lib" / "ns" / "a.py").write_text("V = 1\n")
    code = CATCH + "import sys; sys.path.append('lib'); import ns.a; print(caught(remote_wheel.require, 'ns-a'))"
    assert python(code).stdout.startswith("AlreadyImported: ns-a 2.0 can't be mounted: module 'ns.a' is already")


def test_two_mounts_of_one_version_with_other_contents(index: LoopbackIndex, python: Python) -> None:
    for build in (1, 2):
        filename, data = make_wheel("foo", "1", {"foo.py": f"BUILD = {build}\n"})
        index.extra[f"/{build}/{filename}"] = data
    code = (
        CATCH
        + f"""
first = remote_wheel.mount("{index.root}1/foo-1-py3-none-any.whl")
print(first.import_module().BUILD)
print(caught(remote_wheel.mount, "{index.root}2/foo-1-py3-none-any.whl"))
"""
    )
    assert [line.split(":")[0] for line in python(code).stdout.splitlines()] == ["1", "AlreadyImported"]


def test_an_older_mount_does_not_import_the_newer_ones_module(index: LoopbackIndex, python: Python) -> None:
    urls = [index.file_url(index.add("foo", version)) for version in ("1", "2")]
    code = (
        CATCH
        + f"""
one, two = [remote_wheel.mount(url) for url in {urls!r}]
print(caught(one.import_module).split(":")[0])
print(two.import_module().__version__)
"""
    )
    assert python(code).stdout.split() == ["Shadowed", "2"]


def test_unmounting_twice_takes_nothing_from_another(index: LoopbackIndex, python: Python) -> None:
    url = index.file_url(index.add("foo", "1"))
    code = f"""
        import remote_wheel
        a, b = remote_wheel.mount({url!r}), remote_wheel.mount({url!r})
        a.unmount()
        a.unmount()
        import foo
        b.unmount()
    """
    python(code)


def test_a_plan_that_kept_a_mounted_version_is_not_everybodys(index: LoopbackIndex, python: Python) -> None:
    index.add("foo", "1")
    index.add("foo", "2")
    index.add("bar", "1", {"bar.py": "from foo import __version__ as foo\n"}, requires=["foo"])
    kept = "import remote_wheel; remote_wheel.require('foo==1'); print(remote_wheel.require('bar').foo)"
    assert python(kept).stdout.strip() == "1"
    assert python("import remote_wheel; print(remote_wheel.require('bar').foo)").stdout.strip() == "2"
    index.requests.clear()
    assert python(kept).stdout.strip() == "1"
    assert index.requests == []


def test_installed_on_pythonpath_only_sometimes(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("foo", "2")
    info = tmp_path / "lib" / "foo-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foo\nVersion: 1\n")
    (info / "top_level.txt").write_text("foo\n")
    (tmp_path / "lib" / "foo.py").write_text("__version__ = '1'\n")
    code = "import remote_wheel; print(remote_wheel.require('foo').__version__)"
    assert [python(code, **e).stdout.strip() for e in ({"PYTHONPATH": "lib"}, {}, {"PYTHONPATH": "lib"})] == [
        "1",
        "2",
        "1",
    ]


def test_a_package_that_another_wheel_adds_to(index: LoopbackIndex, python: Python) -> None:
    index.add("base", "1", {"pk/__init__.py": "", "pk/own.py": ""})
    index.add("addon", "1", {"pk/more.py": "X = 3\n", "pk/data/x.py": "Y = 4\n"}, requires=["base"])
    code = """
        import remote_wheel
        remote_wheel.require("addon", module="pk")
        import pk.own, pk.more, pk.data.x
        print(pk.more.X, pk.data.x.Y)
    """
    assert python(code).stdout.strip() == "3 4"


# --- the helper, and what surrounds it --------------------------------------------------------------------------


def test_what_start_up_hooks_print_does_not_disturb_the_helper(
    index: LoopbackIndex, python: Python, tmp_path: Path
) -> None:
    index.add("foo", "1")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text("print('{\"plan\": 1}')\n")
    code = "import remote_wheel; print(remote_wheel.require('foo').__version__)"
    done = python(code, PYTHONPATH="hooks", PYTHONUNBUFFERED="1")
    assert done.stdout.splitlines()[-1] == "1"


def test_a_closed_stderr(index: LoopbackIndex, python: Python) -> None:
    index.add("foo", "1")
    code = """
        import os, remote_wheel
        os.close(2)
        assert remote_wheel.require("foo").__version__ == "1"
    """
    python(code)


def test_a_module_that_mounts_when_it_is_looked_at(index: LoopbackIndex, python: Python) -> None:
    """Foreign code may run while mounts change; it must not wait for itself."""
    index.add("foo", "1")
    other = index.file_url(index.add("other", "1"))
    code = f"""
        import sys, remote_wheel
        class Strange(type(sys)):
            def __getattribute__(self, name):
                if name.startswith("__ver"):
                    remote_wheel.mount({other!r})
                return super().__getattribute__(name)
        sys.modules["foo"] = Strange("foo")
        sys.modules["foo"].__file__ = "elsewhere"
        try:
            remote_wheel.require("foo")
        except remote_wheel.errors.AlreadyImported as error:
            print(error.loaded_from)
    """
    assert python(code).stdout.strip() == "elsewhere"


def test_paths_as_options_and_odd_entries_on_sys_path(python: Python, tmp_path: Path) -> None:
    from fixtures.wheels import write_index

    write_index([make_wheel("foo", "1")], tmp_path / "simple")
    code = """
        import pathlib, sys, remote_wheel
        sys.path.append(pathlib.Path("somewhere"))
        print(remote_wheel.require("foo", index_url=pathlib.Path("simple"), cache_dir=pathlib.Path("c")).__version__)
        for wrong in ({"index_url": 3}, {"offline": "no"}, {"extra_index_urls": "one"}):
            try:
                remote_wheel.require("foo", **wrong)
            except TypeError as error:
                print(error)
    """
    assert python(code).stdout.splitlines() == [
        "1",
        "index_url is a string, not 3",
        "offline is a bool or 'auto', not 'no'",
        "extra_index_urls is a sequence of strings, not 'one'",
    ]


@pytest.mark.parametrize("url", ["http://[bad/simple", "https:///simple"])
def test_an_index_that_is_no_index(python: Python, url: str) -> None:
    assert python(CATCH + f"print(caught(remote_wheel.require, 'foo', index_url={url!r}))").stdout.startswith(
        "UsageError"
    )


def test_a_304_keeps_the_type_it_had(index: LoopbackIndex, python: Python, cache: Path) -> None:
    index.add("foo", "1")
    python("import remote_wheel; remote_wheel.resolve('foo')")
    from remote_wheel.store.cache import Store

    python("import remote_wheel; remote_wheel.resolve('foo', refresh=True)")
    store = Store(cache, "v1")
    kept = store.read_answer("pages", f"{index.url}foo/")
    assert kept is not None
    renewed = store.renew_answer("pages", f"{index.url}foo/", {"content-type": "text/html", "etag": '"n"'})
    assert renewed is not None
    assert store.read_head("pages", f"{index.url}foo/") == renewed
    assert (renewed.content_type, renewed.etag) == (kept[0].content_type, '"n"')
    assert [status for _, status in index.requests if status == 304]


def test_offline_with_an_extra_index_that_has_not_everything(index: LoopbackIndex, python: Python) -> None:
    index.add("foo", "1")
    with serve(LoopbackIndex()) as extra:
        options = f"extra_index_urls=[{extra.url!r}]"
        python(f"import remote_wheel; remote_wheel.prefetch('foo', {options})")
        python(f"import remote_wheel; remote_wheel.require('foo>=1', offline=True, {options})")


def test_a_server_that_refuses_ranges_from_the_end(index: LoopbackIndex, python: Python) -> None:
    import random

    file = index.add("foo", "1", {"foo.py": "", "noise.txt": random.Random(3).randbytes(300_000)})
    index.has_metadata = False
    index.no_suffix_ranges = True
    python("import remote_wheel; remote_wheel.require('foo')")
    assert index.count(file.filename) == 2  # refused once, then whole, and kept


def test_credentials_of_the_url_win_over_netrc(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("foo", "1")
    index.user = "me:right"
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password wrong\n")
    netrc.chmod(0o600)
    url = index.url.replace("http://", "http://me:right@")
    python("import remote_wheel; remote_wheel.require('foo')", REMOTE_WHEEL_INDEX_URL=url)
    netrc.write_text("machine 127.0.0.1 login me password right\n")
    python("import remote_wheel; remote_wheel.require('foo', refresh=True)")


def test_local_wheels_need_no_index_where_everything_is_installed(python: Python, tmp_path: Path) -> None:
    filename, data = make_wheel("foo", "1", requires=["packaging"])
    (tmp_path / filename).write_bytes(data)
    code = f"import remote_wheel; remote_wheel.mount({filename!r}).import_module()"
    python(code, REMOTE_WHEEL_INDEX_URL="http://127.0.0.1:9/simple")


def test_interpreters_that_unpack_one_wheel_at_once(index: LoopbackIndex) -> None:
    import os
    import subprocess
    import sys

    index.add(
        "foo", "1", {f"foo/m{at}.py": "X = __file__\n" for at in range(40)} | {"foo/__init__.py": "HERE = __file__\n"}
    )
    code = "import remote_wheel; remote_wheel.require('foo')"
    started = [
        subprocess.Popen([sys.executable, *flags, "-c", code], env=dict(os.environ), stderr=subprocess.PIPE)
        for flags in ([], ["-O"], ["-OO"])
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in started] == [(b"", 0)] * 3


def test_the_digest_in_the_plan_is_the_files(index: LoopbackIndex, python: Python) -> None:
    file = index.add("foo", "1")
    said = python("import remote_wheel; print(remote_wheel.resolve('foo')['foo'].digests['sha256'])").stdout.strip()
    assert said == hashlib.sha256(file.data).hexdigest()
