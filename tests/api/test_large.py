"""A wheel of half a gigabyte: fetched, verified, kept and mounted by processes that stay small."""

import base64
import functools
import hashlib
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MB = 1024 * 1024
GROWTH_MB = 80  # what such a wheel may cost beyond a small one
IMPORT = """
import sys
import remote_wheel
remote_wheel.mount(sys.argv[1], sha256=sys.argv[2])
import sized
assert len(sized.__spec__.loader.get_data(sized.__file__)) < 100
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's memory is read from /proc")


class Folder(SimpleHTTPRequestHandler):
    """Serves files as they are, in pieces."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its URL."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Folder, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def write_wheel(folder: Path, size_mb: int, *, tag: str) -> tuple[str, str]:
    """Write a wheel with two members of *size_mb*, one stored, one deflated; return its name and digest."""
    noise, rows = os.urandom(MB), []
    name = f"sized-1-{tag}.whl"
    with zipfile.ZipFile(folder / name, "w", compresslevel=1) as archive:

        def add(path: str, blocks: list[bytes], method: int = zipfile.ZIP_STORED) -> None:
            info, digest = zipfile.ZipInfo(path), hashlib.sha256()
            info.compress_type, info.file_size = method, sum(len(block) for block in blocks)
            with archive.open(info, "w") as member:
                for block in blocks:
                    digest.update(block)
                    member.write(block)
            text = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={text},{info.file_size}")

        add("sized/__init__.py", [b"VALUE = 1\n"])
        add("sized/stored.bin", [noise] * size_mb)
        add("sized/deflated.bin", [noise] * size_mb, zipfile.ZIP_DEFLATED)
        if not tag.endswith("any"):
            add("sized/_native.so", [b"\x7fELF"])  # a reason to unpack it
        add("sized-1.dist-info/METADATA", [b"Metadata-Version: 2.1\nName: sized\nVersion: 1\n"])
        add("sized-1.dist-info/WHEEL", [f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()])
        record = "sized-1.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), "\n".join([*rows, f"{record},,", ""]))
    with (folder / name).open("rb") as file:
        return name, hashlib.file_digest(file, "sha256").hexdigest()


def peaks_mb(arguments: list[str], cache: Path) -> list[int]:
    """Run the import and return the largest memory of each of its processes, the largest first."""
    environment = {**os.environ, "REMOTE_WHEEL_CACHE_DIR": str(cache), "REMOTE_WHEEL_COMPILE": "ahead"}
    peaks: dict[int, int] = {}
    with subprocess.Popen([sys.executable, "-c", IMPORT, *arguments], env=environment, start_new_session=True) as run:
        while look_at(run.pid, peaks) or run.poll() is None:
            time.sleep(0.005)
    assert run.returncode == 0
    return sorted(peaks.values(), reverse=True)


def look_at(session: int, peaks: dict[int, int]) -> bool:
    """Note the peaks of the session's processes; False when none of them runs any more."""
    is_there = False
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines() if os.getsid(pid) == session else []
        except OSError:  # it has ended
            continue
        for line in lines:
            if line.startswith("VmHWM:"):  # a dead one that nobody has waited for has none
                peaks[pid], is_there = int(line.split()[1]) // 1024, True
    return is_there


@pytest.mark.parametrize(
    ("tag", "is_local"), [("py3-none-any", False), ("py3-none-linux_x86_64", True)], ids=["fetched", "local, unpacked"]
)
@pytest.mark.slow
def test_half_a_gigabyte(served: tuple[Path, str], tmp_path: Path, tag: str, is_local: bool) -> None:
    folder, url = served
    found = []
    for size_mb in (0, 250):
        name, sha256 = write_wheel(folder, size_mb, tag=tag)
        source = str(folder / name) if is_local else url + name
        found.append(peaks_mb([source, sha256], tmp_path / f"cache{size_mb}"))
        (folder / name).unlink()
    (small, *_), (large, *_) = found
    assert large < small + GROWTH_MB, found
