"""``python -m tests.benchmarks`` with imports, mounts, resolution or parsers: measure, print tables, write JSON."""

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks import imports, mounts, parsers, peers, plot, resolution


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("what", choices=["imports", "mounts", "resolution", "parsers"])
    parser.add_argument("cases", nargs="*", help="some of its cases; by default all")
    parser.add_argument("--rtt-ms", type=float, default=20.0, help="the mirror's round-trip time")
    parser.add_argument("--folder", type=Path, help="where the mirror and the peers are kept between runs")
    parser.add_argument("--plot", type=Path, help="draw the imports, as SVG")
    parser.add_argument("-o", "--output", type=Path, help="write the results as JSON")
    parsed = parser.parse_args()
    if parsed.what == "parsers":
        parsers.main()
        return
    folder = (parsed.folder or Path(tempfile.mkdtemp(prefix="remote_wheel-benchmark-"))).resolve()
    rtt_s = parsed.rtt_ms / 1000
    machine = f"{platform.platform()}, Python {platform.python_version()}, round trips of {parsed.rtt_ms:.0f} ms"
    results: dict[str, Any]
    if parsed.what == "imports":
        results = imported = imports.run(folder, rtt_s, parsed.cases)
        text = imports.table(imported)
        if parsed.plot:
            parsed.plot.write_text(plot.draw(imported, machine))
    elif parsed.what == "mounts":
        results = mounted = mounts.run(folder, parsed.cases)
        text = mounts.table(mounted)
    else:
        results = resolved = resolution.run(folder, rtt_s, parsed.cases)
        text = resolution.table(resolved)
    if (folder / "peers").exists():
        machine += f"; {peers.versions(folder / 'peers')}"
    print(f"\n{machine}\n\n{text}")
    if parsed.output:
        raw = {name: asdict(each) for name, each in results.items()}
        parsed.output.write_text(json.dumps({"machine": machine, "results": raw}, indent=2))


main()
