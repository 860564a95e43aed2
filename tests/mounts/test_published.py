"""Code that one process compiles while another imports."""

from pathlib import Path

import pytest

from remote_wheel.mounts.published import Published, make_entry, published_path


@pytest.fixture
def image(tmp_path: Path) -> str:
    return str(tmp_path / "key-lean.zip")


def test_it_is_read_as_far_as_it_has_come(image: str) -> None:
    published = Published(image)
    assert published.read("a.py") is None, "there is no file yet"
    first, second = make_entry("a.py", b"code of a"), make_entry("b/ä.py", b"code of b" * 1000)
    with open(published_path(image), "wb", buffering=0) as file:
        assert published.read("a.py") is None
        file.write(first)
        assert published.read("a.py") == b"code of a"
        file.write(second[:-1])
        assert published.read("b/ä.py") is None, "it is still being written"
        file.write(second[-1:])
        assert published.read("b/ä.py") == b"code of b" * 1000
        assert published.read("c.py") is None
    Path(published_path(image)).unlink()
    assert published.read("a.py") == b"code of a", "who has it open keeps it"


def test_every_damage_is_noticed(image: str) -> None:
    good = make_entry("a.py", b"code of a")
    for at in range(len(good)):
        for flip in (1, 128):
            bad = bytes(byte ^ flip if here == at else byte for here, byte in enumerate(good))
            Path(published_path(image)).write_bytes(bad + make_entry("b.py", b"x"))
            assert Published(image).read("a.py") is None, at
