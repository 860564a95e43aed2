"""Sending a request the cold way: to a helper process, or to the pipeline in this one.

The helper keeps what the cold path imports (requests, packaging, rich, …) out of the user's process, so that
``require("requests==2.30.0")`` can mean what it says. docs/decisions/0001-helper-process.md has the reasons.
"""

import json
import os
import sys

from remote_wheel import api
from remote_wheel.api.process import MARK, NoInterpreter, converse, package_parent
from remote_wheel.errors import HelperFailed, RemoteWheelError, UsageError, rebuild_error
from remote_wheel.mounts import boot, children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from remote_wheel.api.catalog import Progress

_make_progress: "Callable[[], Progress] | None" = None
_is_ours = False  # this process
_PATIENCE_S = 0.5
_watcher: "Callable[[Mapping[str, Any]], None] | None" = None
# What the pipeline imports that is not the standard library's; a wheel may have modules of these names.
_RELIED_ON = (
    "certifi", "charset_normalizer", "filelock", "idna", "installer", "nab_resolver", "packaging", "requests", "rich",
    "tomli_w", "urllib3",
)  # fmt: skip


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
    if len(sys._current_frames()) == 1:  # noqa: SLF001  # threading may not be imported, and need not be
        return _ask_helper(full)
    from remote_wheel.api.sharing import shared

    return shared(full, _ask_helper)


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
        if _is_ours:
            _end_when_interrupted(progress)
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


def _end_when_interrupted(progress: "Progress") -> None:
    """Have Ctrl-C end this process of ours at once: nobody waits for transfers, and the terminal is as it was."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        return

    def end(*_: object) -> None:
        # What was interrupted may hold the locks that this needs.
        closing = threading.Thread(target=progress.close, daemon=True)
        closing.start()
        closing.join(_PATIENCE_S)
        abandon()
        if _make_progress:  # a command; who has started a helper says so itself
            os.write(2, b"interrupted\n")
        os._exit(130)

    signal.signal(signal.SIGINT, end)


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
    try:
        if helper := _fork():
            output, exit_code = helper.converse(json.dumps(request).encode())
        else:
            output, exit_code = converse(request, _watcher)
    except NoInterpreter:
        return _carry_out_here(request)
    try:
        # Whatever start-up hooks print goes to the same stream; the answer is what follows the mark.
        at = output.index(MARK) + len(MARK)
        end = output.index(b"\n", at)
        answer: dict[str, Any] = json.loads(output[at:end])
    except ValueError:
        reason = f"it ended with exit code {exit_code} and no answer"
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
    threads = len(sys._current_frames())  # noqa: SLF001
    if api.fork_helper is None or threads > 1 or children.VARIABLE in os.environ or _watcher:
        return None
    try:
        return api.fork_helper(package_parent())
    except OSError:  # no more processes may be
        raise NoInterpreter from None


def _failure(error: Exception) -> RemoteWheelError:
    """Return HelperFailed for an error that should not have been; whatever it is, it may name a URL.

    UsageError where what is missing is the working folder: what is relative to it means nothing.
    """
    if isinstance(error, FileNotFoundError) and not boot.working_folder():
        message = "something is named relative to the working folder, which was deleted"
        return UsageError(message=message, way_out="Name it by an absolute path, or start in another folder.")
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
