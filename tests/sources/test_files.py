"""Local paths, tars and sdists, single modules over http, and what fsspec reads."""

import gzip
import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.conftest import Python
from tests.loopback import LoopbackIndex
from tests.servers.ftp import serve_ftp
from tests.sources.conftest import Mounting

TREE = {
    "pkg-1.0/pkg/__init__.py": "V = 4\n",
    "pkg-1.0/pkg/data.txt": "seeds\n",
    "pkg-1.0/pyproject.toml": "[project]\nname = 'pkg'\nversion = '1.0'\ndependencies = ['needed']\n",
}


def make_tar(files: dict[str, str], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a parameter here
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz"])
def test_a_tar_by_path_and_by_url(index: LoopbackIndex, mounting: Mounting, tmp_path: Path, ending: str) -> None:
    index.add("needed", "1")
    kind = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "tbz2": "bz2", "xz": "xz", "txz": "xz"}.get(
        ending.rpartition(".")[2]
    )
    data = make_tar(TREE, f"w:{kind or ''}")
    path = tmp_path / f"pkg-1.0.{ending}"
    path.write_bytes(data)
    index.extra[f"/t/{path.name}"] = data
    for source in (str(path), path.as_uri(), f"{index.root}t/{path.name}"):
        said = mounting.value(source, "m.V, mount.distribution.version, __import__('needed').__name__")
        assert said == "4 1.0 needed"


def test_a_zstandard_tar(mounting: Mounting, tmp_path: Path) -> None:
    """Read where the interpreter can; said plainly where it can't."""
    path = tmp_path / "pkg-1.0.tar.zst"
    # One raw block in one frame without checksum (RFC 8878 section 3.1.1), so that no library is needed to write it.
    tree = {name: text.replace("['needed']", "[]") for name, text in TREE.items()}
    data = make_tar(tree, "w:")
    blocks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    body = b"".join(
        ((len(block) << 3) | (at == len(blocks) - 1)).to_bytes(3, "little") + block for at, block in enumerate(blocks)
    )
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"\x00\x58" + body)
    if sys.version_info >= (3, 14):
        assert mounting.value(str(path), "m.V") == "4"
    else:
        assert "this interpreter can't read Zstandard; Python 3.14 can" in mounting.error(str(path))


def test_an_sdist_whose_metadata_is_static(index: LoopbackIndex, mounting: Mounting, tmp_path: Path) -> None:
    index.add("needed", "1")
    info = "Metadata-Version: 2.2\nName: old-style\nVersion: 3.1\nRequires-Dist: needed\n"
    files = {
        "old_style-3.1/PKG-INFO": info,
        "old_style-3.1/setup.py": "from setuptools import setup\nsetup(**compute_everything())\n",
        "old_style-3.1/old_style/__init__.py": "import needed\nV = 8\n",
    }
    path = tmp_path / "old_style-3.1.tar.gz"
    path.write_bytes(make_tar(files))
    assert mounting.value(str(path), "m.V, mount.distribution.version") == "8 3.1"
    dynamic = info.replace("2.2\n", "2.2\nDynamic: Requires-Dist\n").replace("Requires-Dist: needed\n", "")
    path.write_bytes(make_tar({**files, "old_style-3.1/PKG-INFO": dynamic}))
    assert mounting.error(str(path)).startswith("MustBeBuilt: ")


def test_a_tar_that_is_cut_or_goes_on_is_refused(mounting: Mounting, tmp_path: Path) -> None:
    data = make_tar({"pkg/__init__.py": "V = 1\n"})
    path = tmp_path / "pkg.tar.gz"
    for broken in (data[:-9], data + b"more", gzip.compress(gzip.decompress(data)[:1024]), b"no tar at all" * 99):
        path.write_bytes(broken)
        assert mounting.error(str(path)).startswith("UnsafeArchive: ")


@pytest.mark.parametrize("way", ["path", "url"])
def test_a_folder_of_wheels(python: Python, mounting: Mounting, tmp_path: Path, way: str) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, version, requires in (("upper", "1.0", ["lower>=2"]), ("lower", "1.0", []), ("lower", "2.0", [])):
        filename, data = make_wheel(name, version, requires=requires)
        (folder / filename).write_bytes(data)
    index = str(folder) if way == "path" else folder.as_uri()
    code = f"""
        import remote_wheel
        remote_wheel.require("upper", index_url={index!r})
        import lower
        print(remote_wheel.explain("lower").splitlines()[0])
    """
    assert python(code).stdout == "lower 2.0\n"
    filename, data = make_wheel("lower", "3.0")
    (folder / filename).write_bytes(data)
    assert python(code).stdout == "lower 3.0\n", "the folder is looked at each time"


def test_extras_of_a_file_and_references_without_spaces(index: LoopbackIndex, python: Python, tmp_path: Path) -> None:
    index.add("needed", "1")
    filename, data = make_wheel("rake", "1.0", requires=["needed; extra == 'more'"], extras=["more"])
    (tmp_path / filename).write_bytes(data)
    index.extra[f"/files/{filename}"] = data
    for text in (f"./{filename}[more]", f"rake[more]@{index.root}files/{filename}"):
        code = f"import remote_wheel; print(len(remote_wheel.resolve({text!r}).pins))"
        assert python(code).stdout == "2\n", text


def test_sources_that_mean_something_else(mounting: Mounting, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("V = 1\n")
    assert "a file of the host 'elsewhere'" in mounting.error(f"file://elsewhere{tmp_path}/x.py")
    assert "hostkey= goes with sftp:// and ssh:// alone" in mounting.error("x.py", "hostkey='SHA256:x'")
    assert "chained URLs" in mounting.error("zip://x.py::file:///somewhere/x.zip")
    said = mounting.error("https://index.invalid/x.whl?X-Amz-Security-Token=" + "top-secret" * 1000)
    assert "top-secret" not in said
    assert mounting.error("x" * 5000 + ".py").startswith("InvalidSource: ")
    assert mounting.error("a\0b.py").startswith("InvalidSource: ")


def test_a_folder_is_no_source(mounting: Mounting, tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    said = mounting.error(str(tmp_path / "dist"))
    assert said.startswith("InvalidSource: ")
    assert "index_url=" in said


def test_a_module_over_http(index: LoopbackIndex, mounting: Mounting) -> None:
    index.extra["/files/tools.py"] = b"V = 6\n"
    index.extra["/raw"] = b"V = 7\n"
    assert mounting.value(f"{index.root}files/tools.py", "m.__name__, m.V") == "tools 6"
    assert mounting.value(f"{index.root}files/tools.py", "m.__name__, m.V", "name='renamed'") == "renamed 6"
    assert mounting.value(f"{index.root}raw", "m.__name__, m.V", "name='raw_module'") == "raw_module 7"
    assert "neither a wheel" in mounting.error(f"{index.root}raw")
    assert "'no name' is no module name" in mounting.error(f"{index.root}files/tools.py", "name='no name'")
    index.extra["/files/no-name.py"] = b""
    assert "no Python identifier" in mounting.error(f"{index.root}files/no-name.py")


def test_two_modules_of_the_same_bytes(index: LoopbackIndex, python: Python) -> None:
    index.extra["/a/tools.py"] = index.extra["/b/other.py"] = b"V = __name__\n"
    code = f"""
        import remote_wheel
        one, two = remote_wheel.mount("{index.root}a/tools.py"), remote_wheel.mount("{index.root}b/other.py")
        print(one.import_module().V, two.import_module().V, one.modules, two.modules)
    """
    assert python(code).stdout == "tools other ('tools',) ('other',)\n"


# --- fsspec -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_and_an_index_over_ftp(mounting: Mounting, python: Python, tmp_path: Path) -> None:
    """Plain ftp, like http, only from this very machine or held by a hash."""
    root = tmp_path / "ftp"
    (root / "flat").mkdir(parents=True)
    (root / "tools.py").write_bytes(b"V = 3\n")
    for name, requires in (("upper", ["lower"]), ("lower", [])):
        filename, data = make_wheel(name, "1.0", requires=requires)
        (root / "flat" / filename).write_bytes(data)
    with serve_ftp(root) as url:
        assert mounting.value(f"{url}/tools.py", "m.V, mount.source") == f"3 {url}/tools.py"
        code = f"""
            import remote_wheel
            remote_wheel.require("upper", index_url="{url}/flat")
            import lower
            print(remote_wheel.explain("lower").splitlines()[1].strip())
        """
        assert python(code).stdout == f"source  {url}/flat/lower-1.0-py3-none-any.whl\n"
        assert "no such file" in mounting.error(f"{url}/nothing.py")
        (root / "tools.py").write_bytes(b"V = 4\n")
        os.utime(root / "tools.py", (2_000_000_000, 2_000_000_000))  # FTP tells times in whole seconds
        assert mounting.error(f"{url}/tools.py", "refresh=True").startswith("ContentChanged: ")
        sha256 = hashlib.sha256(b"V = 4\n").hexdigest()
        assert mounting.value(f"{url}/tools.py", "m.V", f"sha256={sha256!r}") == "4"
        assert mounting.value(f"{url}/tools.py", "m.V", "refresh=True") == "4"
    assert mounting.value(f"{url}/tools.py", "m.V", "offline=True") == "4"
    assert "NetworkError: " in mounting.error(f"{url}/tools.py", "refresh=True")
    assert mounting.error("ftp://ftp.index.example/tools.py").startswith("InsecureTransport: ")


def test_a_scheme_nobody_knows(mounting: Mounting) -> None:
    assert "the scheme 'nope' is not supported" in mounting.error("nope://host/x.py")


@pytest.mark.parametrize(
    ("scheme", "library"),
    [("gs", "gcsfs"), ("az", "adlfs"), ("hf", "huggingface_hub"), ("oci", "ocifs"), ("smb", "smbprotocol")],
)
def test_a_library_that_fsspec_needs_is_named(mounting: Mounting, scheme: str, library: str) -> None:
    said = mounting.error(f"{scheme}://place/x.py")
    assert said.startswith(f"MissingExtra: {scheme}:// needs {library}: pip install '{library}'")


def test_without_fsspec_the_extra_is_named(mounting: Mounting, tmp_path: Path) -> None:
    (tmp_path / "fsspec.py").write_text("raise ModuleNotFoundError(\"No module named 'fsspec'\", name='fsspec')\n")
    said = mounting.error("gs://bucket/x.py", PYTHONPATH=str(tmp_path))
    assert "gs:// needs fsspec: pip install 'fsspec'" in said


def test_extras_are_not_imported_without_need(index: LoopbackIndex, python: Python) -> None:
    index.add("plain", "1")
    code = """
        import sys
        sys.frozen = True  # no helper: all that is imported is imported here
        import remote_wheel
        remote_wheel.require("plain")
        print(sorted({"boto3", "botocore", "paramiko", "fsspec", "rich"} & set(sys.modules)))
    """
    assert python(code).stdout == "[]\n"
