"""Archives that are meant to fool somebody: by recipe, by rule, on every way in; and those that others collected."""

import hashlib
import logging
from pathlib import Path

import pytest

from fixtures.hostile import FILENAME, METADATA, cases, good, packed
from remote_wheel.api import cold, request_of
from remote_wheel.errors import InvalidMetadata, RemoteWheelError, UnsafeArchive, VerificationError
from remote_wheel.settings import Limits
from remote_wheel.verify.archive import Archive
from remote_wheel.verify.wheel import verify_wheel
from tests.loopback import IndexedFile, LoopbackIndex

CASES = cases()
CORPORA = Path(__file__).resolve().parent.parent.parent / "fixtures" / "corpora"
# What other readers take and a wheel never needs: members that inflate to more than they say, encryption, methods of
# compression that nobody has, backslashes, and a second name in an extra field.
BY_POLICY = {
    "short_usize",
    "short_usize_zip64",
    "bogus-compression-method",
    "sloppy-filenames",
    "traditional-encryption",
    "traditional-encryption_deprecated",
    "traditional-encryption-and-compression",
    "traditional-encryption-and-compression_deprecated",
    "unicode-path-extra-field",
}


def archives(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((CORPORA / folder).iterdir()) if path.suffix != ".md"]
    assert len(found) > 20
    return found


def read_all(path: Path) -> dict[str, bytes]:
    archive = Archive(path.read_bytes(), subject=path.name, limits=Limits())
    return {name: archive.read(name) for name in archive.members}


def verify(data: bytes) -> None:
    verify_wheel(data, filename=FILENAME, sha256=hashlib.sha256(data).hexdigest(), limits=Limits())


def test_the_recipe_itself_is_right() -> None:
    verify(packed(good()))
    assert len(CASES) >= 100


@pytest.mark.parametrize("name", CASES)
def test_hostile_wheels_are_refused_by_their_rule(name: str) -> None:
    data, rule = CASES[name]
    with pytest.raises((VerificationError, InvalidMetadata), match=rule) as caught:
        verify(data)
    assert FILENAME in str(caught.value)
    assert caught.value.hint


@pytest.mark.slow
def test_the_verdict_is_the_same_on_every_way_in(
    index: LoopbackIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By requirement from an index with and without its own metadata, by URL, by path."""
    caplog.set_level(logging.DEBUG)
    verdicts: dict[str, set[str]] = {}
    for at, (name, (data, _)) in enumerate({**CASES, "right": (packed(good()), "")}.items()):
        index.files = {"evil": [IndexedFile(FILENAME, data, METADATA)]}
        path = tmp_path / str(at) / FILENAME
        path.parent.mkdir()
        path.write_bytes(data)
        index.extra[f"/{at}/{FILENAME}"] = data
        said = set()
        for action, subject, has_metadata in (
            ("require", "evil", True),
            ("require", "evil", False),
            ("mount", f"{index.root}{at}/{FILENAME}", True),
            ("mount", str(path), True),
        ):
            index.has_metadata = has_metadata
            options = {"index_url": index.url, "prefer_installed": False, "refresh": True}
            request = request_of(action, [subject], options, str(tmp_path / "cache"), f"key{at}")
            try:
                cold.carry_out({**request, "optimize": 0}, cold.Silent())
                said.add("accepted")
            except RemoteWheelError as error:
                said.add(type(error).__name__)
        verdicts[name] = said
    assert verdicts.pop("right") == {"accepted"}
    # A plan made from METADATA in the wheel may fail before the rest of it is looked at, and says that there is none.
    refusals = {"UnsafeArchive", "RecordMismatch", "InvalidWheel", "InvalidMetadata", "Unsatisfiable"}
    assert {name: said for name, said in verdicts.items() if not said <= refusals} == {}


@pytest.mark.parametrize("path", archives("warehouse/reject", "yauzl/failure"), ids=lambda path: path.stem[:60])
def test_archives_that_others_refuse(path: Path) -> None:
    with pytest.raises(UnsafeArchive):
        read_all(path)


@pytest.mark.parametrize("path", archives("warehouse/accept", "yauzl/success"), ids=lambda path: path.stem[:60])
def test_archives_that_others_take(path: Path) -> None:
    if path.stem in BY_POLICY:
        with pytest.raises(UnsafeArchive):
            read_all(path)
    else:
        assert read_all(path) or path.stem == "empty"
