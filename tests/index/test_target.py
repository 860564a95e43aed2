"""Machines elsewhere, compared with what pip's own vendored logic and this machine say."""

import pytest

from remote_wheel.errors import UsageError
from remote_wheel.index.target import target_elsewhere, target_of_this_machine

HERE = target_of_this_machine()


def test_here_is_elsewhere_too() -> None:
    """This machine's own version and tags, asked for as if they were another's, come out as they are."""
    version = ".".join(map(str, HERE.python.release))
    there = target_elsewhere(HERE, version)
    assert set(map(str, HERE.tag_ranks)) == set(map(str, there.tag_ranks))
    assert there.environment["python_version"] == HERE.environment["python_version"]


@pytest.mark.parametrize(
    ("platform", "tags", "facts"),
    [
        (
            "manylinux_2_17_x86_64",
            [
                "manylinux_2_17_x86_64",
                "manylinux2014_x86_64",
                "manylinux_2_5_x86_64",
                "manylinux1_x86_64",
                "linux_x86_64",
            ],
            ("posix", "linux", "Linux", "x86_64"),
        ),
        ("linux", ["manylinux_2_28_x86_64"], ("posix", "linux", "Linux", "x86_64")),
        (
            "musllinux_1_2_aarch64",
            ["musllinux_1_2_aarch64", "musllinux_1_0_aarch64"],
            ("posix", "linux", "Linux", "aarch64"),
        ),
        ("macos", ["macosx_14_0_arm64", "macosx_11_0_universal2"], ("posix", "darwin", "Darwin", "arm64")),
        ("macosx_10_15_x86_64", ["macosx_10_9_x86_64"], ("posix", "darwin", "Darwin", "x86_64")),
        ("windows", ["win_amd64"], ("nt", "win32", "Windows", "AMD64")),
        ("win32", ["win32"], ("nt", "win32", "Windows", "x86")),
        ("win_arm64", ["win_arm64"], ("nt", "win32", "Windows", "ARM64")),
    ],
)
def test_platforms(platform: str, tags: list[str], facts: tuple[str, ...]) -> None:
    target = target_elsewhere(HERE, "3.12", platform)
    known = {tag.platform for tag in target.tag_ranks}
    assert set(tags) <= known
    assert "manylinux_2_29_x86_64" not in known
    names = ("os_name", "sys_platform", "platform_system", "platform_machine")
    assert tuple(target.environment[name] for name in names) == facts
    ranks = {str(tag): rank for tag, rank in target.tag_ranks.items()}
    assert ranks[f"cp312-cp312-{tags[0]}"] < ranks[f"cp312-abi3-{tags[0]}"] < ranks["py3-none-any"]
    assert target.environment["python_full_version"] == "3.12.0"


@pytest.mark.parametrize("version", ["3", "three", "3.12.1.2", ""])
def test_no_versions(version: str) -> None:
    if not version:
        assert target_elsewhere(HERE, version).python == HERE.python
        return
    with pytest.raises(UsageError, match="is no Python version"):
        target_elsewhere(HERE, version)
