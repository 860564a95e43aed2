"""The options that every verb takes, as a type, and what the names in annotations of the verbs stand for."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, TypedDict


class Options(TypedDict, total=False):
    """The options every verb takes; docs/reference/api.md has the table."""

    index_url: str | PathLike[str] | None
    extra_index_urls: Sequence[str] | None
    index: Sequence[str] | None
    project_index: Sequence[str] | None
    index_strategy: str | None
    find_links: Sequence[str | PathLike[str]] | None
    no_index: bool | None
    offline: bool | str | None
    frozen: bool | None
    refresh: bool | None
    no_cache: bool | None
    pre: bool | Sequence[str] | None
    prefer_installed: bool | None
    constraints: Sequence[str | PathLike[str]] | None
    overrides: Sequence[str | PathLike[str]] | None
    exclude_newer: str | Sequence[str] | None
    allow_insecure: Sequence[str] | None
    client_cert: str | PathLike[str] | None
    verify: str | None
    require_hashes: bool | None
    allowed_hosts: Sequence[str] | None
    allowed_indexes: Sequence[str] | None
    allow_shadow: Sequence[str] | None
    timeout_s: float | None
    unpack: Sequence[str] | None
    in_memory: Sequence[str] | None


def names_in_annotations() -> dict[str, Any]:
    """Return what stands in annotations of the verbs and of what they return, by name."""
    import collections.abc
    import importlib.metadata
    import os
    import subprocess
    import types
    import typing

    from remote_wheel.api.environments import Environment
    from remote_wheel.api.handle import Mount
    from remote_wheel.api.plans import Plan
    from remote_wheel.mounts.finder import Root
    from remote_wheel.mounts.isolation import Isolation
    from remote_wheel.resolution.plan import Pin

    ours = {
        "Root": Root,
        "Isolation": Isolation,
        "Pin": Pin,
        "Environment": Environment,
        "Mount": Mount,
        "Plan": Plan,
        "Options": Options,
    }
    modules = {"os": os, "subprocess": subprocess, "metadata": importlib.metadata}
    theirs = {"PathLike": os.PathLike, **vars(types), **modules, **vars(importlib.metadata)}
    of_decorators = {"_Parameters": typing.ParamSpec("_Parameters"), "_Result": typing.TypeVar("_Result")}
    return {**theirs, **vars(typing), **vars(collections.abc), **of_decorators, **ours}
