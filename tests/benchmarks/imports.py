"""Imports beside an installed environment, uv, pip, pip-run, pex and zipimport, alternately in one run."""

import os
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterable, Sequence
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
WARM_ROUNDS, COLD_ROUNDS, COLD_REST_S = 15, 9, 3.0
FEWER = {"pip": 1, "pip-run": 1, "pex": 1, "zipimport": 5}  # rounds of what takes seconds each time
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Result:
    """Seconds, and the largest resident set in KiB, by tool; medians of whole processes, and of imports alone."""

    warm_s: dict[str, float] = field(default_factory=dict)
    import_s: dict[str, float] = field(default_factory=dict)
    cold_s: dict[str, float] = field(default_factory=dict)
    memory_kib: dict[str, int] = field(default_factory=dict)


class Bench:
    """The tools and places of one run."""

    def __init__(self, folder: Path, mirror: Mirror) -> None:
        self.folder, self.mirror = folder, mirror
        self.work = folder / "imports"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.peers = peers.install(folder / "peers", *peers.PEERS)
        self.own = _fresh_venv(folder / "own", [str(ROOT)], pip="-U")
        self.environ = {
            **peers.environment(self.work),
            "REMOTE_WHEEL_INDEX_URL": mirror.url,
            "REMOTE_WHEEL_PREFER_INSTALLED": "0",
            "UV_DEFAULT_INDEX": mirror.url,
            "PIP_INDEX_URL": mirror.url,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
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
        self.environ["PIP_CACHE_DIR"] = str(self.work / f"{name}-pip")
        self.environ["PEX_ROOT"] = str(self.work / f"{name}-pex")
        self.target = self.work / f"{name}-target"

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
            "offline": [str(self.own), "-c", ours.replace(", module=", ", offline=True, module=")],
            "uv": [str(self.peers / "uv"), "run", "--offline", "--no-project", "--with", project, "-q", "python", "-c",
                   f"import {module}"],
            "pip-run": [str(self.peers / "pip-run"), "-q", project, "--", "-c", f"import {module}"],
            "pex": [str(self.peers / "pex"), project, "-i", self.mirror.url, "--no-pypi", "--", "-c",
                    f"import {module}"],
        }  # fmt: skip
        if project not in NOT_ZIPPED:
            path = f"import sys; sys.path[:0] = {self.wheels(project, python)!r}; import {module}"
            commands["zipimport"] = [str(self.own), "-c", path]
        return commands

    def import_commands(self, project: str, module: str) -> dict[str, list[str]]:
        """Return by tool the command that says how long ``import`` took, all before it done."""
        python = self.installed(project)
        before = {
            "installed": (python, ""),
            "mounted": (self.own, f"import remote_wheel; remote_wheel.environment({project!r}).__enter__()"),
        }
        if project not in NOT_ZIPPED:
            before["zipimport"] = (self.own, f"import sys; sys.path[:0] = {self.wheels(project, python)!r}")
        timed = f"from time import perf_counter as now; began = now(); import {module}; print(now() - began)"
        return {tool: [str(program), "-c", f"{code}\n{timed}"] for tool, (program, code) in before.items()}

    def cold_commands(self, project: str, module: str) -> dict[str, list[str]]:
        """Return by tool the command that gets *project* and imports *module*."""
        warm = self.warm_commands(project, module)
        pip = f"{self.peers}/python -m pip install -q --no-cache-dir --target '{{}}' {project}"
        run = f"PYTHONPATH='{{}}' {self.peers}/python -c 'import {module}'"
        return {
            "run": warm["run"],
            "uv": [word for word in warm["uv"] if word != "--offline"],
            "pip": ["/bin/sh", "-c", f"{pip} && {run}"],
            "pip-run": warm["pip-run"],
            "pex": warm["pex"],
        }

    def once(self, command: list[str]) -> float:
        """Run *command*; return how many seconds it took. A failure ends the benchmark."""
        command = [word.replace("{}", str(self.target)) for word in command]
        with open(self.work / "said", "wb") as said:
            actions = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)]
            started = time.perf_counter()
            pid = os.posix_spawn(command[0], command, self.environ, file_actions=actions)
            _, status = os.waitpid(pid, 0)
            took = time.perf_counter() - started
        if status:
            sys.exit(f"{' '.join(command)[:300]} failed:\n{(self.work / 'said').read_text()[-2000:]}")
        return took

    def import_s(self, command: list[str]) -> float:
        """Run one of `import_commands` and return what it says."""
        self.once(command)
        return float((self.work / "said").read_text().split()[-1])

    def memory_kib(self, command: list[str]) -> int:
        """Run *command*, an interpreter's ``-c``, and return the largest resident set that it had."""
        peak = "; print('VmHWM', [line.split()[1] for line in open('/proc/self/status') if line[:6] == 'VmHWM:'][0])"
        self.once([*command[:-1], command[-1] + peak])
        return int((self.work / "said").read_text().rpartition("VmHWM ")[2])


def _fresh_venv(folder: Path, arguments: list[str], *, is_kept: bool = False, pip: str = "") -> Path:
    """Return the interpreter of a venv that pip has installed *arguments* in; an option may renew *pip* itself."""
    python = folder / "bin" / "python"
    if is_kept and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    if not arguments:
        return python
    environ = peers.environment(folder)
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for each in ([pip, "pip"] if pip else [], arguments):
        if each:
            subprocess.run([*command, *each], check=True, env=environ, cwd=folder)
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
    commands = bench.cold_commands(project, module)

    def cold(tool: str, each: int) -> float:
        bench.use_caches(f"{project}-{each}")
        took = bench.once(commands[tool])
        time.sleep(0 if tool in FEWER else COLD_REST_S)  # ours compiles behind the answer
        return took

    result.cold_s = _medians(commands, COLD_ROUNDS, 1, cold)  # the first round fills the mirror
    warm = bench.warm_commands(project, module)
    result.warm_s = _medians(warm, WARM_ROUNDS, 2, lambda tool, _: bench.once(warm[tool]))  # two fill caches
    imports = bench.import_commands(project, module)
    result.import_s = _medians(imports, WARM_ROUNDS, 2, lambda tool, _: bench.import_s(imports[tool]))
    for place in (bench.installed(project).parent.parent, Path(bench.environ["REMOTE_WHEEL_CACHE_DIR"])):
        _read_anew(place)
    result.memory_kib = {tool: bench.memory_kib(warm[tool]) for tool in ("installed", "require")}
    return result


def _read_anew(folder: Path) -> None:
    """Have the files of *folder* read from the disk when they are next read.

    Linux maps more around a page of a file that was written in large pieces lately, so that shared libraries would
    count for more in whatever was installed last.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _medians(
    tools: Iterable[str], rounds: int, unmeasured: int, measure: Callable[[str, int], float]
) -> dict[str, float]:
    """Return the medians of what *measure* says of each tool and round, the tools taking turns."""
    times: dict[str, list[float]] = {tool: [] for tool in tools}
    for each in range(unmeasured + rounds):
        for tool in times:
            if not unmeasured <= each + 1 <= unmeasured + FEWER.get(tool, rounds):
                continue  # of many unmeasured ones the last is enough
            took = measure(tool, each)
            times[tool] += [took] if each >= unmeasured else []
    return {tool: round(statistics.median(each), 5) for tool, each in times.items()}


def table(results: dict[str, Result]) -> str:
    """Return the tables, and the geometric means that the budgets are about."""
    warm = ("require", "offline", "run", "uv", "pip-run", "pex", "zipimport")
    cold = ("run", "uv", "pip", "pip-run", "pex")
    lines = ["Warm, everything at hand: whole processes, as ratios to the installed, compiled import.\n"]
    lines += rows("case", ("installed ms", *warm))
    for name, each in results.items():
        base = each.warm_s["installed"]
        lines.append(row(name, f"{base * 1000:.0f}", *_ratios(each.warm_s, warm, base)))
    lines += ["", "Cold, with an empty cache: whole processes, in ms.\n", *rows("case", (*cold, "run / uv"))]
    for name, each in results.items():
        times = (f"{each.cold_s[tool] * 1000:.0f}" for tool in cold)
        lines.append(row(name, *times, f"{each.cold_s['run'] / each.cold_s['uv']:.2f}"))
    lines += ["", "The import alone, in ms and as ratios; and the memory of the process, require to installed.\n"]
    lines += rows("case", ("installed ms", "mounted", "zipimport", "mounted / zipimport", "memory"))
    for name, each in results.items():
        base, peak = each.import_s["installed"], each.memory_kib
        zipped = _ratios({"": each.import_s["mounted"]}, ("",), each.import_s.get("zipimport", float("inf")))
        lines.append(
            row(
                name,
                f"{base * 1000:.1f}",
                *_ratios(each.import_s, ("mounted", "zipimport"), base),
                zipped[0] if "zipimport" in each.import_s else "",
                f"{peak['require'] / peak['installed']:.2f}",
            )
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


def rows(first: str, columns: Sequence[str]) -> tuple[str, str]:
    """Return the head of a Markdown table."""
    return row(first, *columns), "|---" * (len(columns) + 1) + "|"


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _ratios(times: dict[str, float], tools: Sequence[str], base: float) -> list[str]:
    return [f"{times[tool] / base:.2f}" if tool in times else "" for tool in tools]
