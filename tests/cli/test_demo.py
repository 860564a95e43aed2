"""The embedded default: no network, no cache left, a true story."""

from pathlib import Path

from tests.conftest import Python


def test_demo_tells_the_main_job(remote_wheel: Python, tmp_path: Path) -> None:
    done = remote_wheel("demo", REMOTE_WHEEL_INDEX_URL="https://index.invalid/simple")
    said = done.stdout
    assert done.stderr == ""
    assert "greenhouse 1.2\n├── seedlings 2.1\n├── watering 0.4\n│   └── seedlings 2.1\n└── almanac 2024.1" in said
    assert "watering 0.4 requires seedlings>=2" in said
    assert "basil: sow in May" in said
    assert said.count("sha256") == 4
    assert "in memory" in said
    assert not (tmp_path / "cache").exists()


def test_demo_takes_a_second_run(remote_wheel: Python) -> None:
    assert "basil" in remote_wheel("demo").stdout
    assert "basil" in remote_wheel("demo").stdout
