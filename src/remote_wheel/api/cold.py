"""Sending a request the cold way: to a helper process, or to the pipeline in this one.

The helper keeps what the cold path imports (requests, packaging, rich, …) out of the user's process, so that
``require("requests==2.30.0")`` can mean what it says. docs/decisions/0001-helper-process.md has the reasons.
"""

import json
import os
import sys

from remote_wheel import api
from remote_wheel.errors import HelperFailed, RemoteWheelError, rebuild_error
from remote_wheel.mounts import boot, children

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from typing import Any

    from remote_wheel.api.catalog import Progress

_make_progress: "Callable[[], Progress] | None" = None
_is_ours = False  # this process
_watcher: "Callable[[Mapping[str, Any]], None] | None" = None
_PATIENCE_S = 2.0
# What the pipeline imports that is not the standard library's; a wheel may have modules of these names.
_RELIED_ON = (
    "certifi", "charset_normalizer", "filelock", "idna", "installer", "nab_resolver", "packaging", "requests", "rich",
    "tomli_w", "urllib3",
)  # fmt: skip
MARK = b"\n\0remote_wheel answers\0"
TELLS = b"\0remote_wheel tells\0"
# Appended, not prepended: the helper must find the same standard library and packages that an ordinary start would.
_START = """import sys; sys.path.append(sys.argv[1])
try: from remote_wheel.cli.helper import serve
except KeyboardInterrupt: sys.exit(130)
serve()"""


def own_process() -> None:
    """Say that this process is ours and soon over: it may fork, and looks for garbage less often."""
    import gc

    global _is_ours  # one process, one owner
    _is_ours = True
    gc.set_threshold(200_000)  # what is imported alone makes a quarter of that


def stay_here(make_progress: "Callable[[], Progress]") -> None:
    """Carry out the requests of this process in it: it is a command of ours, whose imports are nobody else's."""
    global _make_progress  # one process, one answer
    own_process()
    if children.VARIABLE not in os.environ:  # mounts of a parent may be other versions of what we import
        _make_progress = make_progress


def watch(watcher: "Callable[[Mapping[str, Any]], None] | None") -> None:
    """Have *watcher* told how far a helper is, in this thread: `text`, `done` and `total` in bytes. None ends that."""
    global _watcher  # a terminal's progress is drawn by the helper; this is for who has none
    _watcher = watcher


def abandon() -> None:
    """Leave nothing half written behind in a process that ends with transfers under way."""
    from remote_wheel.store.files import discard_staged

    discard_staged()


def listen() -> "list[tuple[str, ...]]":
    """Return a list that every audit event of this process is added to from now on."""
    from remote_wheel.spec import audit

    return audit.listen()


def ask(request: "Mapping[str, Any]") -> "dict[str, Any]":
    """Have *request* (the fields of request.Request less `optimize`) carried out.

    Returns the pipeline's answer; raises the RemoteWheelError it raised, or HelperFailed.
    """
    full = {**request, "optimize": sys.flags.optimize}
    if _make_progress:
        return carry_out({**full, "may_be_lean": False}, _make_progress())
    if not sys.executable or hasattr(sys, "frozen"):  # embedded or frozen: it is no interpreter that we could start
        return _carry_out_here(full)
    return _ask_helper(full)


def carry_out(request: "Mapping[str, Any]", progress: "Progress") -> "dict[str, Any]":
    """Carry out *request* in this process, and close *progress*. Raises RemoteWheelError, of a bug HelperFailed."""
    if _is_ours and not boot.is_on("offline", request["options"]):
        from remote_wheel.fetch import apart

        apart.start()
    from remote_wheel.api import early

    begun = None
    lists = {
        "subjects": tuple(request["subjects"]),
        "search_path": tuple(request["search_path"]),
        "hints": tuple(request.get("hints", ())),
        "preferred": tuple((name, version) for name, version in request["preferred"]),
    }
    try:
        begun = early.begin(request)
        from remote_wheel.api import pipeline
        from remote_wheel.api.request import Request

        return pipeline.run(Request(**{**request, **lists}), progress, begun)
    except RemoteWheelError:
        raise
    except Exception as error:
        raise _failure(error) from error
    finally:
        progress.close()
        if begun:
            begun.close()


def _carry_out_here(request: "Mapping[str, Any]") -> "dict[str, Any]":
    """Carry out *request* in the user's own process, where no other can be started.

    Raises UsageError where a mount would give us its modules for those that we rely on.
    """
    from remote_wheel.errors import UsageError
    from remote_wheel.mounts import registry

    for name in _RELIED_ON:
        root = registry.owner_of(name)
        if root is not None:
            mounted = f"{root.facts['name'] or root.facts['filename']} {root.facts['version']}".rstrip()
            what = (
                f"no process can be started, and in this one the module {name} is that of {mounted}, which is mounted"
            )
            raise UsageError(message=what, way_out="Ask for it before that, or unmount that first.")
    return carry_out({**request, "may_be_lean": False}, Silent())


def _ask_helper(request: "Mapping[str, Any]") -> "dict[str, Any]":
    watcher = _watcher
    try:
        helper = _fork() or _spawn(is_told=bool(watcher))
    except OSError:
        return _carry_out_here(request)
    try:
        data = json.dumps({**request, "tells": True} if watcher else request).encode()
        output = _listen_to(helper, data, watcher) if watcher else helper.communicate(data)[0]
    except BaseException:  # whatever it was, no helper outlives its request
        try:
            helper.wait(_PATIENCE_S)  # Ctrl-C reaches both: it is about to clean up behind itself
        except BaseException:  # noqa: BLE001  # it takes too long, or the user has no patience either
            helper.kill()
            helper.wait()
        raise
    try:
        # Whatever start-up hooks print goes to the same stream; the answer is what follows the mark.
        at = output.index(MARK) + len(MARK)
        end = output.index(b"\n", at)
        answer: dict[str, Any] = json.loads(output[at:end])
    except ValueError:
        reason = f"it ended with exit code {helper.returncode} and no answer"
        raise HelperFailed(reason=reason, output=output.decode("utf-8", "replace")) from None
    from remote_wheel.spec.audit import replay

    replay(answer["audit"])
    if "error" in answer:
        raise rebuild_error(answer["error"], answer["facts"])
    answer["blobs"], end = {}, end + 1
    for name, size in answer["sizes"].items():
        answer["blobs"][name], end = memoryview(output)[end : end + size], end + size
    return answer


def _fork() -> "Any":
    """Return a helper that is a fork, None where only an interpreter of its own will do."""
    threads = len(sys._current_frames())  # noqa: SLF001  # threading may not be imported, and need not be
    if api.fork_helper is None or threads > 1 or children.VARIABLE in os.environ or _watcher:
        return None
    return api.fork_helper(_package_parent())


def _spawn(*, is_told: bool) -> "subprocess.Popen[bytes]":
    import subprocess

    pipe = subprocess.PIPE
    command = [sys.executable, "-P", *_inherited_flags(), "-c", _START, _package_parent()]
    # The helper must not see the caller's mounts, which may be other versions of what it needs itself.
    environ = {name: value for name, value in os.environ.items() if name != children.VARIABLE}
    environ["PYTHONIOENCODING"] = "utf-8"
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe if is_told else None, env=environ)


def _package_parent() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _listen_to(helper: "subprocess.Popen[bytes]", data: bytes, watcher: "Callable[[Mapping[str, Any]], None]") -> bytes:
    """Do what communicate() does, and hand what the helper tells of its progress to *watcher*, in this thread."""
    from threading import Thread

    assert helper.stdin is not None
    assert helper.stdout is not None
    assert helper.stderr is not None
    answer: list[bytes] = []
    reader = Thread(target=lambda stream: answer.append(stream.read()), args=(helper.stdout,))
    reader.start()
    with helper.stdin:
        helper.stdin.write(data)
    with helper.stderr:
        for line in helper.stderr:
            if line.startswith(TELLS):
                watcher(json.loads(line.removeprefix(TELLS)))
            else:
                os.write(2, line)  # where it would have gone
    reader.join()
    helper.stdout.close()
    helper.wait()
    return answer[0]


def _inherited_flags() -> list[str]:
    flags = [("isolated", "-I"), ("ignore_environment", "-E"), ("no_user_site", "-s")]
    return [option for name, option in flags if getattr(sys.flags, name)]


def _failure(error: Exception) -> HelperFailed:
    """Return HelperFailed for an error that should not have been; whatever it is, it may name a URL."""
    import traceback

    from remote_wheel.spec.source import redact_text

    trace = "".join(traceback.format_exception(error))
    return HelperFailed(reason=redact_text(f"{type(error).__name__}: {error}"), output=redact_text(trace))


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
