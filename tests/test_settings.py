"""Settings: which source wins, and the default index that other tools use."""

import os
from pathlib import Path

import pytest

from remote_wheel.errors import UsageError
from remote_wheel.settings import Settings, find_default_index, merge_settings

OFF = {"PIP_CONFIG_FILE": os.devnull}


def test_arguments_over_environment_over_defaults() -> None:
    environ = {
        **OFF,
        "REMOTE_WHEEL_INDEX_URL": "https://e.example",
        "REMOTE_WHEEL_OFFLINE": "yes",
        "REMOTE_WHEEL_PRE": "0",
    }
    merged = merge_settings({"pre": True, "index_url": None}, environ)
    assert (merged.index_url, merged.offline, merged.pre, merged.prefer_installed) == (
        "https://e.example",
        True,
        True,
        True,
    )


def test_forms_of_values() -> None:
    environ = {
        **OFF,
        "REMOTE_WHEEL_PRE": "a b",
        "REMOTE_WHEEL_EXCLUDE_NEWER": "7d a=none",
        "REMOTE_WHEEL_NO_INDEX": "1",
    }
    merged = merge_settings({"exclude_newer": None}, environ)
    assert (merged.pre, merged.exclude_newer, merged.index_url) == (("a", "b"), ("7d", "a=none"), "")
    assert merge_settings({"exclude_newer": "7d", "pre": ["x"], "index_url": "https://h"}, {}).exclude_newer == ("7d",)
    with pytest.raises(UsageError, match="'best' is not known") as caught:
        merge_settings({"index_strategy": "best"}, OFF)
    assert "first-index, unsafe-best-match" in caught.value.hint


def test_options_are_the_same_everywhere() -> None:
    from remote_wheel.api import OPTION_KINDS
    from remote_wheel.api.program import OPTIONS

    settings = set(Settings._fields) - {
        "limits",
        "origins",
        "freshness_s",
        "goes_offline",
        "max_cache_size",
    }
    assert set(OPTION_KINDS) == settings
    assert {name for _, name, _, _ in OPTIONS} == settings | {"cache_dir"}


def test_bad_values() -> None:
    with pytest.raises(UsageError, match="neither true nor false"):
        merge_settings({}, {**OFF, "REMOTE_WHEEL_REFRESH": "maybe"})
    with pytest.raises(UsageError, match="not a number"):
        merge_settings({}, {**OFF, "REMOTE_WHEEL_FRESHNESS_S": "soon"})
    with pytest.raises(UsageError, match="unknown option 'colour'"):
        merge_settings({"colour": 1}, OFF)


def test_default_index_of_other_tools(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://global.example\n[install]\nindex_url=https://install.example\n")
    chain = [
        ("UV_DEFAULT_INDEX", "https://uv.example"),
        ("UV_INDEX_URL", "https://uv-old.example"),
        ("PIP_INDEX_URL", "https://pip.example"),
        ("PIP_CONFIG_FILE", str(config)),
    ]
    expected = [value for _, value in chain[:3]] + ["https://install.example"]
    for at, url in enumerate(expected):
        assert find_default_index(dict(chain[at:])) == url
    config.write_text("[global]\nindex-url = https://global.example\n")
    assert find_default_index({"PIP_CONFIG_FILE": str(config)}) == "https://global.example"
    config.write_text("not an ini file")
    assert find_default_index({"PIP_CONFIG_FILE": str(config)}).endswith("/simple")


def test_pips_built_in_default_is_the_last_resort() -> None:
    url = find_default_index(OFF)
    assert url.startswith("https://")
    assert url.endswith("/simple")


def test_settings_are_values() -> None:
    with pytest.raises(AttributeError):
        Settings(index_url="x").index_url = "y"  # type: ignore[misc]  # that is the point
