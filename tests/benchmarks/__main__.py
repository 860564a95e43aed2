"""``python -m tests.benchmarks resolution``: run a benchmark, print its table, write its JSON."""

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks import resolution


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("what", choices=["resolution"])
    parser.add_argument("--rtt-ms", type=float, default=20.0, help="the mirror's round-trip time")
    parser.add_argument("--folder", type=Path, help="where the mirror and the peers are kept between runs")
    parser.add_argument("-o", "--output", type=Path, help="write the results as JSON")
    parsed = parser.parse_args()
    folder = parsed.folder or Path(tempfile.mkdtemp(prefix="remote_wheel-benchmark-"))
    results = resolution.run(folder.resolve(), parsed.rtt_ms / 1000)
    print(f"\n{platform.platform()}, Python {platform.python_version()}, round trips of {parsed.rtt_ms:.0f} ms\n")
    print("| graph | pins | same as uv | requests: ours / uv | ratio | cached: ours / uv / pip in s | to uv | to pip |")
    print("|---|---|---|---|---|---|---|---|")
    for name, each in results.items():
        ours, uv = each.requests["remote_wheel"], each.requests["uv"]
        own_s, uv_s, pip_s = (each.cached_s.get(tool) for tool in ("remote_wheel", "uv", "pip"))
        assert own_s is not None
        assert uv_s is not None
        to_pip = f"{own_s / pip_s:.2f}" if pip_s else ""
        same = "yes" if each.is_same else "no: " + ", ".join(each.differences)
        print(
            f"| {name} | {each.pins} | {same} | {ours} / {uv} | {ours / uv:.2f} |"
            f" {own_s} / {uv_s} / {pip_s or '-'} | {own_s / uv_s:.1f} | {to_pip} |"
        )
    if parsed.output:
        parsed.output.write_text(json.dumps({name: asdict(each) for name, each in results.items()}, indent=2))


main()
