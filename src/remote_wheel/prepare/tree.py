"""A verified distribution as the source that `installer` unpacks: our parser's bytes, its layout."""

import io
from collections.abc import Iterator
from typing import BinaryIO, Final

from installer.sources import WheelSource

from remote_wheel.verify.wheel import Verified

_PURELIB: Final = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"


class VerifiedSource(WheelSource):
    """The import root of *verified*: purelib and platlib merged already, scripts and headers left out.

    entry_points.txt is unpacked but not announced, so that no launcher script is written.
    """

    def __init__(self, verified: Verified) -> None:
        distribution, _, version = verified.dist_info.removesuffix(".dist-info").rpartition("-")
        super().__init__(distribution, version)
        self._verified = verified

    @property
    def dist_info_filenames(self) -> list[str]:
        """The files installer acts on by itself: only the one it can't do without."""
        return ["WHEEL"]

    def read_dist_info(self, filename: str) -> str:
        """Return the one file installer reads: our merged layout has a single root."""
        return _PURELIB

    def validate_record(self) -> None:
        """Do nothing: verify_wheel has compared RECORD both ways."""

    def get_contents(self) -> Iterator[tuple[tuple[str, str, str], BinaryIO, bool]]:
        """Yield ((path, hash, size), stream, whether executable) of each file."""
        for path in self._verified.files:
            if "__pycache__" in path.split("/"):
                continue  # bytecode nobody can check; installer, too, leaves it out
            data = self._verified.read(path)
            yield (path, "", str(len(data))), io.BytesIO(data), self._verified.is_executable(path)
