"""Imports beside an installed environment, uv and zipimport: warm and cold, whole processes, alternately in one run."""

import os
import shutil
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import peers
from tests.benchmarks.mirror import Mirror, serve

# requirement → the module that is imported
CASES = {
    "sympy": "sympy",
    "django": "django.db.models",
    "rich": "rich.console",
    "flask": "flask",
    "requests": "requests",
    "sqlalchemy": "sqlalchemy",
    "numpy": "numpy",
    "pandas": "pandas",
}
BUDGET = ("sympy", "django", "rich", "flask")  # the geometric mean of these is what the budgets are about
NOT_ZIPPED = ("flask", "sqlalchemy", "numpy", "pandas")  # native code, or packages without __init__
WARM_ROUNDS, COLD_ROUNDS, COLD_REST_S = 15, 5, 3.0
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Result:
    """Seconds, and the largest resident set in KiB, by tool; medians of whole processes."""

    warm_s: dict[str, float] = field(default_factory=dict)
    cold_s: dict[str, float] = field(default_factory=dict)
    memory_kib: dict[str, int] = field(default_factory=dict)


class Bench:
    """The tools and places of one run."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self.folder, self.mirror = folder, mirror
        self.work = folder / "imports"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.uv = peers.install(folder / "peers", "uv", "pip") / "uv"
        self.own = _fresh_venv(folder / "own", [str(ROOT)])
        self.environ = {
            **peers.environment(self.work),
            "REMOTE_WHEEL_INDEX_URL": mirror.url,
            "REMOTE_WHEEL_PREFER_INSTALLED": "0",
            "UV_DEFAULT_INDEX": mirror.url,
            "UV_PYTHON": str(_fresh_venv(folder / "bare", [])),  # another may have what is asked for already
            "UV_NO_PROGRESS": "1",
        }
        self.use_caches("first")

    def use_caches(self, name: str) -> None:
        """Let the tools' caches be of that name: what was not used yet is empty.

        Nothing is deleted while it is measured: some disks are busy with that for seconds.
        """
        self.environ["REMOTE_WHEEL_CACHE_DIR"] = str(self.work / f"{name}-own")
        self.environ["UV_CACHE_DIR"] = str(self.work / f"{name}-uv")

    def installed(self, project: str) -> Path:
        """Return the interpreter of a venv that has *project* installed and compiled, as pip does."""
        return _fresh_venv(self.folder / f"venv-{project}", [project, "-i", self.mirror.url], is_kept=True)

    def wheels(self, project: str, python: Path) -> list[str]:
        """Return the wheels of *project* and what it needs."""
        place = self.folder / f"wheels-{project}"
        if not place.exists():
            command = [str(python), "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(place)]
            subprocess.run([*command, "-i", self.mirror.url, project], check=True, env=self.environ)
        return sorted(map(str, place.iterdir()))

    def warm_commands(self, project: str, module: str) -> dict[str, list[str]]:
        """Return by tool the command that imports *module*, everything at hand."""
        python = self.installed(project)
        ours = f"import remote_wheel; remote_wheel.require({project!r}, module={module!r})"
        commands = {
            "installed": [str(python), "-c", f"import {module}"],
            "require": [str(self.own), "-c", ours],
            "run": [str(self.own.with_name("remote-wheel")), "run", "--with", project, "-c", f"import {module}"],
            "uv": [str(self.uv), "run", "--offline", "--no-project", "--with", project, "-q", "python", "-c",
                   f"import {module}"],
        }  # fmt: skip
        if project not in NOT_ZIPPED:
            path = f"import sys; sys.path[:0] = {self.wheels(project, python)!r}; import {module}"
            commands["zipimport"] = [str(self.own), "-c", path]
        return commands

    def once(self, command: list[str]) -> float:
        """Run *command*; return how many seconds it took. A failure ends the benchmark."""
        with open(self.work / "said", "wb") as said:
            actions = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)]
            started = time.perf_counter()
            pid = os.posix_spawn(command[0], command, self.environ, file_actions=actions)
            _, status = os.waitpid(pid, 0)
            took = time.perf_counter() - started
        if status:
            sys.exit(f"{' '.join(command)[:300]} failed:\n{(self.work / 'said').read_text()[-2000:]}")
        return took

    def memory_kib(self, command: list[str]) -> int:
        """Run *command*, an interpreter's ``-c``, and return the largest resident set that it had."""
        peak = "; print('VmHWM', [line.split()[1] for line in open('/proc/self/status') if line[:6] == 'VmHWM:'][0])"
        self.once([*command[:-1], command[-1] + peak])
        return int((self.work / "said").read_text().rpartition("VmHWM ")[2])


def _fresh_venv(folder: Path, arguments: list[str], *, is_kept: bool = False) -> Path:
    python = folder / "bin" / "python"
    if is_kept and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    if not arguments:
        return python
    environ = peers.environment(folder)
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments],
        check=True,
        env=environ,
        cwd=folder,
    )
    return python


def run(folder: Path, rtt_s: float, cases: list[str]) -> dict[str, Result]:
    """Measure each case; print as it goes."""
    results = {}
    with serve(folder / "mirror", rtt_s) as mirror:
        bench = Bench(folder, mirror)
        for project in cases or CASES:
            results[project] = _measure(bench, project, CASES[project])
            print(project, results[project], flush=True)
    return results


def _measure(bench: Bench, project: str, module: str) -> Result:
    result = Result()
    commands = bench.warm_commands(project, module)
    online = [word for word in commands["uv"] if word != "--offline"]
    cold = {"run": commands["run"], "uv": online}
    times: dict[str, list[float]] = {tool: [] for tool in cold}
    for each in range(COLD_ROUNDS + 1):  # the first round fills the mirror
        bench.use_caches(f"{project}-{each}")
        for tool, command in cold.items():
            took = bench.once(command)
            times[tool] += [took] if each else []
            time.sleep(COLD_REST_S)  # ours compiles behind the answer
    result.cold_s = {tool: round(statistics.median(each), 3) for tool, each in times.items()}
    times = {tool: [] for tool in commands}
    for each in range(WARM_ROUNDS + 2):
        for tool, command in commands.items():
            took = bench.once(command)
            if each >= 2:  # the first two fill caches, ours and the disk's
                times[tool].append(took)
    result.warm_s = {tool: round(statistics.median(each), 4) for tool, each in times.items()}
    result.memory_kib = {tool: bench.memory_kib(commands[tool]) for tool in ("installed", "require")}
    return result


def table(results: dict[str, Result]) -> str:
    """Return the table, and the geometric means that the budgets are about."""
    tools = ("require", "run", "uv", "zipimport")
    lines = [
        "Warm: ratios to the installed, compiled import. Cold: an empty cache. Memory: require to installed.\n",
        f"| case | installed ms | {' | '.join(tools)} | cold: run ms | uv ms | ratio | memory |\n{'|---' * 10}|",
    ]
    for name, each in results.items():
        base, cold = each.warm_s["installed"], each.cold_s
        warm = " | ".join(f"{each.warm_s[tool] / base:.2f}" if tool in each.warm_s else "" for tool in tools)
        memory = each.memory_kib["require"] / each.memory_kib["installed"]
        lines.append(
            f"| {name} | {base * 1000:.1f} | {warm} | {cold['run'] * 1000:.0f} | {cold['uv'] * 1000:.0f} |"
            f" {cold['run'] / cold['uv']:.2f} | {memory:.2f} |"
        )
    if chosen := [name for name in BUDGET if name in results]:
        of = [results[name] for name in chosen]
        mean = statistics.geometric_mean
        warm_mean = mean(each.warm_s["require"] / each.warm_s["installed"] for each in of)
        to_uv = mean(each.warm_s["run"] / each.warm_s["uv"] for each in of)
        cold_mean = mean(each.cold_s["run"] / each.cold_s["uv"] for each in of)
        lines.append(f"\nGeometric means over {', '.join(chosen)}: require to installed {warm_mean:.2f},")
        lines.append(f"run to uv: warm {to_uv:.2f}, cold {cold_mean:.2f}.")
    return "\n".join(lines)
