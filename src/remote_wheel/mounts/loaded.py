"""What can be known of loaded modules without running any of their code."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def fact(module: "ModuleType", name: str) -> "Any":
    """Return an attribute without running code: a module may compute its own, or load itself when it is touched."""
    try:
        return object.__getattribute__(module, "__dict__").get(name)
    except AttributeError:  # no module at all, but somebody put it into sys.modules
        return None


def folder_on_path(place: str, name: str) -> str:
    """Return the folder that a module's file is imported from: as many levels up as its name has parts."""
    folder = os.path.dirname(place)
    is_package = os.path.basename(place).startswith("__init__.")
    for _ in range(name.count(".") + is_package):
        folder = os.path.dirname(folder)
    return folder


def module_of_finder(finder: "Any") -> str:
    """Return the name of the module that the class of a finder on sys.meta_path is of."""
    return str(getattr(finder if isinstance(finder, type) else type(finder), "__module__", ""))
