"""Places of a plan's files as they may be written down: without secrets, and relative to a lock's folder."""

import os
from dataclasses import replace
from pathlib import Path

from remote_wheel.errors import UsageError
from remote_wheel.fetch.local import local_path
from remote_wheel.resolution.plan import Pin
from remote_wheel.spec.source import without_secrets


def public_pin(pin: Pin) -> Pin:
    """Return *pin* with a URL that may be written down."""
    url = without_secrets(pin.url) if "://" in pin.url else pin.url
    return pin if url == pin.url else replace(pin, url=url)


def relative_place(place: str, folder: str) -> str:
    """Return a local file's path as a lock in *folder* states it: relative where it can be, with slashes.

    Raises UsageError for one that can't be written as text.
    """
    path = local_path(place) if place.startswith("file:") else place
    try:
        path.encode()
    except UnicodeEncodeError as error:
        way = "Rename the file, or the folder that it is in."
        raise UsageError(message=f"{path!r} is no text, and a lock is (UTF-8)", way_out=way) from error
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return Path(path).as_posix()
