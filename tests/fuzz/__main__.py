"""``python -m tests.fuzz TARGET [OPTIONS OF LIBFUZZER]``: one target under atheris, which is to be installed.

As in ``python -m tests.fuzz archive -max_total_time=60``. The corpus begins with what the target should read.
"""

import sys
import tempfile
from pathlib import Path


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed (pip install atheris)")
    with atheris.instrument_imports(include=["remote_wheel"]):
        from tests.fuzz.targets import TARGETS
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name a target: {', '.join(TARGETS)}")
    target, seeds = TARGETS[sys.argv[1]]
    with tempfile.TemporaryDirectory() as corpus:
        for at, seed in enumerate(seeds):
            Path(corpus, str(at)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], target)
        atheris.Fuzz()


main()
