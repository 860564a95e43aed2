"""Import packages straight from wheels and zips: resolved, verified and mounted in memory, nothing installed.

Public names are loaded when first used (PEP 562), so ``import remote_wheel`` costs nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remote_wheel import errors as errors
    from remote_wheel.api import environment, explain, mount, require
    from remote_wheel.api.environments import Environment
    from remote_wheel.api.handle import Mount
    from remote_wheel.api.plans import Plan, load_lock, prefetch, resolve
    from remote_wheel.errors import RemoteWheelError
    from remote_wheel.resolution.plan import Pin

__all__ = [
    "Environment",
    "Mount",
    "Pin",
    "Plan",
    "RemoteWheelError",
    "environment",
    "errors",
    "explain",
    "load_lock",
    "mount",
    "prefetch",
    "require",
    "resolve",
]

_HOMES = {
    **dict.fromkeys(("environment", "explain", "mount", "require"), "remote_wheel.api"),
    "Mount": "remote_wheel.api.handle",
    **dict.fromkeys(("Plan", "load_lock", "prefetch", "resolve"), "remote_wheel.api.plans"),
    "Environment": "remote_wheel.api.environments",
    "Pin": "remote_wheel.resolution.plan",
    **dict.fromkeys(("load_ipython_extension", "unload_ipython_extension"), "remote_wheel.api.notebook"),
    "RemoteWheelError": "remote_wheel.errors",
}


def __getattr__(name: str) -> object:
    import sys

    home = "remote_wheel.errors" if name == "errors" else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    __import__(home)
    value = sys.modules[home] if name == "errors" else getattr(sys.modules[home], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
