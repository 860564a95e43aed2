"""Text from elsewhere that grows: each reader ends, within what a reader in proportion takes many times over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.growing import CASES

LETTERS = 400_000
CPU_S = 30  # of the machine's slowest; a reader that takes the square of that needs hours
GROUPS = 8
CHILD = """
import resource, sys
from tests.fuzz.growing import CASES, read
resource.setrlimit(resource.RLIMIT_CPU, ({cpu_s}, {cpu_s}))
for name in list(CASES)[{group}::{groups}]:
    print(name, flush=True)
    read(name, {letters})
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_no_reader_takes_the_square_of_what_it_reads(group: int) -> None:
    """The system ends the process that takes too long; the last name it has printed is the reader's."""
    code = CHILD.format(cpu_s=CPU_S, group=group, groups=GROUPS, letters=LETTERS)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
        timeout=600,
    )
    assert done.stdout.splitlines()[-1] == "done", f"{done.stdout.splitlines()[-1]}\n{done.stderr[-2000:]}"
    assert len(done.stdout.splitlines()) == len(list(CASES)[group::GROUPS]) + 1
