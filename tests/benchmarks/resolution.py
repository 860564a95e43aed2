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
# What uv calls "Resolved … in": from the requirements to the pins, everything imported.
INSIDE = """
import sys, time
from remote_wheel.api import cold, pipeline, request_of, checked
from remote_wheel.api.request import Request
cold.own_process()  # as our own processes do
raw = request_of("require", sys.argv[2:], checked({"index_url": sys.argv[1], "prefer_installed": False}), "own-cache")
lists = {"subjects": tuple(raw["subjects"]), "search_path": (), "preferred": ()}
started = time.perf_counter()
pipeline.run(Request(**{**raw, **lists}), cold.Silent())
print(time.perf_counter() - started)
"""
AGAIN = "remote_wheel again"  # the same requirements once more, nothing changed
WITH_PIP = ("flask", "fastapi", "science")
ROUNDS = 11


@dataclass
class Result:
    """What one graph came to."""

    pins: int = 0
    is_same: bool = False
    differences: list[str] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    cached_s: dict[str, float] = field(default_factory=dict)  # whole processes, pages at hand
    planning_s: dict[str, float] = field(default_factory=dict)  # the same without starting up


def run(folder: Path, rtt_s: float, names: list[str]) -> dict[str, Result]:
    """Resolve the graphs of *names*, without any all of them, with all tools; print as it goes."""
    programs = peers.install(folder / "peers", "uv", "pip")
    own = str(Path(sys.executable).with_name("remote-wheel"))
    results = {}
    with serve(folder / "mirror", rtt_s) as mirror:
        for name in names or GRAPHS:
            requirements = GRAPHS[name]
            results[name] = _compare(name, requirements, mirror, folder, programs, own)
            print(name, results[name], flush=True)
    return results


def table(results: dict[str, Result]) -> str:
    """Return the table, and what its columns are."""
    columns = "graph | pins | same as uv | requests: ours / uv | ratio | ours | again | uv | pip"
    ratios = "ours/uv | again/uv | ours/pip | planning: ours / uv | ratio"
    lines = [
        "Whole processes with pages cached, in s; 'again' is ours once more, nothing changed.",
        "'Planning' is that without starting up and importing; for uv, what it says it took.\n",
        f"| {columns} | {ratios} |\n{'|---' * 14}|",
    ]
    for name, each in results.items():
        ours, uv = each.requests["remote_wheel"], each.requests["uv"]
        own_s, again_s, uv_s = (each.cached_s[tool] for tool in ("remote_wheel", AGAIN, "uv"))
        pip_s = each.cached_s.get("pip")
        own_planning_s, uv_planning_s = each.planning_s["remote_wheel"], each.planning_s["uv"]
        to_pip = f"{own_s / pip_s:.2f}" if pip_s else ""
        same = "yes" if each.is_same else "no: " + ", ".join(each.differences)
        lines.append(
            f"| {name} | {each.pins} | {same} | {ours} / {uv} | {ours / uv:.2f} | {own_s} | {again_s} | {uv_s} |"
            f" {pip_s or ''} | {own_s / uv_s:.1f} | {again_s / uv_s:.1f} | {to_pip} |"
            f" {own_planning_s} / {uv_planning_s} | {own_planning_s / uv_planning_s:.1f} |"
        )
    return "\n".join(lines)


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
            output = peers.timed(command, environ, work).stdout
            result.requests[tool] = sum(mirror.asked.values())
            answers[tool] = _pins(tool, output)
    times: dict[str, list[float]] = {tool: [] for tool in (*commands, AGAIN)}
    planning: dict[str, list[float]] = {"uv": [], "remote_wheel": []}
    loud = [word for word in commands["uv"] if word != "-q"]
    for _ in range(ROUNDS):
        planning["uv"].append(_said_s(peers.timed(loud, environ, work).stderr))
        inside = [sys.executable, "-c", INSIDE, mirror.url, *requirements]
        planning["remote_wheel"].append(float(peers.timed(inside, environ, work).stdout))
        for tool, command in commands.items():
            if tool == "remote_wheel":  # it keeps whole answers, too; those are measured apart
                shutil.rmtree(work / "own-cache" / "v1" / "boot")
            times[tool].append(peers.timed(command, environ, work).took_s)
        times[AGAIN].append(peers.timed(commands["remote_wheel"], environ, work).took_s)
    result.cached_s = {tool: round(statistics.median(each), 3) for tool, each in times.items()}
    result.planning_s = {tool: round(statistics.median(each), 4) for tool, each in planning.items()}
    result.pins = len(answers["remote_wheel"])
    result.is_same = answers["uv"] == answers["remote_wheel"]
    different = sorted(answers["uv"].items() ^ answers["remote_wheel"].items())
    result.differences = [f"{project}=={version}" for project, version in different][:12]
    return result


def _said_s(output: str) -> float:
    """Return how long uv says that it resolved."""
    found = re.search(r"Resolved \d+ packages? in ([\d.]+)(ms|s)", output)
    if not found:
        sys.exit(f"uv did not say how long it took:\n{output}")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def _pins(tool: str, output: str) -> dict[str, str]:
    found: Any
    if tool == "remote_wheel":
        return {pin["name"]: pin["version"] for pin in json.loads(output)["pins"]}
    if tool == "pip":
        found = [each["metadata"] for each in json.loads(output)["install"]]
        return {re.sub(r"[-_.]+", "-", each["name"]).lower(): each["version"] for each in found}
    return dict(re.findall(r"^([\w.-]+)==(\S+)", output, re.MULTILINE))
