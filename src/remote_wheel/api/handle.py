"""What was mounted, as users hold it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.metadata import Distribution, EntryPoints
    from types import ModuleType, TracebackType
    from typing import Any

    from remote_wheel.mounts.finder import Root
    from remote_wheel.mounts.isolation import Isolation

from remote_wheel.api import annotation_names, only
from remote_wheel.mounts.registry import import_from, import_module, root_with


class Mount:
    """What was mounted: a distribution and what it needs, or a whole plan. A context manager that unmounts at its end.

    Of a plan, `source`, `sha256` and `distribution` are those of what it names first.
    """

    def __init__(self, roots: "list[Root]", choices: "Sequence[str]", label: str = "") -> None:
        self._roots, self._label = roots, label
        self._choices = tuple(choices)
        self._is_mounted = True

    @property
    def source(self) -> str:
        """The URL or path it came from, secrets redacted."""
        return str(self._facts["source"])

    @property
    def sha256(self) -> str:
        """The SHA-256 of the archive or module, in hex."""
        return str(self._facts["sha256"])

    @property
    def modules(self) -> "tuple[str, ...]":
        """The top-level modules and packages it provides, namespace packages last."""
        return (*self._facts["tops"], *self._facts["namespaces"])

    @property
    def distribution(self) -> "Distribution | None":
        """The distribution's metadata as importlib.metadata gives it; None for a module that has none."""
        import importlib.metadata as metadata

        facts = self._facts
        if not facts["dist_info"]:
            return None
        return next(iter(metadata.distributions(name=facts["name"], path=[self._roots[0].path])), None)

    def import_module(self, name: "str | None" = None) -> "ModuleType":
        """Import and return module *name*, by default the one the distribution is called for."""
        wanted = name or only(self._choices, self._label or self.source)
        owner = root_with(wanted, self._roots)
        return import_from(wanted, owner) if owner else import_module(wanted)

    def unmount(self) -> None:
        """Undo the mount: its modules leave sys.modules, its places sys.path. A second call does nothing.

        What another mount or require uses too stays until that is gone.
        """
        self._is_mounted, was_mounted = False, self._is_mounted
        if was_mounted:
            from remote_wheel.mounts.undo import remove

            remove(self._roots)

    @property
    def _facts(self) -> "Mapping[str, Any]":
        nothing = {"source": "", "sha256": "", "name": "", "version": "", "filename": "", "dist_info": ""}
        return self._roots[0].facts if self._roots else {**nothing, "tops": (), "namespaces": ()}

    def __enter__(self) -> "Mount":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self.unmount()

    def __repr__(self) -> str:
        facts = self._facts
        if self._label:
            return f"<Mount of {self._label}: {len(self._roots)} distributions>"
        return f"<Mount {facts['name'] or facts['filename']} {facts['version']} of {self.source}>".replace("  ", " ")


def isolated_entry_points(isolation: "Isolation") -> "EntryPoints":
    """Return the entry points of an isolated environment, which load() there."""
    from importlib.metadata import DistributionFinder, EntryPoint, EntryPoints

    class Isolated(EntryPoint):
        """An entry point whose object is the environment's."""

        def load(self) -> "Any":
            """Import and return what it names."""
            found: Any = isolation.import_module(self.module)
            for name in filter(None, self.attr.split(".")):
                found = getattr(found, name)
            return found

    return EntryPoints(
        Isolated(each.name, each.value, each.group)._for(each.dist)  # type: ignore[attr-defined]  # noqa: SLF001  # it has no stub
        for found in isolation.distributions(DistributionFinder.Context())
        for each in found.entry_points
    )


globals()["__builtins__"] = annotation_names  # for who evaluates annotations
