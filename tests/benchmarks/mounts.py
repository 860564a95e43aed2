"""Many mounts: what a warm start with them costs, and what one more import costs beside them."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import peers
from tests.benchmarks.imports import row, rows
from tests.loopback import LoopbackIndex, serve

COUNTS = (1, 5, 20, 50, 500)
MODULES = 200  # of the project whose imports are timed
ROUNDS = 15
# Prints the seconds that one import takes, on average, of modules that nothing has imported yet.
IMPORTS = f"""
from time import perf_counter as now
import probe
began = now()
for n in range({MODULES}):
    __import__(f"probe.m{{n}}")
print((now() - began) / {MODULES})
"""


@dataclass
class Result:
    """Seconds: a whole process that mounts and ends, a bare one, and one more import, mounted and installed."""

    process_s: float
    bare_s: float
    import_s: float
    installed_s: float


def run(folder: Path, cases: list[str]) -> dict[str, Result]:
    """Measure each count of mounts; print as it goes."""
    work = folder / "mounts"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    counts = [int(case) for case in cases] or COUNTS
    results = {}
    with serve(LoopbackIndex()) as index:
        index.add("probe", "1", {"probe/__init__.py": "", **{f"probe/m{n}.py": f"X = {n}\n" for n in range(MODULES)}})
        for n in range(max(counts)):
            index.add(f"p{n}", "1")
        for count in counts:
            index.add(f"all{count}", "1", requires=["probe", *(f"p{n}" for n in range(count - 2))])
        environ = {
            **peers.environment(work),
            "REMOTE_WHEEL_INDEX_URL": index.url,
            "REMOTE_WHEEL_CACHE_DIR": str(work / "cache"),
        }
        for count in counts:
            results[str(count)] = _measure(work, index, environ, count)
            print(count, results[str(count)], flush=True)
    return results


def _measure(work: Path, index: LoopbackIndex, environ: dict[str, str], count: int) -> Result:
    name = "probe" if count == 1 else f"all{count}"
    site = work / f"site{count}"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--target"]
    subprocess.run([*pip, str(site), "-i", index.url, name], check=True, env=environ)
    mount = f"import remote_wheel; remote_wheel.require({name!r})"
    path = f"import sys; sys.path.insert(0, {str(site)!r})"
    commands = {"bare": "pass", "mount": mount, "import": f"{mount}\n{IMPORTS}", "installed": f"{path}\n{IMPORTS}"}
    times: dict[str, list[float]] = {what: [] for what in commands}
    for each in range(ROUNDS + 2):
        for what, code in commands.items():
            took, said = _once([sys.executable, "-c", code], environ, work)
            value = took if what in ("bare", "mount") else float(said)
            times[what] += [value] if each >= 2 else []  # the first two fill caches
    medians = {what: round(statistics.median(values), 7) for what, values in times.items()}
    return Result(medians["mount"], medians["bare"], medians["import"], medians["installed"])


def _once(command: list[str], environ: dict[str, str], cwd: Path) -> tuple[float, str]:
    with open(cwd / "said", "w+b") as said:
        actions = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)]
        started = time.perf_counter()
        pid = os.posix_spawn(command[0], command, environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter() - started
        said.seek(0)
        text = said.read().decode()
    if status:
        sys.exit(f"{command} failed:\n{text[-2000:]}")
    return took, text


def table(results: dict[str, Result]) -> str:
    """Return the table."""
    lines = ["A warm start with mounts, beyond the bare interpreter; and one more import, of a module of one line.\n"]
    lines += rows("mounts", ("beyond bare ms", "one more import µs", "installed µs", "ratio"))
    for count, each in results.items():
        beyond = (each.process_s - each.bare_s) * 1000
        mounted, installed = each.import_s * 1e6, each.installed_s * 1e6
        lines.append(row(count, f"{beyond:.1f}", f"{mounted:.0f}", f"{installed:.0f}", f"{mounted / installed:.2f}"))
    return "\n".join(lines)
