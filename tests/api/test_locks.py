"""Lock files: written, read from any tool, mounted from the bytes that were checked."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fixtures.wheels import make_wheel, make_zip
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.forge import Forge
from tests.servers.s3 import Bucket
from tests.servers.ssh import SshServer
from tests.sources.conftest import CATCH


@pytest.fixture
def garden(index: LoopbackIndex) -> LoopbackIndex:
    index.add("garden", "1.0", {"garden.py": "import soil\nV = 1\n"}, requires=["soil>=1"], requires_python=">=3.8")
    index.add("soil", "1.0")
    index.add("soil", "2.0", {"soil.py": "V = 2\n"})
    return index


def packages(path: Path) -> dict[str, dict[str, Any]]:
    lock = tomllib.loads(path.read_text("utf-8"))
    return {package["name"]: package for package in lock["packages"]}


def test_a_lock_names_files_hashes_and_the_environment(
    garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path
) -> None:
    assert remote_wheel("lock", "garden").stdout == ""
    written = (tmp_path / "pylock.toml").read_text("utf-8")
    lock = tomllib.loads(written)
    assert lock["lock-version"] == "1.0"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f'python_version == "{version}"' in lock["environments"][0]
    assert lock["requires-python"] == f">={version}"
    (wheel,) = packages(tmp_path / "pylock.toml")["garden"]["wheels"]
    (file,) = garden.files["garden"]
    assert wheel["url"] == garden.file_url(file)
    assert wheel["size"] == len(file.data)
    assert wheel["hashes"].keys() == {"sha256"}
    assert packages(tmp_path / "pylock.toml")["garden"]["dependencies"] == [{"name": "soil"}]
    assert packages(tmp_path / "pylock.toml")["garden"]["index"] == garden.url
    assert remote_wheel("lock", "garden", "-o", "-").stdout == written, "the same again, byte by byte"
    assert garden.wheels() == 0, "the index stated all that a lock needs"


def test_a_lock_is_mounted_without_resolving(
    garden: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path
) -> None:
    remote_wheel("lock", "garden", "soil<2")
    garden.add("soil", "1.9")
    garden.requests.clear()
    code = """
        import remote_wheel
        plan = remote_wheel.load_lock("pylock.toml")
        print([str(pin) for pin in plan.pins], plan.size_bytes > 0)
        print(plan.tree())
        with plan.mount(cache_dir="other-cache") as mount:
            import garden, soil
            print(mount.modules, mount.import_module().V, soil.__version__)
            print(remote_wheel.explain("soil").splitlines()[0])
    """
    assert python(code).stdout.splitlines() == [
        "['garden 1.0', 'soil 1.0'] True",
        "garden 1.0",
        "└── soil 1.0",
        "('garden',) 1 1.0",
        "soil 1.0",
    ]
    assert garden.pages() == 0
    assert garden.wheels() == 2
    run = ("run", "--lock", "pylock.toml", "--cache-dir", "other-cache", "-c", "import soil; print(soil.__version__)")
    garden.requests.clear()
    assert remote_wheel(*run).stdout == "1.0\n"
    assert remote_wheel(*run, REMOTE_WHEEL_OFFLINE="1").stdout == "1.0\n"
    assert garden.requests == []


def test_a_plan_can_be_mounted_and_locked(garden: LoopbackIndex, python: Python) -> None:
    code = """
        import remote_wheel
        plan = remote_wheel.resolve("garden", prefer_installed=False)
        text = plan.to_pylock()
        mount = plan.mount()
        import garden
        print(text.count("[[packages]]"), mount.import_module() is garden, mount.distribution.version)
        mount.unmount()
        try:
            import soil
        except ModuleNotFoundError as error:
            print(error)
    """
    assert python(code).stdout.splitlines() == ["2 True 1.0", "No module named 'soil'"]


def test_an_index_without_hashes_has_its_wheels_fetched_for_the_lock(
    garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path
) -> None:
    garden.has_hashes = garden.has_metadata = False
    remote_wheel("lock", "garden")
    assert all(package["wheels"][0]["hashes"]["sha256"] for package in packages(tmp_path / "pylock.toml").values())
    garden.files["soil"][1].data = make_wheel("soil", "2.0", {"soil.py": "V = 'changed'\n"})[1]
    done = remote_wheel("run", "--lock", "pylock.toml", "--cache-dir", "other", "-c", "import soil", expect=2)
    assert "soil-2.0-py3-none-any.whl is not what" in done.stderr


def test_locks_hold_no_secrets(garden: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path) -> None:
    """Credentials of the index's links, and signatures: neither in a lock, whoever writes it, nor in the cache."""
    (file,) = garden.files["garden"]
    digest = hashlib.sha256(file.data).hexdigest()
    address = f"http://bot:link-secret@127.0.0.1:{garden.port}/files/{file.filename}?sig=signed-secret"
    page = f'<a href="{address}#sha256={digest}">{file.filename}</a>'
    garden.pages_of["garden"] = page
    written = remote_wheel("lock", "garden", "-o", "-").stdout
    code = "import remote_wheel; print(remote_wheel.resolve('garden', prefer_installed=False).to_pylock(), end='')"
    assert python(code).stdout == written
    assert f'url = "{garden.file_url(file)}"' in written
    python("import remote_wheel; plan = remote_wheel.prefetch('garden'); print(plan)")
    kept = [
        each.read_bytes() for each in (tmp_path / "cache").rglob("*") if each.is_file() and "pages" not in each.parts
    ]
    for secret in ("link-secret", "signed-secret"):
        assert secret not in written
        assert not any(secret.encode() in data for data in kept)


def test_extras_and_groups_of_a_lock(
    garden: LoopbackIndex, python: Python, remote_wheel: Python, tmp_path: Path
) -> None:
    """As PEP 751 has them: no extra and the default groups, unless others are asked for."""
    for name in ("core", "plot", "lint"):
        garden.add(name, "1.0")
    text = """lock-version = "1.0"
created-by = "x"
extras = ["plot"]
dependency-groups = ["lint", "docs"]
default-groups = ["lint"]
"""
    for name, marker in (("core", ""), ("plot", "'plot' in extras"), ("lint", "'lint' in dependency_groups")):
        (file,) = garden.files[name]
        text += f'[[packages]]\nname = "{name}"\nversion = "1.0"\n' + (f'marker = "{marker}"\n' if marker else "")
        digest = hashlib.sha256(file.data).hexdigest()
        text += f'[[packages.wheels]]\nurl = "{garden.file_url(file)}"\nhashes = {{ sha256 = "{digest}" }}\n'
    (tmp_path / "pylock.toml").write_text(text)
    load = "import remote_wheel; print(*(p.name for p in remote_wheel.load_lock('pylock.toml', {}).pins))"
    for options, names in (
        ("", "core lint"),
        ("extras=['PLOT']", "core plot lint"),
        ("groups=[]", "core"),
        ("groups=['docs'], extras=['plot']", "core plot"),
    ):
        assert python(load.format(options)).stdout == f"{names}\n"
    run = ("-c", "import core, plot; print('both')")
    assert remote_wheel("run", "--lock", "pylock.toml", "--extra", "plot", "--group=docs", *run).stdout == "both\n"
    remote_wheel("run", "--lock", "pylock.toml", "-c", "import plot", expect=1)
    failed = remote_wheel("run", "--lock", "pylock.toml", "--extra", "pots", *run, expect=2)
    assert failed.stderr == "error: pylock.toml has no extra 'pots'\ntry: It has plot.\n"
    failed = remote_wheel("run", "--with", "core", "--group", "lint", *run, expect=2)
    assert failed.stderr == "error: --extra and --group are of a lock\ntry: Name it with --lock FILE.\n"


def test_a_query_in_a_lock_of_others_is_kept(garden: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    (file,) = garden.files["garden"]
    digest = hashlib.sha256(file.data).hexdigest()
    text = f'[[packages]]\nname = "garden"\n[[packages.wheels]]\nurl = "{garden.file_url(file)}?x=1"\n'
    (tmp_path / "pylock.toml").write_text(
        f'lock-version = "1.0"\ncreated-by = "x"\n{text}hashes = {{ sha256 = "{digest}" }}\n'
    )
    code = "import remote_wheel; print(remote_wheel.load_lock('pylock.toml').mount(in_memory=['garden']).modules)"
    assert python(code).stdout == "('garden',)\n"
    assert any(path.endswith("?x=1") for path in garden.asked)


def test_a_plan_of_installed_distributions_can_not_be_locked(index: LoopbackIndex, python: Python) -> None:
    code = f"{CATCH}\nprint(caught(remote_wheel.resolve('packaging').to_pylock))"
    said = python(code).stdout
    assert said.startswith("UsageError: a lock names files, and this plan relies on what is installed: packaging")
    assert "prefer_installed=False" in said


def test_a_lock_is_not_overruled(garden: LoopbackIndex, remote_wheel: Python) -> None:
    remote_wheel("lock", "garden")
    garden.add("tool", "1.0", requires=["soil"])
    garden.add("picky", "1.0", requires=["soil<2"])
    run = ("run", "--lock", "pylock.toml")
    assert remote_wheel(*run, "--with", "tool", "-c", "import soil, tool; print(soil.V)").stdout == "2\n"
    done = remote_wheel(*run, "--with", "picky", "-c", "", expect=2)
    assert "picky 1.0 depends on soil<2" in done.stderr
    assert "your constraint is ==2.0" in done.stderr
    assert "--lock is given twice" in remote_wheel(*run, "--lock", "x", "-c", "", expect=2).stderr


def test_a_lock_says_who_needs_what_and_comes_back_as_it_was(
    garden: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path
) -> None:
    remote_wheel("lock", "garden")
    code = """
        import remote_wheel
        plan = remote_wheel.load_lock("pylock.toml")
        print(plan.explain("soil").splitlines()[1].strip())
        print(plan.to_pylock() == open("pylock.toml").read())
        print(plan.mount())
    """
    said = python(code).stdout.splitlines()
    assert said == ["garden 1.0 requires soil", "True", "<Mount of the plan for garden 1.0: 2 distributions>"]


def test_a_lock_is_written_through_links_and_pipes(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "link.toml").symlink_to("real.toml")
    remote_wheel("lock", "garden", "-o", "link.toml")
    assert (tmp_path / "link.toml").is_symlink()
    assert "garden" in (tmp_path / "real.toml").read_text()
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, cwd=tmp_path, text=True) as reader:
        remote_wheel("lock", "garden", "-o", "pipe")
        assert reader.stdout is not None
        assert reader.stdout.read() == (tmp_path / "real.toml").read_text()
    assert (tmp_path / "pipe").is_fifo()


# --- sources ---------------------------------------------------------------------------------------------------------

PROJECT = '[project]\nname = "shed"\nversion = "3.0"\ndependencies = ["soil"]\n'


@pytest.fixture
def shed(garden: LoopbackIndex, forge: Forge) -> Forge:
    forge.commit("green/shed", {"pyproject.toml": PROJECT, "shed/__init__.py": "V = 1\n"}, tag="v3")
    return forge


def _run(remote_wheel: Python, code: str = "import shed; print(shed.V)", *more: str, expect: int = 0) -> str:
    done = remote_wheel("run", "--lock", "pylock.toml", "--cache-dir", "other", *more, "-c", code, expect=expect)
    return done.stdout if expect == 0 else done.stderr


def test_a_repository_is_locked_to_its_commit_and_content(shed: Forge, remote_wheel: Python, tmp_path: Path) -> None:
    commit = shed.git("green/shed", "rev-parse", "HEAD")
    remote_wheel("lock", "github:green/shed@v3")
    locked = packages(tmp_path / "pylock.toml")
    vcs = {"type": "git", "url": f"{shed.url}/green/shed", "requested-revision": "v3", "commit-id": commit}
    assert locked["shed"]["vcs"] == vcs
    assert locked["shed"]["tool"]["remote-wheel"].keys() == {"archive", "sha256", "content-sha256"}
    assert "wheels" in locked["soil"]
    assert _run(remote_wheel) == "1\n"
    assert _run(remote_wheel, "import shed; print(shed.V)", "--offline") == "1\n"


def test_a_repository_packed_anew_is_the_same(shed: Forge, remote_wheel: Python) -> None:
    remote_wheel("lock", "shed @ github:green/shed@v3")
    shed.compression = 1
    assert _run(remote_wheel) == "1\n"


def test_a_moved_tag_is_an_error_and_a_moved_branch_is_not(shed: Forge, remote_wheel: Python, tmp_path: Path) -> None:
    old = shed.git("green/shed", "rev-parse", "HEAD")
    remote_wheel("lock", "github:green/shed@v3")
    remote_wheel("lock", "github:green/shed@main", "-o", "pylock.branch.toml")
    new = shed.commit("green/shed", {"shed/__init__.py": "V = 2\n"}, tag="v3")
    said = _run(remote_wheel, expect=2)
    assert f"tag 'v3' was commit {old} when locked, and is {new} now" in said
    assert "try: Find out why it was moved." in said
    shutil.copy(tmp_path / "pylock.branch.toml", tmp_path / "pylock.toml")
    assert _run(remote_wheel) == "1\n"
    remote_wheel("lock", "github:green/shed@v3", "--refresh")
    assert _run(remote_wheel) == "2\n"


def test_another_content_of_the_commit_is_an_error(shed: Forge, remote_wheel: Python, tmp_path: Path) -> None:
    """Whoever controls the server can't change what was locked."""
    remote_wheel("lock", "github:green/shed@v3")
    lock = (tmp_path / "pylock.toml").read_text("utf-8")
    tool = packages(tmp_path / "pylock.toml")["shed"]["tool"]["remote-wheel"]
    other = lock.replace(tool["content-sha256"], "0" * 64).replace(tool["sha256"], "1" * 64)
    (tmp_path / "pylock.toml").write_text(other, "utf-8")
    said = _run(remote_wheel, expect=2)
    assert "is not what the lock promised" in said


def test_a_lock_may_not_name_another_archive_for_a_repository(
    shed: Forge, remote_wheel: Python, tmp_path: Path
) -> None:
    remote_wheel("lock", "github:green/shed@v3")
    lock = (tmp_path / "pylock.toml").read_text("utf-8")
    tool = packages(tmp_path / "pylock.toml")["shed"]["tool"]["remote-wheel"]
    commit = packages(tmp_path / "pylock.toml")["shed"]["vcs"]["commit-id"]
    for other in (
        f"{shed.url}/evil/shed/archive/{commit}.zip",
        f"{shed.url}/green/shed/archive/{'1' * 40}.zip",
        "https://index.example/x.zip",
    ):
        (tmp_path / "pylock.toml").write_text(lock.replace(tool["archive"], other), "utf-8")
        assert "its archive is not of its repository and commit" in _run(remote_wheel, expect=2)


def test_a_repository_in_a_lock_of_another_tool(shed: Forge, python: Python, tmp_path: Path) -> None:
    """Without our table there is no digest to hold it to but the commit; a lock of ours then has them."""
    commit = shed.git("green/shed", "rev-parse", "HEAD")
    vcs = f'type = "git"\nurl = "{shed.url}/green/shed.git"\nrequested-revision = "v3"\ncommit-id = "{commit}"\n'
    (tmp_path / "pylock.toml").write_text(
        f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "shed"\n[packages.vcs]\n{vcs}'
    )
    code = """
        import remote_wheel
        plan = remote_wheel.load_lock("pylock.toml")
        print(plan.to_pylock().count("content-sha256"), plan.mount().import_module().V)
    """
    assert python(code).stdout == "1 1\n"


@pytest.mark.slow
def test_archives_and_modules_of_every_kind(
    garden: LoopbackIndex, bucket: Bucket, ssh: SshServer, remote_wheel: Python, tmp_path: Path
) -> None:
    filename, wheel = make_wheel("rake", "1.0", {"rake.py": "V = 'rake'\n"}, requires=["soil"])
    tree = make_zip({"t/pyproject.toml": PROJECT.replace("shed", "spade"), "t/spade/__init__.py": "V = 'spade'\n"})
    bucket.put(f"locks/{filename}", wheel)
    ssh.put("locks/spade.zip", tree)
    bucket.put("locks/hoe.py", b"V = 'hoe'\n")
    ssh.put("locks/fork_tool.py", b"V = 'fork'\n")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "pick.py").write_text("V = 'pick'\n")
    garden.extra["/files/mower.py"] = b"V = 'mower'\n"
    sources = (
        bucket.url(f"locks/{filename}"),
        ssh.url("locks/spade.zip"),
        bucket.url("locks/hoe.py"),
        ssh.url("locks/fork_tool.py"),
        "./local/pick.py",
        f"{garden.root}files/mower.py",
    )
    remote_wheel("lock", *sources)
    locked = packages(tmp_path / "pylock.toml")
    assert set(locked) == {"rake", "spade", "hoe", "fork-tool", "pick", "mower", "soil"}
    assert locked["pick"]["archive"]["path"] == "local/pick.py"
    assert all("sha256" in package["archive"]["hashes"] for name, package in locked.items() if name != "soil")
    code = (
        "import rake, spade, hoe, fork_tool, pick, mower; print(rake.V, spade.V, hoe.V, fork_tool.V, pick.V, mower.V)"
    )
    for more in ((), ("--offline",)):
        assert _run(remote_wheel, code, *more) == "rake spade hoe fork pick mower\n"
    bucket.put("locks/hoe.py", b"V = 'another hoe'\n")
    said = remote_wheel("run", "--lock", "pylock.toml", "--cache-dir", "third", "-c", "", expect=2).stderr
    assert "hoe.py is not what the lock promised" in said


def test_sources_stand_among_requirements(
    garden: LoopbackIndex, python: Python, remote_wheel: Python, tmp_path: Path
) -> None:
    filename, data = make_wheel("rake", "1.0", {"rake.py": "V = 'rake'\n"}, requires=["soil"])
    (tmp_path / filename).write_bytes(data)
    (tmp_path / "hoe.py").write_text("V = 'hoe'\n")
    code = f"""
        import remote_wheel
        rake, garden, hoe = remote_wheel.require({filename!r}, "garden", "./hoe.py")
        print(rake.V, garden.V, hoe.V)
        print(remote_wheel.resolve("./{filename}").tree())
    """
    assert python(code).stdout.splitlines() == ["rake 1 hoe", "rake 1.0", "└── soil 2.0"]
    done = remote_wheel("run", "--with", f"./{filename}", "-c", "import rake, soil; print(rake.V)")
    assert done.stdout == "rake\n"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = f"import os; os.chdir('elsewhere')\n{CATCH}\nprint(caught(remote_wheel.require, './{filename}'))"
    assert "InvalidSource" in python(code).stdout, "the same text means another file there"


# --- what can't be used ----------------------------------------------------------------------------------------------

ENTRY = '[[packages]]\nname = "garden"\nversion = "1.0"\n'
WHEEL = '[[packages.wheels]]\nname = "{}"\nurl = "https://index.example/{}"\n[packages.wheels.hashes]\n{}\n'
GOOD = WHEEL.format("garden-1.0-py3-none-any.whl", "garden-1.0-py3-none-any.whl", f'sha256 = "{"0" * 64}"')

ARCHIVE = f"""[packages.archive]
url = "https://index.example/{{}}-py3-none-any.whl"
hashes = {{{{ sha256 = "{"0" * 64}" }}}}
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no toml", "the lock file pylock.toml can't be used: "),
        ('lock-version = "1.0"\n', "created-by"),
        ('lock-version = "9.0"\ncreated-by = "x"\npackages = []\n', "9.0"),
        ('requires-python = ">=4"\n', "does not satisfy the Python version"),
        ("environments = [\"sys_platform == 'amiga'\"]\n", "does not satisfy any of the environments"),
        (ENTRY + GOOD.replace("any.whl", "amiga.whl").replace("none", "none"), "No wheel found matching"),
        (
            ENTRY + WHEEL.format("garden-1.0-py3-none-any.whl", "x", 'md5 = "d41d8cd98f00b204e9800998ecf8427e"'),
            "garden has no SHA-256 or better",
        ),
        (ENTRY + GOOD.replace("garden-1.0", "weeds-1.0"), "'weeds-1.0-py3-none-any.whl' is not consistent"),
        (ENTRY + ARCHIVE.format("weeds-1.0"), "garden 1.0 is locked to weeds-1.0-py3-none-any.whl"),
        (ENTRY + ARCHIVE.format("garden-2.0"), "garden 1.0 is locked to garden-2.0-py3-none-any.whl"),
        (ENTRY + '[packages.directory]\npath = "."\n', "garden is a folder"),
        (f"{ENTRY}size = {'1' * 5000}\n", "Exceeds the limit"),
        (ENTRY + GOOD.replace("https:", "reference:"), "garden is at a reference: URL, which no lock may ask for"),
        (ENTRY + GOOD.replace("https:", "filecache:"), "garden is at a filecache: URL, which no lock may ask for"),
        (ENTRY + ARCHIVE.format("x").replace("x-py3-none-any.whl", "foo.whl"), "garden: Invalid wheel filename"),
        (ENTRY + ARCHIVE.format("garden-1.0") + '[packages.tool]\nremote-wheel = "x"\n', "is no table"),
        (
            ENTRY + '[packages.vcs]\ntype = "git"\nurl = "https://github.com/o/r"\ncommit-id = "b94fa50f"\n',
            "'b94fa50f' is no full commit id",
        ),
        (ENTRY + '[packages.vcs]\ntype = "hg"\nurl = "https://h/x"\ncommit-id = "0"\n', "comes from hg"),
    ],
)
def test_a_lock_that_can_not_be_used_says_why(
    index: LoopbackIndex, remote_wheel: Python, tmp_path: Path, text: str, reason: str
) -> None:
    head = "" if "lock-version" in text or "toml" in text else 'lock-version = "1.0"\ncreated-by = "x"\n'
    tail = "packages = []\n" if head and "[[packages]]" not in text else ""
    (tmp_path / "pylock.toml").write_text(f"{head}{tail}{text}" if tail else f"{head}{text}")
    done = remote_wheel("run", "--lock", "pylock.toml", "-c", "", expect=2)
    assert done.stderr.startswith("error: the lock file pylock.toml can't be used: ")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lock_that_is_not_there(remote_wheel: Python, tmp_path: Path) -> None:
    done = remote_wheel("run", "--lock", "nothing.toml", "-c", "", expect=2)
    assert "the lock file nothing.toml can't be used: No such file" in done.stderr
    done = remote_wheel("lock", "x", "-o", "no/folder/pylock.toml", "--index-url", str(tmp_path), expect=2)
    assert "Traceback" not in done.stderr


# --- other tools -----------------------------------------------------------------------------------------------------

SCRIPTS = Path(sysconfig.get_path("scripts"))


def _tool(*command: str, cwd: Path) -> str:
    environ = {**os.environ, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(cwd / "uv")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ours_is_installed_by_uv_and_pip(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    remote_wheel("lock", "garden")
    uv, pip = str(SCRIPTS / "uv"), [sys.executable, "-m", "pip"]
    options = ["--preview-features", "pylock", "--default-index", garden.url, "--python", sys.executable]
    _tool(uv, "pip", "sync", "pylock.toml", "--target", "by-uv", *options, cwd=tmp_path)
    _tool(*pip, "install", "-q", "-r", "pylock.toml", "--target", "by-pip", "-i", garden.url, cwd=tmp_path)
    for folder in ("by-uv", "by-pip"):
        assert (tmp_path / folder / "garden.py").is_file()
        assert (tmp_path / folder / "soil-2.0.dist-info").is_dir()


def test_theirs_are_mounted(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    (tmp_path / "requirements.in").write_text("garden\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["garden"]\n'
    )
    uv, index = str(SCRIPTS / "uv"), ["--default-index", garden.url]
    compiled = ["pip", "compile", "requirements.in", "--format", "pylock.toml", "-o", "pylock.compiled.toml"]
    _tool(uv, *compiled, *index, "--python", sys.executable, cwd=tmp_path)
    exported = ["export", "--format", "pylock.toml", "--no-emit-project", "-o", "pylock.exported.toml"]
    _tool(uv, *exported, *index, "--python", sys.executable, cwd=tmp_path)
    _tool(
        *(sys.executable, "-m", "pip", "lock", "-q", "garden", "-o", "pylock.pip.toml", "-i", garden.url), cwd=tmp_path
    )
    for name in ("compiled", "exported", "pip"):
        command = ("run", "--lock", f"pylock.{name}.toml", "--cache-dir", name)
        done = remote_wheel(*command, "-c", "import garden, soil; print(garden.V, soil.V)")
        assert done.stdout == "1 2\n", name


@pytest.mark.parametrize("is_right", [True, False])
def test_a_source_that_is_locked_by_another_hash_than_sha256(
    remote_wheel: Python, tmp_path: Path, is_right: bool
) -> None:
    project = '[project]\nname = "garden"\nversion = "1.0"\n'
    data = make_zip({"garden-1.0/garden.py": "V = 1\n", "garden-1.0/pyproject.toml": project})
    (tmp_path / "garden-1.0.zip").write_bytes(data)
    digest = hashlib.sha512(data if is_right else b"another").hexdigest()
    entry = f'[packages.archive]\npath = "garden-1.0.zip"\nhashes = {{sha512 = "{digest}"}}\n'
    head = 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "garden"\nversion = "1.0"\n'
    (tmp_path / "pylock.toml").write_text(head + entry)
    command = ("run", "--lock", "pylock.toml", "-c", "import garden; print(garden.V)")
    if is_right:
        assert remote_wheel(*command).stdout == "1\n"
    else:
        assert "is not what the lock promised" in remote_wheel(*command, expect=2).stderr


def test_a_lock_of_what_needs_itself_has_its_root(
    index: LoopbackIndex, remote_wheel: Python, python: Python, tmp_path: Path
) -> None:
    index.add("first", "1.0", requires=["middle"])
    index.add("middle", "1.0", requires=["zero"])
    index.add("zero", "1.0", requires=["middle", "first"])
    remote_wheel("lock", "middle")
    code = """
        import remote_wheel
        plan = remote_wheel.load_lock("pylock.toml")
        print(plan.tree())
        with plan.mount() as mount:
            print(mount.import_module().__name__)
    """
    told = ["middle 1.0", "└── zero 1.0", "    ├── middle 1.0 (above)", "    └── first 1.0"]
    said = python(code).stdout.splitlines()
    assert said[0] == told[0]
    assert said[-1] == "middle"
    lock = tomllib.loads((tmp_path / "pylock.toml").read_text())
    assert lock.pop("tool") == {"remote-wheel": {"roots": ["middle"]}}
    (tmp_path / "pylock.toml").write_text(tomli_w.dumps(lock))  # as another tool would write it
    others = python(code).stdout.splitlines()
    assert (others[0], others[-1]) == ("first 1.0", "first")


def test_a_lock_is_not_overruled_by_a_path(garden: LoopbackIndex, remote_wheel: Python, tmp_path: Path) -> None:
    remote_wheel("lock", "soil")
    name, data = make_wheel("soil", "0.1")
    (tmp_path / name).write_bytes(data)
    said = remote_wheel("run", "--lock", "pylock.toml", "--with", f"./{name}", "-c", "import soil", expect=2).stderr
    assert "0.1: your constraint is ==" in said
