"""Sending a request the cold way: to a helper process, or to the pipeline in this one.

The helper keeps what the cold path imports (requests, packaging, rich, …) out of the user's process, so that
``require("requests==2.30.0")`` can mean what it says. docs/decisions/0001-helper-process.md has the reasons.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from remote_wheel.errors import HelperFailed, rebuild_error
from remote_wheel.mounts import children

_PATIENCE_S = 2.0
MARK = b"\n\0remote_wheel answers\0"
# Appended, not prepended: the helper must find the same standard library and packages that an ordinary start would.
_START = """import sys; sys.path.append(sys.argv[1])
try: from remote_wheel.cli.helper import serve
except KeyboardInterrupt: sys.exit(130)
sys.exit(serve())"""


def ask(request: Mapping[str, Any]) -> dict[str, Any]:
    """Have *request* (the fields of pipeline.Request less `optimize`) carried out.

    Returns the pipeline's answer; raises the RemoteWheelError it raised, or HelperFailed.
    """
    full = {**request, "optimize": sys.flags.optimize}
    if not sys.executable or hasattr(sys, "frozen"):  # embedded or frozen: it is no interpreter that we could start
        return _ask_here(full)
    return _ask_helper(full)


def _ask_helper(request: Mapping[str, Any]) -> dict[str, Any]:
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable, "-P", *_inherited_flags(), "-c", _START, package_parent]
    # The helper must not see the caller's mounts, which may be other versions of what it needs itself.
    environ = {name: value for name, value in os.environ.items() if name != children.VARIABLE}
    environ["PYTHONIOENCODING"] = "utf-8"
    try:
        helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
    except OSError:
        return _ask_here(request)
    try:
        output, _ = helper.communicate(json.dumps(request).encode())
    except BaseException:  # whatever it was, no helper outlives its request
        try:
            helper.wait(_PATIENCE_S)  # Ctrl-C reaches both: it is about to clean up behind itself
        except BaseException:  # noqa: BLE001  # it takes too long, or the user has no patience either
            helper.kill()
            helper.wait()
        raise
    try:
        # Whatever start-up hooks print goes to the same stream; the answer is what follows the last mark.
        answer: dict[str, Any] = json.loads(output.rpartition(MARK)[2])
    except ValueError:
        reason = f"it ended with exit code {helper.returncode} and no answer"
        raise HelperFailed(reason=reason, output=output.decode("utf-8", "replace")) from None
    if "error" in answer:
        raise rebuild_error(answer["error"], answer["facts"])
    return answer


def _inherited_flags() -> list[str]:
    flags = [("isolated", "-I"), ("ignore_environment", "-E"), ("no_user_site", "-s")]
    return [option for name, option in flags if getattr(sys.flags, name)]


def _ask_here(request: Mapping[str, Any]) -> dict[str, Any]:
    from remote_wheel.api import pipeline

    return pipeline.run(parse_request(request), Silent())


def parse_request(raw: Mapping[str, Any]) -> "Any":
    """Return the pipeline.Request of JSON values."""
    from remote_wheel.api.pipeline import Request

    lists = {
        "subjects": tuple(raw["subjects"]),
        "search_path": tuple(raw["search_path"]),
        "preferred": tuple((name, version) for name, version in raw["preferred"]),
    }
    return Request(**{**raw, **lists})


def facts_of_failure(error: Exception) -> dict[str, str]:
    """Return the facts of HelperFailed for an error that should not have been; whatever it is, it may name a URL."""
    import traceback

    from remote_wheel.spec.source import redact_text

    trace = "".join(traceback.format_exception(error))
    return {"reason": redact_text(f"{type(error).__name__}: {error}"), "output": redact_text(trace)}


class Silent:
    """Progress nobody watches: in the caller's own process, or where stderr is no terminal."""

    def resolving(self, projects: int) -> None:
        """Say nothing."""

    def downloading(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        """Say nothing."""

    def preparing(self, name: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Leave nothing behind."""
