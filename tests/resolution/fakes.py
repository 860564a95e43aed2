"""A catalogue in memory, for tests of decisions: keeps the port's contract and counts what it is asked."""

from collections.abc import Mapping, Sequence

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from remote_wheel.index.candidates import Filter, make_listing
from remote_wheel.index.listing import Listing, Release
from remote_wheel.index.page import IndexFile, Page
from remote_wheel.index.target import Target
from remote_wheel.spec.dependency import Dependency
from remote_wheel.spec.metadata import CoreMetadata

TARGET = Target(
    python=Version("3.12.1"),
    key="a Linux machine",
    make_tags=lambda: (Tag("cp312", "cp312", "linux_x86_64"), Tag("py3", "none", "any")),
    environment={
        "python_full_version": "3.12.1",
        "python_version": "3.12",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "implementation_version": "3.12.1",
    },
)

Graph = dict[str, dict[str, list[str]]]


class MemoryCatalog:
    """Projects as {name: {version: [requirement, …]}}; a version that ends in ``!`` is yanked."""

    def __init__(
        self,
        graph: Graph,
        extras: Sequence[str] = ("x",),
        constraints: Mapping[NormalizedName, SpecifierSet] | None = None,
    ) -> None:
        self._constraints = constraints or {}
        self._graph = {canonicalize_name(name): versions for name, versions in graph.items()}
        self._extras = frozenset(canonicalize_name(extra) for extra in extras)
        self.listed: list[str] = []
        self.read: list[str] = []
        self.expected: list[str] = []

    def listings(self, projects: Sequence[NormalizedName]) -> list[Listing]:
        self.listed += projects
        return [self._listing(project) for project in projects]

    def metadata(self, release: Release) -> CoreMetadata:
        self.read.append(str(release))
        versions = self._graph[release.project]
        text = str(release.version)
        requires = versions[text] if text in versions else versions[f"{text}!"]
        return CoreMetadata(
            name=release.project,
            version=release.version,
            requires=tuple(Dependency.parse(each) for each in requires),
            extras=self._extras,
        )

    def is_at_hand(self, release: Release) -> bool:
        return str(release) in self.expected

    def expect(self, release: Release) -> None:
        self.expected.append(str(release))

    def _listing(self, project: NormalizedName) -> Listing:
        if project not in self._graph:
            return Listing.empty(project, ("https://index.example/simple/",))
        files = tuple(
            IndexFile(
                filename=f"{project.replace('-', '_')}-{text.rstrip('!')}-py3-none-any.whl",
                url=f"https://index.example/{project}-{text.rstrip('!')}.whl",
                yanked="" if text.endswith("!") else None,
            )
            for text in self._graph[project]
        )
        page = Page(project=project, url="https://index.example/", files=files)
        left_out_by = Filter(constraint=self._constraints.get(project))
        searched = ("https://index.example/simple/",)
        return make_listing(project, [page], TARGET, searched=searched, left_out_by=left_out_by)
