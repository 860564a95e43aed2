"""What the user wants of a resolution: constraints, overrides, cutoffs, pre-releases, requirements files."""

import hashlib
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.api.test_indexes import Resolving
from tests.conftest import Python
from tests.loopback import LoopbackIndex


@pytest.fixture
def resolving(python: Python) -> Resolving:
    return Resolving(python)


@pytest.fixture
def garden(index: LoopbackIndex) -> LoopbackIndex:
    index.add("garden", "1.0", requires=["soil>=1"], upload_time="2025-01-01T00:00:00Z")
    for version, day in (("1.0", "2025-01-01"), ("2.0", "2026-01-01"), ("3.0rc1", "2026-02-01")):
        index.add("soil", version, upload_time=f"{day}T10:00:00Z")
    index.add("unused", "1.0")
    return index


@pytest.mark.parametrize(
    ("options", "soil"),
    [
        ("", "2.0"),
        ("constraints=['soil<2', 'unused==9']", "1.0"),
        ("constraints=['soil<3; python_version < \"3\"']", "2.0"),
        ("constraints=['soil==3.0rc1']", "3.0rc1"),
        ("overrides=['soil==1.0']", "1.0"),
        ("overrides=['soil; python_version < \"3\"']", None),
        ("pre=True", "3.0rc1"),
        ("pre=['Soil']", "3.0rc1"),
        ("pre=['garden']", "2.0"),
        ("exclude_newer='2025-12-31'", "1.0"),
        ("exclude_newer=['2025-12-31', 'soil=none']", "2.0"),
        ("exclude_newer=['soil=2026-01-01T10:00:00Z']", "1.0"),
        ("exclude_newer='2026-01-01'", "2.0"),
    ],
)
def test_policies(garden: LoopbackIndex, resolving: Resolving, options: str, soil: str | None) -> None:
    assert resolving("garden", options=options) == "garden==1.0" + (f",soil=={soil}" if soil else "")


def test_a_constraint_in_the_way_is_named(garden: LoopbackIndex, resolving: Resolving) -> None:
    said = resolving("garden", options="constraints=['soil<1']")
    assert "garden 1.0 depends on soil>=1" in said
    assert "your constraint is <1" in said
    said = resolving("soil>=2", options="constraints=['soil<2']")
    assert "left out: 3.0rc1: your constraint is <2, 2.0: your constraint is <2" in said


def test_an_override_may_break_what_is_asked(garden: LoopbackIndex, resolving: Resolving) -> None:
    garden.add("picky", "1.0", requires=["soil<2"])
    assert resolving("picky", "garden", options="overrides=['soil>=2']") == "picky==1.0,garden==1.0,soil==2.0"


def test_files_without_an_upload_time_are_left_out(garden: LoopbackIndex, resolving: Resolving) -> None:
    garden.add("timeless", "1.0")
    said = resolving("timeless", options="exclude_newer='7d'")
    assert "its index does not say when it was uploaded (exclude_newer)" in said
    assert resolving("timeless", options="exclude_newer=['7d', 'timeless=none']") == "timeless==1.0"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("constraints=['soil[x]<2']", "the constraint 'soil[x]<2' has an extra"),
        ("constraints=['soil=2']", "the constraint 'soil=2' is not a valid requirement"),
        ("overrides=['?']", "the override '?' is not a valid requirement"),
        ("overrides=['x; os_name ~= \"posix\"']", "the override 'x; os_name ~= \"posix\"' is not a valid requirement"),
        (
            "constraints=['x; os_name ~= \"posix\"']",
            "the constraint 'x; os_name ~= \"posix\"' is not a valid requirement",
        ),
        ("exclude_newer='soon'", "exclude_newer='soon' is no point in time"),
        ("constraints=['nowhere.txt']", "the requirements file 'nowhere.txt' can't be read: No such file"),
    ],
)
def test_bad_policies_are_named(garden: LoopbackIndex, resolving: Resolving, options: str, reason: str) -> None:
    assert reason in resolving("garden", options=options)


def test_requirements_files(garden: LoopbackIndex, resolving: Resolving, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text("-r sub/more.txt\n-c constraints.txt\ngarden  # the main thing\n")
    (tmp_path / "sub" / "more.txt").write_text("unused\n")
    (tmp_path / "constraints.txt").write_text("soil<2\n")
    assert resolving("-r requirements.txt") == "unused==1.0,garden==1.0,soil==1.0"
    assert resolving("garden", options="constraints=['constraints.txt']") == "garden==1.0,soil==1.0"
    assert remote_wheel("tree", "-r", "requirements.txt").stdout.splitlines() == [
        "unused 1.0",
        "garden 1.0",
        "└── soil 1.0",
    ]
    run = ("run", "--with-requirements", "requirements.txt", "-c", "import soil; print(soil.__version__)")
    assert remote_wheel(*run).stdout == "1.0\n"
    (tmp_path / "constraints.txt").write_text("soil>=2,!=9\n")
    assert remote_wheel(*run).stdout == "2.0\n", "the files are watched"
    done = remote_wheel("run", "--with-requirements", "nowhere.txt", "-c", "", expect=2)
    assert "the requirements file 'nowhere.txt' can't be read" in done.stderr
    done = remote_wheel("tree", expect=2)
    assert "no requirement given" in done.stderr


def test_index_options_of_requirements_files(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"--index-url {garden.url}\n--pre\nsoil\n")
    assert remote_wheel("tree", "-r", "r.txt", REMOTE_WHEEL_INDEX_URL="").stdout == "soil 3.0rc1\n"


def test_hashes_of_requirements_files(garden: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    files = garden.files["soil"]
    digests = [hashlib.sha256(file.data).hexdigest() for file in files]
    (tmp_path / "r.txt").write_text(f"soil --hash=sha256:{digests[0]}\n")
    assert resolving("-r r.txt") == "soil==1.0"
    (tmp_path / "r.txt").write_text(f"soil==2.0 --hash=sha256:{'0' * 64}\n")
    assert "its hash is none of those you state" in resolving("-r r.txt")
    filename, data = make_wheel("direct", "1.0")
    garden.extra[f"/files/{filename}"] = data
    line = f"direct @ {garden.root}files/{filename} --hash=sha256:"
    (tmp_path / "r.txt").write_text(line + hashlib.sha256(data).hexdigest() + "\n")
    assert resolving("-r r.txt") == "direct==1.0"
    (tmp_path / "r.txt").write_text(line + "0" * 64 + "\n")
    assert resolving("-r r.txt").startswith("DigestMismatch: ")


def test_one_hash_and_all_need_one(garden: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    digests = {
        f"{name}=={file.filename.split('-')[1]}": hashlib.sha256(file.data).hexdigest()
        for name in ("garden", "soil")
        for file in garden.files[name]
    }
    lines = [f"{pin} --hash=sha256:{digests[pin]}" for pin in ("garden==1.0", "soil==2.0")]
    (tmp_path / "r.txt").write_text(lines[0])
    assert "state hashes, and none for soil 2.0" in resolving("-r r.txt")
    (tmp_path / "r.txt").write_text("\n".join(lines))
    assert resolving("-r r.txt") == "garden==1.0,soil==2.0"
    (tmp_path / "r.txt").write_text("--require-hashes\nsoil\n")
    assert "state hashes, and none for soil 2.0" in resolving("-r r.txt")
    filename, data = make_wheel("direct", "1.0")
    garden.extra[f"/files/{filename}"] = data
    (tmp_path / "r.txt").write_text(f"{lines[1]}\ndirect @ {garden.root}files/{filename}\n")
    assert "state hashes, and none for direct 1.0" in resolving("-r r.txt")  # a URL needs one, too


def test_files_of_other_systems(garden: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("soil\nunused; sys_platform == 'amiga'\n", encoding="utf-16")
    assert resolving("-r r.txt") == "soil==2.0", "what does not apply here is left out, whatever wrote the file"
    (tmp_path / "r.txt").write_text("# fine\nfoo bar\n")
    assert "r.txt, line 2: 'foo bar' is not a valid requirement" in resolving("-r r.txt")


def test_links_are_beside_the_file_that_names_them(index: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    (tmp_path / "sub" / "wheels").mkdir(parents=True)
    filename, data = make_wheel("soil", "7.0")
    (tmp_path / "sub" / "wheels" / filename).write_bytes(data)
    (tmp_path / "sub" / "r.txt").write_text("--find-links wheels\nsoil\n")
    assert resolving("-r sub/r.txt") == "soil==7.0"


def test_files_are_for_many(garden: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("garden\nunused\n")
    code = """
        import remote_wheel
        try:
            remote_wheel.require("-r r.txt")
        except remote_wheel.RemoteWheelError as error:
            print(error)
        plan = remote_wheel.prefetch("-r r.txt")
        print(len(plan.pins), plan.mount().import_module("unused").__version__)
    """
    said = python(code).stdout.splitlines()
    assert said == ["require() gives modules, and '-r r.txt' is a file of requirements", "3 1.0"]


@pytest.fixture
def own_soil(garden: LoopbackIndex) -> str:
    """Two wheels of soil that no page names; the URL of the first, 2.5. The other one is 3.5."""
    for version in ("2.5", "3.5"):
        name, data = make_wheel("soil", version)
        garden.extra[f"/own/{name}"] = data
    return f"{garden.root}own/soil-2.5-py3-none-any.whl"


def test_what_is_named_by_url_keeps_to_constraints(own_soil: str, garden: LoopbackIndex, resolving: Resolving) -> None:
    url = f"soil @ {own_soil}"
    assert resolving(url, options="constraints=['soil<3']") == "soil==2.5"
    said = resolving(url, options="constraints=['soil<2']")
    assert "left out: 2.5: your constraint is <2" in said
    assert "your constraint is <2" in resolving("garden", url, options="constraints=['soil<2']")


def test_a_project_comes_from_one_place(own_soil: str, garden: LoopbackIndex, resolving: Resolving) -> None:
    other = own_soil.replace("2.5", "3.5")
    said = resolving(f"soil @ {own_soil}", f"soil @ {other}")
    assert said.startswith("UsageError: soil is asked for from two places: "), said
    assert resolving(f"soil @ {own_soil}", own_soil, f"soil @ {own_soil}#frag") == "soil==2.5"
    garden.add("by-url", "1.0", requires=[f"soil @ {other}"])
    said = resolving("by-url", f"soil @ {own_soil}")
    assert "depends on soil by URL, and you ask for another one" in said
    assert resolving("by-url", f"soil @ {other}") == "by-url==1.0,soil==3.5"


@pytest.mark.parametrize("option", ["overrides", "constraints"])
def test_a_place_may_stand_in_overrides_and_constraints(
    own_soil: str, garden: LoopbackIndex, resolving: Resolving, option: str
) -> None:
    options = f"{option}=['soil @ {own_soil}', 'nobody @ http://127.0.0.1:1/nobody-1-py3-none-any.whl']"
    assert resolving("garden", options=options) == "garden==1.0,soil==2.5"
    assert resolving("unused", options=options) == "unused==1.0"
    other = own_soil.replace("2.5", "3.5")
    assert "from two places" in resolving("garden", f"soil @ {other}", options=options)
    assert resolving("garden", f"soil @ {own_soil}", options=options) == "garden==1.0,soil==2.5"


@pytest.mark.slow
def test_hashes_follow_markers_and_stand_behind_urls(
    own_soil: str, garden: LoopbackIndex, resolving: Resolving, tmp_path: Path
) -> None:
    hashes = {file.filename: hashlib.sha256(file.data).hexdigest() for file in garden.files["soil"]}
    one, two = (hashes[f"soil-{version}-py3-none-any.whl"] for version in ("1.0", "2.0"))
    lines = [
        f'soil==2.0; python_version >= "3" --hash=sha256:{two}',
        f'soil==1.0; python_version < "3" --hash=sha256:{one}',
    ]
    (tmp_path / "r.txt").write_text("\n".join(lines))
    assert resolving("-r r.txt") == "soil==2.0"
    name, data = make_wheel("soil", "2.5")
    (tmp_path / name).write_bytes(data)
    right = hashlib.sha256(data).hexdigest()
    for place in (own_soil, f"./{name}", f"soil @ {own_soil}"):
        (tmp_path / "r.txt").write_text(f"{place} --hash=sha256:{right} --hash=sha256:{one}\n")
        assert resolving("-r r.txt") == "soil==2.5", place
        assert resolving("-r r.txt", options="require_hashes=True, refresh=True") == "soil==2.5", place
        (tmp_path / "r.txt").write_text(f"{place} --hash=sha256:{one}\n")
        assert resolving("-r r.txt").startswith("DigestMismatch: "), place


def test_what_is_left_out_says_where_that_was_set(garden: LoopbackIndex, resolving: Resolving, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.remote-wheel]\nexclude-newer = '2020-01-01'\n")
    assert f"exclude_newer is 2020-01-02 00:00 (set by {tmp_path / 'pyproject.toml'})" in resolving("soil")
    said = resolving("soil", options="exclude_newer='2019-01-01'")
    assert "exclude_newer is 2019-01-02 00:00 (set by the call)" in said
