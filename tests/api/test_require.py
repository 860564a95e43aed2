"""The main job: require() in a fresh process, cold and warm, against a real index."""

import json
from pathlib import Path

import pytest

from tests.conftest import Python
from tests.loopback import LoopbackIndex

REQUIRE_APP = "import remote_wheel, sys; app = remote_wheel.require('app>=1'); print(app.__version__, app.helper)"


@pytest.fixture
def app(index: LoopbackIndex) -> LoopbackIndex:
    """app needs helper with an extra, and something for another system only."""
    index.add("app", "0.9")
    index.add(
        "app",
        "1.5",
        {"app/__init__.py": "from helper import VERSION as helper\nimport paint\n__version__ = '1.5'\n"},
        requires=["helper[colour]<2", "windows-only; sys_platform == 'never'"],
    )
    index.add("app", "2.0rc1")
    index.add(
        "helper", "1.0", {"helper.py": "VERSION = '1.0'\n"}, extras=["colour"], requires=["paint; extra == 'colour'"]
    )
    index.add(
        "helper", "1.4", {"helper.py": "VERSION = '1.4'\n"}, extras=["colour"], requires=["paint; extra == 'colour'"]
    )
    index.add("helper", "2.0", {"helper.py": "VERSION = '2.0'\n"})
    index.add("paint", "3.1")
    return index


def test_require_resolves_mounts_and_imports(app: LoopbackIndex, python: Python) -> None:
    assert python(REQUIRE_APP).stdout.split() == ["1.5", "1.4"]


def test_request_counts_cold_and_warm(app: LoopbackIndex, python: Python) -> None:
    python(REQUIRE_APP)
    assert (app.pages(), app.metadata_files(), app.wheels()) == (3, 3, 3)
    app.requests.clear()
    assert python(REQUIRE_APP).stdout.split() == ["1.5", "1.4"]
    assert app.requests == []


@pytest.mark.parametrize("speaks_json", [True, False])
@pytest.mark.parametrize("has_metadata", [True, False])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_every_kind_of_index(
    app: LoopbackIndex, python: Python, speaks_json: bool, has_metadata: bool, has_ranges: bool
) -> None:
    app.speaks_json, app.has_metadata, app.has_ranges = speaks_json, has_metadata, has_ranges
    assert python(REQUIRE_APP).stdout.split() == ["1.5", "1.4"]
    assert app.pages() == 3


def test_a_wheel_fetched_for_its_metadata_is_not_fetched_twice(app: LoopbackIndex, python: Python) -> None:
    app.has_metadata = app.has_ranges = False
    python(REQUIRE_APP)
    assert app.wheels() == 3


def test_metadata_by_ranges_of_a_large_wheel(index: LoopbackIndex, python: Python) -> None:
    import random

    noise = random.Random(1).randbytes(600_000)
    # The dist-info is in the middle of this archive, so the tail alone does not do.
    index.add("big", "1", {"big/__init__.py": "", "big/noise.bin": noise}, requires=["small"])
    index.add("small", "1")
    index.has_metadata = False
    python("import remote_wheel; remote_wheel.resolve('big')")
    asked = [status for path, status in index.requests if path.endswith("big-1-py3-none-any.whl")]
    assert set(asked) == {206}


def test_index_without_hashes(app: LoopbackIndex, python: Python) -> None:
    app.has_hashes = False
    assert python(REQUIRE_APP).stdout.split() == ["1.5", "1.4"]
    app.requests.clear()
    python(REQUIRE_APP)
    assert app.requests == []


def test_stale_pages_are_revalidated(app: LoopbackIndex, python: Python) -> None:
    app.cache_control = "max-age=0"
    python(REQUIRE_APP)
    app.requests.clear()
    python(REQUIRE_APP)
    assert [status for _, status in app.requests] == [304, 304, 304]


def test_a_new_release_is_seen_when_the_page_is_stale_and_not_before(app: LoopbackIndex, python: Python) -> None:
    python(REQUIRE_APP)
    app.add(
        "helper", "1.5", {"helper.py": "VERSION = '1.5'\n"}, extras=["colour"], requires=["paint; extra == 'colour'"]
    )
    assert python(REQUIRE_APP).stdout.split() == ["1.5", "1.4"]
    assert python(REQUIRE_APP, REMOTE_WHEEL_REFRESH="1").stdout.split() == ["1.5", "1.5"]


def test_offline_with_a_filled_cache(app: LoopbackIndex, python: Python) -> None:
    app.cache_control = "max-age=0"
    python(REQUIRE_APP)
    app.requests.clear()
    assert python(REQUIRE_APP, REMOTE_WHEEL_OFFLINE="1").stdout.split() == ["1.5", "1.4"]
    # Another request over the same projects is resolved from the kept pages.
    python("import remote_wheel; remote_wheel.require('helper<2', 'paint', offline=True)")
    assert app.requests == []


def test_offline_says_what_is_missing_and_how_to_get_it(app: LoopbackIndex, python: Python) -> None:
    code = """
        import remote_wheel
        try:
            remote_wheel.require("app", offline=True)
        except remote_wheel.errors.NotCached as error:
            print(error, "|", error.hint)
    """
    said = python(code).stdout
    assert "the cache does not hold the index page of app" in said
    assert "remote-wheel prefetch app" in said
    assert app.requests == []


def test_prefetch_makes_require_work_offline(app: LoopbackIndex, python: Python) -> None:
    plan = python("import remote_wheel; print(*remote_wheel.prefetch('app>=1').pins)").stdout
    assert plan.split() == ["app", "1.5", "helper", "1.4", "paint", "3.1"]
    app.requests.clear()
    python(REQUIRE_APP, REMOTE_WHEEL_OFFLINE="1")
    assert app.requests == []


def test_several_requirements_give_a_tuple(app: LoopbackIndex, python: Python) -> None:
    code = "import remote_wheel; a, b = remote_wheel.require('paint', 'helper<1.4'); print(a.__name__, b.VERSION)"
    assert python(code).stdout.split() == ["paint", "1.0"]


def test_pre_releases(app: LoopbackIndex, python: Python) -> None:
    code = "import remote_wheel; print(remote_wheel.require({!r}, pre={}).__version__)"
    assert python(code.format("app", True)).stdout.strip() == "2.0rc1"
    assert python(code.format("app>=2.0rc1", None)).stdout.strip() == "2.0rc1"


def test_second_require_in_one_process_is_warm(app: LoopbackIndex, python: Python) -> None:
    code = """
        import sys, remote_wheel
        first = remote_wheel.require("app>=1")
        for name in ("json", "subprocess"):
            sys.modules.pop(name, None)
        assert remote_wheel.require("app>=1") is first
        assert "subprocess" not in sys.modules
    """
    python(code)


def test_a_mounted_version_is_kept_by_a_later_require(app: LoopbackIndex, python: Python) -> None:
    code = """
        import remote_wheel
        remote_wheel.require("helper==1.0")
        print(remote_wheel.require("app").helper)
    """
    assert python(code).stdout.strip() == "1.0"


def test_module_names(index: LoopbackIndex, python: Python) -> None:
    index.add("PyYAML", "6", {"yaml/__init__.py": "", "_yaml/__init__.py": ""})
    index.add("scikit-learn", "1", {"sklearn/__init__.py": "", "other/__init__.py": ""})
    index.add(
        "google-cloud-thing", "1", {"google/cloud/thing/__init__.py": "", "google/cloud/thing_v1/__init__.py": ""}
    )
    code = """
        import remote_wheel
        print(remote_wheel.require("pyyaml").__name__)
        print(remote_wheel.require("scikit-learn", module="sklearn").__name__)
        print(remote_wheel.require("google-cloud-thing").__name__)
        try:
            remote_wheel.require("scikit-learn")
        except remote_wheel.errors.AmbiguousModule as error:
            print(*error.modules)
    """
    assert python(code).stdout.splitlines() == ["yaml", "sklearn", "google.cloud.thing", "other sklearn"]


def test_namespace_package_over_two_wheels(index: LoopbackIndex, python: Python) -> None:
    index.add("ns-one", "1", {"space/one/__init__.py": "NAME = 'one'\n"})
    index.add("ns-two", "1", {"space/two.py": "NAME = 'two'\n"})
    code = """
        import remote_wheel
        remote_wheel.require("ns-one", "ns-two", module=None)
        import space.one, space.two
        print(space.one.NAME, space.two.NAME, len(space.__path__))
    """
    assert python(code).stdout.split() == ["one", "two", "2"]


def test_nothing_is_written_outside_the_cache(app: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    python(REQUIRE_APP)
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"cache"}


def test_plan_of_resolve(app: LoopbackIndex, python: Python) -> None:
    code = """
        import json, remote_wheel
        plan = remote_wheel.resolve("app")
        print(json.dumps([[str(pin) for pin in plan.pins], plan.size_bytes, plan.tree(), plan.explain("paint")]))
    """
    pins, size, tree, why = json.loads(python(code).stdout)
    assert pins == ["app 1.5", "helper 1.4", "paint 3.1"]
    assert size == sum(
        len(f.data)
        for name in ("app", "helper", "paint")
        for f in app.files[name]
        if f.filename.split("-")[1] in ("1.5", "1.4", "3.1")
    )
    assert tree.splitlines() == ["app 1.5", "└── helper 1.4", "    └── paint 3.1"]
    assert 'helper 1.4 requires paint; extra == "colour"' in why
    assert app.wheels() == 0


def test_yanked_is_taken_only_by_an_exact_pin(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    index.add("thing", "2", yanked="broken")
    for speaks_json in (True, False):
        index.speaks_json = speaks_json
        code = "import remote_wheel; print(*remote_wheel.resolve({!r}, refresh=True).pins)"
        assert python(code.format("thing")).stdout.strip() == "thing 1"
        assert python(code.format("thing==2")).stdout.strip() == "thing 2"


def test_requires_python_is_respected(index: LoopbackIndex, python: Python) -> None:
    index.add("thing", "1")
    index.add("thing", "2", requires_python=">=4")
    assert python("import remote_wheel; print(*remote_wheel.resolve('thing').pins)").stdout.strip() == "thing 1"


def test_credentials_in_the_index_url(app: LoopbackIndex, python: Python, cache: Path) -> None:
    app.user = "me:s3cret"
    url = app.url.replace("http://", "http://me:s3cret@")
    assert python(REQUIRE_APP, REMOTE_WHEEL_INDEX_URL=url).stdout.split() == ["1.5", "1.4"]
    assert not any(b"s3cret" in path.read_bytes() for path in cache.rglob("*") if path.is_file())


def test_first_index_that_has_the_project_owns_it(app: LoopbackIndex, python: Python) -> None:
    from tests.loopback import serve

    with serve(LoopbackIndex()) as other:
        other.add("helper", "1.1", {"helper.py": "VERSION = 'other'\n"}, extras=["colour"])
        code = f"import remote_wheel; print(remote_wheel.require('app', extra_index_urls=[{other.url!r}]).helper)"
        done = python(code, expect=1)
        assert "paint" in done.stderr  # helper 1.1 of the other index has no such dependency, so app's import fails
        other.statuses["/simple/helper/"] = 503
        done = python(code, expect=1, REMOTE_WHEEL_REFRESH="1")
        assert "ServerError" in done.stderr
