"""``remote-wheel demo``: the main job on the embedded index, told in plain words."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from remote_wheel import api
from remote_wheel.api import plans

INDEX = Path(__file__).resolve().parent.parent / "embedded_index"
REQUIREMENT = "greenhouse[report]>=1"


def demo(say: Callable[[str], None]) -> int:
    """Resolve, verify, mount and import from the index inside the package; *say* prints. Return the exit code."""
    with tempfile.TemporaryDirectory(prefix="remote_wheel-demo-") as cache:
        say(f"An index of a few small wheels ships inside remote_wheel. Asking it for {REQUIREMENT!r}:\n")
        plan = plans.resolve(REQUIREMENT, index_url=INDEX.as_uri(), cache_dir=cache, prefer_installed=False)
        say(plan.tree())
        say(f"\nWhy this version of seedlings?\n{plan.explain('seedlings')}")
        greenhouse = api.require(REQUIREMENT, index_url=INDEX.as_uri(), cache_dir=cache, prefer_installed=False)
        say("\nEach wheel was checked (archive layout, RECORD both ways, every hash), compiled once and mounted.")
        say("Nothing was installed. `import greenhouse` works now, and it says:\n")
        say("\n".join(f"  {line}" for line in greenhouse.report().splitlines()))
        say("\nWhere each module came from:\n")
        for name in ("greenhouse", "seedlings", "watering", "almanac"):
            say(api.explain(name))
        say("\nThe temporary cache is deleted now. On a real index: remote-wheel run --with flask -c 'import flask'")
    return 0
