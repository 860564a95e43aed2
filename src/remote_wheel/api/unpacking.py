"""Wheels unpacked into a plain folder, as installers lay out site-packages: for editors, type checkers and images."""

import configparser
import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.exceptions import InstallerError
from installer.sources import WheelFile
from installer.utils import get_launcher_kind, parse_entrypoints

from remote_wheel.api.bundling import BundledFile
from remote_wheel.api.interpreter import find_interpreters
from remote_wheel.errors import InvalidMetadata, StoreError, UsageError
from remote_wheel.verify.names import name_fault

_OURS: Final = ".remote-wheel-unpacked"  # says that a folder was made here, and may be replaced


def check_may_be_written(folder: Path) -> None:
    """Raise UsageError unless *folder* is new, empty, or one that was unpacked here before."""
    if folder.exists() and not (folder / _OURS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        way = "Name a new folder, or one that unpack has made."
        raise UsageError(message=f"{str(folder)!r} is there and not empty", way_out=way)


def unpack_wheels(folder: Path, files: Sequence[BundledFile]) -> None:
    """Install the wheels into *folder* and its ``bin``: whole, in place of what was unpacked there before, or not.

    Nothing of them runs; a ``.pth`` file lies there, and is read by nobody who has the folder on PYTHONPATH. Raises
    UsageError where it can't be written or two have the same file, StoreError where a wheel changed meanwhile.
    """
    check_may_be_written(folder)
    staging, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    try:
        staging.mkdir(parents=True)
        try:
            for file in files:
                _install(staging, folder, file)
            (staging / _OURS).write_text("".join(f"{file.filename}\n" for file in files), encoding="utf-8")
            _replace(folder, staging, old)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UsageError(message=f"{str(folder)!r} can't be written: {error.strerror or error}") from error


def _replace(folder: Path, staging: Path, old: Path) -> None:
    """Put *staging* into the place of *folder*, which is *old* meanwhile: whatever happens, one of them is there."""
    is_there = folder.exists()
    try:
        if is_there:
            folder.rename(old)
        staging.rename(folder)
    except BaseException:
        if is_there and old.exists() and not folder.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_programs(wheel: WheelFile, filename: str) -> None:
    """Raise InvalidMetadata where the wheel's entry points can't be read, or one has a name that is no file's."""
    if "entry_points.txt" not in wheel.dist_info_filenames:
        return
    try:
        programs = [name for name, *_ in parse_entrypoints(wheel.read_dist_info("entry_points.txt"))]
    except (ValueError, AssertionError, configparser.Error) as error:  # no UTF-8, no "module:attribute", no INI file
        raise InvalidMetadata(subject=filename, reason=f"its entry_points.txt can't be read: {error}") from error
    for name in programs:
        if "/" in name or name_fault(name):
            raise InvalidMetadata(subject=filename, reason=f"its program {name!r} has a name that no file can have")


def _install(staging: Path, folder: Path, file: BundledFile) -> None:
    places = {"purelib": "", "platlib": "", "scripts": "bin", "headers": "include", "data": ""}
    destination = SchemeDictionaryDestination(
        {scheme: str(staging / place) for scheme, place in places.items()},
        interpreter=next(find_interpreters(), sys.executable or "python3"),
        script_kind=get_launcher_kind(),
    )
    with open(file.path, "rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            raise StoreError(path=file.path, reason="it changed since it was verified")
        opened.seek(0)
        with zipfile.ZipFile(opened) as archive:
            archive.filename = file.filename  # the store knows it by its digest
            try:
                wheel = WheelFile(archive)
                _check_programs(wheel, file.filename)
                install(wheel, destination, {"INSTALLER": b"remote_wheel\n"})
            except (InstallerError, FileExistsError) as error:
                reason = f"{file.filename} can't be unpacked beside the others: {error}".replace(
                    str(staging), str(folder)
                )
                raise UsageError(message=reason, way_out="Leave one of them out, or unpack it elsewhere.") from error
