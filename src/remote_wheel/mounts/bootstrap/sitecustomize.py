"""Runs at the start of a child process whose parent has mounts: mounts them, then the real sitecustomize runs.

Its folder is on PYTHONPATH only while there are mounts (mounts.children). Any interpreter may see it there, so it is
written in words that all of them understand, and does nothing in one that is not the parent's.
"""

import os
import sys


def _absolute(path):
    """Return the path made absolute, as it is where the working folder was deleted."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def _chain():
    """Run the sitecustomize that this one stands in front of, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if _absolute(entry) != here]
    sys.path_importer_cache.pop(here, None)
    own = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
        if own is not None:
            sys.modules["sitecustomize"] = own


# They look at what is installed, change it, and start interpreters that do: a mount is none of it.
_INSTALLERS = (
    "build", "conda", "easy_install", "ensurepip", "get-pip", "hatch", "mamba", "pdm", "pip", "pipenv", "pipx",
    "poetry", "pyproject-build", "rye", "uv", "uvx", "venv", "virtualenv",
)  # fmt: skip


def _is_installer():
    """Return whether this process is to install something: by its module (-m), or by the name of its program."""
    words = list(getattr(sys, "orig_argv", ()))[1:]
    while words:
        word = words.pop(0)
        if word == "-m" or (word.startswith("-m") and word[2:].strip()):
            names = [(word[2:] or (words or [""])[0]).partition(".")[0]]
        elif word in ("-c", "-"):
            return False
        elif word in ("-W", "-X", "--check-hash-based-pycs"):
            words = words[1:]
            continue
        elif word.startswith("-"):
            continue
        else:  # a script; pip's own, which it starts beside itself, is in its folder
            folder, name = os.path.split(word)
            names = [name, os.path.basename(folder) if name.startswith("__") else ""]
        for name in names:
            name = name.lower()
            for ending in (".py", ".pyz", ".exe", "-script"):
                if name.endswith(ending):
                    name = name[: -len(ending)]
            if name in _INSTALLERS or (name.startswith("pip") and not name[3:].strip("0123456789.")):
                return True
        return False
    return False


def _leave_alone():
    """Have neither this process nor those that it starts mount anything."""
    here = os.path.dirname(os.path.abspath(__file__))
    del os.environ["REMOTE_WHEEL_CHILD"]
    rest = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if _absolute(each) != here]
    if [each for each in rest if each]:
        os.environ["PYTHONPATH"] = os.pathsep.join(rest)
    else:
        os.environ.pop("PYTHONPATH", None)


def _mount():
    """Mount what the parent had, in the same interpreter only; what is gone from the cache since stays unmounted."""
    parent, prefix, version, mounts = os.environ["REMOTE_WHEEL_CHILD"].split(os.pathsep, 3)
    if prefix != sys.prefix or version != str(sys.hexversion):
        return
    if parent not in sys.path:
        sys.path.append(parent)
    from remote_wheel.mounts import children

    children.mount_as_parent(mounts)


try:
    if os.environ.get("REMOTE_WHEEL_CHILD"):
        if _is_installer():
            _leave_alone()
        else:
            _mount()
finally:
    _chain()
