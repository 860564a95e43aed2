"""pyftpdlib: an FTP server, for what fsspec reads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import free_port, listens, running, wait_until


@contextmanager
def serve_ftp(folder: Path) -> Iterator[str]:
    """Serve *folder* to anybody, read-only; yield its URL."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", str(port), "-d", str(folder)]
    log_folder = folder.parent / "ftp-log"
    log_folder.mkdir()
    with running(command, log_folder) as log:
        wait_until(listens(port), log)
        yield f"ftp://127.0.0.1:{port}"
