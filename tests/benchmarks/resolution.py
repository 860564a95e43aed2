"""Resolution beside uv and pip: the same answers, how many requests, how long with the pages at hand."""

import json
import re
import shutil
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import peers
from tests.benchmarks.mirror import Mirror, serve

GRAPHS = {
    "flask": ["flask"],
    "fastapi": ["fastapi[standard]"],
    "science": ["pandas", "scikit-learn", "matplotlib"],
    "jupyterlab": ["jupyterlab"],
    "dask": ["dask[complete]"],
    "celery": ["django", "celery[redis]", "sqlalchemy"],
    "boto-old-urllib3": ["boto3", "urllib3<1.25"],
}
WITH_PIP = ("flask", "fastapi", "science")
ROUNDS = 5


@dataclass
class Result:
    """What one graph came to."""

    pins: int = 0
    is_same: bool = False
    differences: list[str] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    cached_s: dict[str, float] = field(default_factory=dict)


def run(folder: Path, rtt_s: float) -> dict[str, Result]:
    """Resolve every graph with all tools; print as it goes."""
    programs = peers.install(folder / "peers", "uv", "pip")
    own = str(Path(sys.executable).with_name("remote-wheel"))
    results = {}
    with serve(folder / "mirror", rtt_s) as mirror:
        for name, requirements in GRAPHS.items():
            results[name] = _compare(name, requirements, mirror, folder, programs, own)
            print(name, results[name], flush=True)
    return results


def _compare(name: str, requirements: list[str], mirror: Mirror, folder: Path, programs: Path, own: str) -> Result:
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "in.txt").write_text("\n".join(requirements) + "\n")
    environ = peers.environment(work)
    python = [str(programs / "python")]
    commands = {
        "uv": [str(programs / "uv"), "pip", "compile", "in.txt", "-q", "--no-header", "--no-annotate", "--only-binary",
               ":all:", "--default-index", mirror.url, "--python", sys.executable, "--cache-dir", "uv-cache"],
        "remote_wheel": [own, "tree", "-r", "in.txt", "--json", "--isolated", "--index-url", mirror.url,
                         "--cache-dir", "own-cache"],
    }  # fmt: skip
    if name in WITH_PIP:
        commands["pip"] = [*python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-q", "--only-binary",
                           ":all:", "-r", "in.txt", "-i", mirror.url, "--cache-dir", "pip-cache",
                           "--disable-pip-version-check", "--report", "-"]  # fmt: skip
    result, answers = Result(), dict[str, dict[str, str]]()
    for _ in range(2):  # the first round fills the mirror, so that its own fetching is in nobody's time
        for tool, command in commands.items():
            shutil.rmtree(work / f"{'own' if tool == 'remote_wheel' else tool}-cache", ignore_errors=True)
            mirror.asked.clear()
            _, output = peers.timed(command, environ, work)
            result.requests[tool] = sum(mirror.asked.values())
            answers[tool] = _pins(tool, output)
    times: dict[str, list[float]] = {tool: [] for tool in commands}
    for _ in range(ROUNDS):
        for tool, command in commands.items():
            times[tool].append(peers.timed(command, environ, work)[0])
    result.cached_s = {tool: round(statistics.median(each), 3) for tool, each in times.items()}
    result.pins = len(answers["remote_wheel"])
    result.is_same = answers["uv"] == answers["remote_wheel"]
    different = sorted(answers["uv"].items() ^ answers["remote_wheel"].items())
    result.differences = [f"{project}=={version}" for project, version in different][:12]
    return result


def _pins(tool: str, output: str) -> dict[str, str]:
    found: Any
    if tool == "remote_wheel":
        return {pin["name"]: pin["version"] for pin in json.loads(output)["pins"]}
    if tool == "pip":
        found = [each["metadata"] for each in json.loads(output)["install"]]
        return {re.sub(r"[-_.]+", "-", each["name"]).lower(): each["version"] for each in found}
    return dict(re.findall(r"^([\w.-]+)==(\S+)", output, re.MULTILINE))
