"""Runs at the start of a child process whose parent has mounts: mounts them, then the real sitecustomize runs.

Its folder is on PYTHONPATH only while there are mounts (mounts.children). Any interpreter may see it there, so it is
written in words that all of them understand, and does nothing in one that is not the parent's.
"""

import os
import sys


def _chain():
    """Run the sitecustomize that this one stands in front of, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    sys.path_importer_cache.pop(here, None)
    own = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
        if own is not None:
            sys.modules["sitecustomize"] = own


def _mount():
    """Mount what the parent had, in the same interpreter only; what is gone from the cache since stays unmounted."""
    parent, prefix, version, mounts = os.environ["REMOTE_WHEEL_CHILD"].split(os.pathsep)
    if prefix != sys.prefix or version != str(sys.hexversion):
        return
    if parent not in sys.path:
        sys.path.append(parent)
    from remote_wheel.mounts import children

    children.mount_as_parent(mounts)


try:
    if os.environ.get("REMOTE_WHEEL_CHILD"):
        _mount()
finally:
    _chain()
