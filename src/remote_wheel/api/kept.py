"""Answers that are kept: what was asked before is not asked again, while nothing of what it rests on has changed."""

import json
import time
from collections.abc import Mapping
from typing import Any

from remote_wheel.api.cold import ask
from remote_wheel.mounts import boot


def answer_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Have *request* answered, or return the answer that it had, if nothing of what that rests on has changed since."""
    options, cache = request["options"], request["cache"]
    # Requests of the same words have boot records; this one is told apart by an option that none of them has.
    asked = {**options, "answer": request.get("lock_folder", "")}
    path, preferred = request["search_path"], request["preferred"]
    key = boot.record_key(request["action"], request["subjects"], asked, cache=cache, path=path, preferred=preferred)
    if not boot.is_on("refresh", options) and not boot.is_on("no_cache", options):
        is_offline = boot.is_on("offline", options)
        record = boot.read_record(boot.record_path(cache, key), is_offline=is_offline, now_s=time.time())
        if record is not None:
            answer: dict[str, Any] = json.loads(record["answer"])
            return answer
    return ask({**request, "answer_key": key})
