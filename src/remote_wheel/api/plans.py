"""The plan as users have it: one that can be mounted and written down."""

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from remote_wheel import api
from remote_wheel.resolution import plan as pure

if TYPE_CHECKING:
    from typing import Unpack

    from remote_wheel.api import Mount, Options


class Plan(pure.Plan):
    """Pins, roots first, then breadth first what they need: the exact files that satisfy the requirements."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values: requirements, pins with all their fields, notes."""
        return pure.plan_to_json(self)

    def mount(self, *, cache_dir: "str | os.PathLike[str] | None" = None, **options: "Unpack[Options]") -> "Mount":
        """Fetch, verify and mount exactly these files. Raises as require does, but for ResolutionError."""
        record, roots = api.boot_record("plan", (self.dumped(),), options, cache_dir)
        choices = [choice for subject in record["subjects"] for choice in subject["choices"]]
        return api.Mount(roots, choices, f"the plan for {', '.join(str(pin) for pin in self.roots)}")

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
        request = api.request_of("plan", (self.dumped(),), api.checked(options), api.cache_folder(cache_dir))
        return str(ask({**request, "lock_folder": where})["lock"])

    def alone(self) -> "Plan":
        """Return the plan of just what was asked for first."""
        return Plan(requirements=self.requirements[:1], pins=(replace(self.roots[0], needs=()),))

    def dumped(self) -> str:
        """Return the plan as one line of JSON, the same for the same plan; the subject of a request for it."""
        raw: dict[str, Any] = pure.plan_to_json(self)
        return json.dumps(raw, sort_keys=True)
