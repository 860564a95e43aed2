"""The wheel format's rules; the command-line side of them is in tests/api/test_bad_input.py."""

import base64
import hashlib
import re
from typing import Any

import pytest

from fixtures.wheels import make_wheel, make_zip, record_row
from remote_wheel.errors import InvalidMetadata, InvalidWheel, RecordMismatch, RemoteWheelError
from remote_wheel.settings import Limits
from remote_wheel.verify.wheel import Verified, verify_wheel


def verify(filename: str, data: bytes) -> Verified:
    return verify_wheel(data, filename=filename, sha256=hashlib.sha256(data).hexdigest(), limits=Limits())


def test_a_good_wheel() -> None:
    verified = verify(*make_wheel("Some-Thing", "1.0", requires=["other"], executable=["x"]))
    assert verified.dist_info == "Some_Thing-1.0.dist-info"
    assert verified.metadata is not None
    assert (verified.metadata.name, str(verified.metadata.version)) == ("some-thing", "1.0")
    assert verified.read("Some_Thing/__init__.py") == b'__version__ = "1.0"\n'


def test_data_folder_merges_and_leaves_out() -> None:
    files = {
        "a.py": "",
        "thing-1.data/purelib/b.py": "b",
        "thing-1.data/platlib/c.py": "c",
        "thing-1.data/scripts/tool": "#!python\n",
        "thing-1.data/data/share/doc": "",
        "thing-1.data/headers/x.h": "",
    }
    verified = verify(*make_wheel("thing", "1", files))
    assert {"a.py", "b.py", "c.py"} <= set(verified.files)
    assert verified.read("b.py") == b"b"
    assert verified.left_out == (
        "thing-1.data/scripts/tool",
        "thing-1.data/data/share/doc",
        "thing-1.data/headers/x.h",
    )


def test_the_same_path_in_root_and_data_folder() -> None:
    with pytest.raises(InvalidWheel, match="there twice"):
        verify(*make_wheel("thing", "1", {"a.py": "", "thing-1.data/purelib/a.py": ""}))


@pytest.mark.parametrize(
    "filename", ["thing.whl", "thing-1.whl", "thing-x-py3-none-any.whl", "thing-1-py3-none.whl", ""]
)
def test_file_names(filename: str) -> None:
    with pytest.raises(InvalidWheel, match="its file name"):
        verify(filename, make_wheel("thing", "1")[1])


def test_file_name_of_another_project_or_version() -> None:
    _, data = make_wheel("thing", "1")
    for filename in ("other-1-py3-none-any.whl", "thing-2-py3-none-any.whl"):
        with pytest.raises(InvalidWheel, match="of another project or version"):
            verify(filename, data)


def _wheel_of(files: dict[str, str]) -> bytes:
    return make_zip({**files, "thing-1.dist-info/RECORD": "\n".join(record_row(n, d) for n, d in files.items()) + "\n"})


GOOD = {
    "thing.py": "",
    "thing-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1\n",
    "thing-1.dist-info/WHEEL": "Wheel-Version: 1.0\n",
}


def test_the_recipe_below_is_good() -> None:
    verify("thing-1-py3-none-any.whl", _wheel_of(GOOD))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"other-1.dist-info/METADATA": ""}, InvalidWheel, "exactly one .dist-info folder and has other-1"),
        ({"thing-1.dist-info/WHEEL": "Wheel-Version: 2.0\n"}, InvalidWheel, "its Wheel-Version is 2.0"),
        ({"thing-1.dist-info/WHEEL": ""}, InvalidWheel, "its Wheel-Version is missing"),
        ({"other-1.data/purelib/x.py": ""}, InvalidWheel, r"its other-1\.data folder is of another project or version"),
        ({"thing-2.data/purelib/x.py": ""}, InvalidWheel, r"its thing-2\.data folder is of another project or version"),
        ({"x.data/purelib/x.py": ""}, InvalidWheel, r"its x\.data folder is of another project or version"),
        (
            {"thing-1.dist-info/METADATA": "Metadata-Version: 9.9\nName: thing\nVersion: 1\n"},
            InvalidMetadata,
            r"its Metadata-Version is 9\.9, and 2\.x is the newest",
        ),
        ({"thing-1.dist-info/METADATA": "Name: thing\n"}, InvalidMetadata, "no Name or no Version"),
        ({"thing-1.dist-info/METADATA": "Name: thing\nVersion: one\n"}, InvalidMetadata, "one"),
    ],
)
def test_broken_parts(change: dict[str, str], error: type[RemoteWheelError], said: str) -> None:
    with pytest.raises(error, match=said):
        verify("thing-1-py3-none-any.whl", _wheel_of({**GOOD, **change}))


@pytest.mark.parametrize("missing", ["METADATA", "WHEEL"])
def test_missing_parts(missing: str) -> None:
    files = {name: data for name, data in GOOD.items() if not name.endswith(missing)}
    with pytest.raises(InvalidWheel, match=re.escape(f"it has no thing-1.dist-info/{missing}")):
        verify("thing-1-py3-none-any.whl", _wheel_of(files))
    with pytest.raises(InvalidWheel, match=r"it has no thing-1\.dist-info/RECORD"):
        verify("thing-1-py3-none-any.whl", make_zip(GOOD))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("thing.py,,", "no hash in RECORD"),
        ("thing.py,md5=xyz,0", "no SHA-256 or better"),
        ("thing.py,sha256=AAAA,0", "sha256 is 47DEQpj8HBSa"),
        ("thing.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,7", "0 bytes where RECORD says 7"),
        ("elsewhere.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0", "listed but missing"),
    ],
)
def test_record_rows(row: str, said: str) -> None:
    rest = [record_row(name, data) for name, data in GOOD.items() if name != "thing.py"]
    data = make_zip({**GOOD, "thing-1.dist-info/RECORD": "\n".join([row, *rest]) + "\n"})
    with pytest.raises(RecordMismatch) as caught:
        verify("thing-1-py3-none-any.whl", data)
    assert said in caught.value.detail


def test_a_record_that_lists_a_file_twice_or_can_not_be_read() -> None:
    rows = [record_row(name, data) for name, data in GOOD.items()]
    data = make_zip({**GOOD, "thing-1.dist-info/RECORD": "\n".join([*rows, rows[0]])})
    with pytest.raises(RecordMismatch, match="listed twice"):
        verify("thing-1-py3-none-any.whl", data)
    data = make_zip({**GOOD, "thing-1.dist-info/RECORD": "only,two\n"})
    with pytest.raises(InvalidWheel, match="its RECORD can't be read"):
        verify("thing-1-py3-none-any.whl", data)


def test_stronger_hashes_count() -> None:
    import base64

    digest = base64.urlsafe_b64encode(hashlib.sha512(b"").digest()).rstrip(b"=").decode()
    rest = [record_row(name, data) for name, data in GOOD.items() if name != "thing.py"]
    record = "\n".join([f"thing.py,sha512={digest},0", *rest])
    verify("thing-1-py3-none-any.whl", make_zip({**GOOD, "thing-1.dist-info/RECORD": record}))


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("Tag: cp39-cp39-win32\n", "says that it is of cp39-cp39-win32"),
        ("Tag: py3-none-any\nTag: py2-none-any\n", "says that it is of py2-none-any, py3-none-any"),
        ("Tag:\n", "has an empty tag"),
        ("Tag: nonsense\n", "has a tag that can't be read, 'nonsense'"),
        (
            f"Tag: {'.'.join(f'cp{n}' for n in range(200))}-{'.'.join(f'cp{n}' for n in range(200))}-any\n",
            "can't be read",
        ),
        ("", ""),
        ("Tag: py3-none-any\n", ""),
    ],
)
def test_tags_that_differ_from_the_file_name_are_told(tags: str, said: str) -> None:
    """As of ray, playwright and py-spy: tools that repair or re-tag wheels leave them; installers go by the name."""
    wheel = f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n{tags}"
    verified = verify(*make_wheel("thing", "1", {"thing.py": ""}, wheel=wheel))
    assert len(verified.oddities) == bool(said)
    assert said in "".join(verified.oddities)
    assert {str(tag) for tag in verified.tags} == {"py3-none-any"}


def test_hashes_in_hexadecimal_are_the_same_hashes() -> None:
    """As uv_build wrote them before 0.8.13."""

    def hexadecimal(row: str, *, upper: bool) -> str:
        path, digest, size = row.split(",")
        raw = base64.urlsafe_b64decode(f"{digest.removeprefix('sha256=')}=")
        return f"{path},sha256={raw.hex().upper() if upper else raw.hex()},{size}"

    wheel, metadata = "Wheel-Version: 1.0\nTag: py3-none-any\n", "Metadata-Version: 2.1\nName: thing\nVersion: 1\n"
    files = {"thing.py": "x = 1\n", "thing-1.dist-info/METADATA": metadata, "thing-1.dist-info/WHEEL": wheel}
    for upper in (False, True):
        rows = [hexadecimal(record_row(name, text), upper=upper) for name, text in files.items()]
        record = "\n".join((*rows, "thing-1.dist-info/RECORD,,", ""))
        made: dict[str, Any] = {"metadata": metadata, "wheel": wheel, "record": record}
        verified = verify(*make_wheel("thing", "1", {"thing.py": "x = 1\n"}, **made))
        assert "hexadecimal" in "".join(verified.oddities)
        assert verified.sha256_of("thing.py") == hashlib.sha256(b"x = 1\n").digest()
        with pytest.raises(RecordMismatch, match=r"thing\.py"):
            verify(*make_wheel("thing", "1", {"thing.py": "x = 2\n"}, **made))
