"""Images: what is written is what the island reads, and what stock zipimport can read too."""

import hashlib
import subprocess
import sys
import traceback
import zipimport
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from remote_wheel.errors import StoreError
from remote_wheel.mounts.image import DamagedImage, Image
from remote_wheel.prepare.image import compile_modules, write_image
from remote_wheel.settings import Limits
from remote_wheel.verify.wheel import verify_wheel

FILES: dict[str, str | bytes] = {
    "pkg/__init__.py": "VALUE = 1\n",
    "pkg/sub/deep.py": "def fail():\n    raise ValueError('deep')\n",
    "pkg/big5.py": "# -*- coding: big5 -*-\nTEXT = '\u4e2d\u6587'\n".encode("big5"),
    "broken.py": "def (:\n",
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    filename, data = make_wheel("pkg", "1", FILES)
    sha256 = hashlib.sha256(data).hexdigest()
    compiled = compile_modules(verify_wheel(data, filename=filename, sha256=sha256, limits=Limits()), optimize=-1)
    path = tmp_path / "image.zip"
    with path.open("w+b") as file:
        write_image(compiled, file, str(path))
    return path


def test_tables(image: Path) -> None:
    read = Image(str(image))
    assert {"pkg", "pkg/sub/deep", "pkg/big5", "broken"} == set(read.modules)
    assert read.folders == {"pkg", "pkg/sub", "pkg-1.dist-info"}
    at, size, crc = read.members["pkg/__init__.py"]
    blob = read.read(at, size, crc)
    assert blob is not None
    assert bytes(blob) == b"VALUE = 1\n"
    assert read.modules["broken"][2] == 0  # not compiled: the error waits for who imports it


def test_stock_zipimport_reads_it_without_its_source(image: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pkg.sub.deep, pkg.big5; print(pkg.VALUE, pkg.big5.TEXT)"
    done = subprocess.run([sys.executable, "-c", code, str(image)], capture_output=True, check=True)
    assert done.stdout.split()[0] == b"1"
    with pytest.raises(SyntaxError):
        zipimport.zipimporter(str(image)).get_code("broken")


def test_file_names_in_code_are_those_of_the_mount(image: Path) -> None:
    import marshal

    read = Image(str(image))
    _, at, size, check, _ = read.modules["pkg/sub/deep"]
    blob = read.read_code(at, size, check)
    assert blob is not None
    namespace: dict[str, object] = {}
    exec(marshal.loads(blob), namespace)
    with pytest.raises(ValueError, match="deep") as caught:
        namespace["fail"]()  # type: ignore[operator]  # a function of the module
    assert traceback.extract_tb(caught.tb)[-1].filename == str(image / "pkg" / "sub" / "deep.py")


def test_every_damage_is_noticed(image: Path) -> None:
    data = image.read_bytes()
    image.write_bytes(b"")
    with pytest.raises(DamagedImage):
        Image(str(image))
    for size in range(0, len(data), 7):
        image.write_bytes(data[: max(1, size)])
        with pytest.raises(DamagedImage):
            Image(str(image))
    # One flipped byte anywhere: refused whole, or the part it is in is refused, or it is in no part of ours.
    for at in range(len(data)):
        image.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        try:
            read = Image(str(image), memoryview(image.read_bytes()))
            codes, members = [entry[1:4] for entry in read.modules.values()], list(read.members.values())
        except (DamagedImage, StoreError):
            continue
        for parts, look in ((codes, read.read_code), (members, read.read)):
            for start, size, check in parts:
                if start <= at < start + size:
                    assert look(start, size, check) is None
                    assert not read.is_whole()


def test_a_table_that_changes_before_it_is_read(image: Path) -> None:
    read = Image(str(image))
    data = image.read_bytes()
    for table in (b".remote_wheel/modules", b".remote_wheel/members", b".remote_wheel/digests"):
        at = data.index(table) + len(table) + 1
        with image.open("r+b") as file:  # the very file that is mapped
            file.seek(at)
            file.write(bytes([data[at] ^ 0x10]))
    with pytest.raises(StoreError, match="has changed while it was in use"):
        _ = read.modules
    with pytest.raises(StoreError, match="has changed while it was in use"):
        _ = read.members
    with pytest.raises(StoreError, match="has changed while it was in use"):
        _ = read.digests
    assert not image.exists(), "the next process makes it anew"
