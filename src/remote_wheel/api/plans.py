"""The plan as users have it: one that can be mounted and written down."""

import json
import os
from typing import TYPE_CHECKING, Any

from remote_wheel import api
from remote_wheel.resolution import plan as pure

if TYPE_CHECKING:
    from typing import Unpack

    from remote_wheel.api import Mount, Options


class Plan(pure.Plan):
    """Pins, roots first, then breadth first what they need: the exact files that satisfy the requirements."""

    __slots__ = ()

    def mount(self, *, cache_dir: "str | os.PathLike[str] | None" = None, **options: "Unpack[Options]") -> "Mount":
        """Fetch, verify and mount exactly these files. Raises as require does, but for ResolutionError."""
        record, roots = api.boot_record("plan", (self._json(),), options, cache_dir)
        choices = [choice for subject in record["subjects"] for choice in subject["choices"]]
        return api.Mount(roots, choices)

    def to_pylock(
        self,
        folder: "str | os.PathLike[str] | None" = None,
        *,
        cache_dir: "str | os.PathLike[str] | None" = None,
        **options: "Unpack[Options]",
    ) -> str:
        """Return the text of a lock file (PEP 751); local files are named relative to *folder*, by default this one.

        A wheel whose index states no SHA-256 is fetched for it. Raises UsageError where the plan has installed
        distributions, which no lock can hold.
        """
        from remote_wheel.api.cold import ask

        where = os.path.abspath(folder if folder is not None else os.curdir)
        request = api.request_of("plan", (self._json(),), api.checked(options), api.cache_folder(cache_dir))
        return str(ask({**request, "lock_folder": where})["lock"])

    def _json(self) -> str:
        raw: dict[str, Any] = pure.plan_to_json(self)
        return json.dumps(raw, sort_keys=True)
