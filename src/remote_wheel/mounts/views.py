"""importlib.resources over mounts. Loaded only when a resource is asked for, so it may import what it likes."""

import contextlib
import importlib.resources
import io
import os
import posixpath
import re
import secrets
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable, TraversableResources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import PathDistribution

    from remote_wheel.mounts.finder import Root


class ImageReader(TraversableResources):
    """The files beside one module of an in-memory root."""

    def __init__(self, root: "Root", module_path: str) -> None:
        self._folder = Node(root, module_path[len(root.base) :].replace(os.sep, "/")).parent

    def files(self) -> "Node":
        """Return the folder of the package."""
        return self._folder


class NamespaceReader(TraversableResources):
    """The files of a namespace package's portions, mounted or on disk."""

    def __init__(self, portions: Sequence[str], roots: "dict[str, Root]") -> None:
        self._portions = [_open_portion(portion, roots) for portion in portions]

    def files(self) -> Traversable:
        """Return the portion, or all of them as one folder."""
        return self._portions[0] if len(self._portions) == 1 else Merged(self._portions)


def _open_portion(portion: str, roots: "dict[str, Root]") -> Traversable:
    for root in roots.values():
        if not root.is_unpacked and portion.startswith(root.base):
            return Node(root, portion[len(root.base) :].replace(os.sep, "/"))
    return Path(portion)


class Node(Traversable):
    """A file or folder of an in-memory root: what pathlib.Path is for an installed one, as far as reading goes.

    `os.fspath()` makes it real: the file, or the folder with all below it, is written beside the image in the
    store (or to a temporary folder where the store can't be written), and its path returned.
    """

    __slots__ = ("path", "root")

    def __init__(self, root: "Root", path: str) -> None:
        self.root, self.path = root, path  # the path below the root, with slashes

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path) or os.path.basename(self.root.path)

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The name's last suffix, with its dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> "Node":
        """The folder it is in."""
        return Node(self.root, posixpath.dirname(self.path))

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.path in self.root.image.members

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return not self.path or self.path in self.root.image.folders

    def exists(self) -> bool:
        """Whether there is anything of that name."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator["Node"]:
        """Yield what is in the folder."""
        if not self.is_dir():
            raise NotADirectoryError(20, "Not a directory", str(self))
        prefix = f"{self.path}/" if self.path else ""
        for path in (*self.root.image.folders, *self.root.image.members):
            if path.startswith(prefix) and "/" not in path[len(prefix) :] and path != prefix:
                yield Node(self.root, path)

    def joinpath(self, *descendants: str | os.PathLike[str]) -> "Node":
        """Return what is at the given place below (or, with "..", beside) it."""
        parts = (os.fspath(part).replace(os.sep, "/") for part in descendants)
        path = posixpath.normpath(posixpath.join(self.path, *parts))
        return Node(self.root, "" if path == "." else path)

    __truediv__ = joinpath

    def open(
        self, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:  # fmt: skip
        """Open the file for reading, binary or as text."""
        if mode.replace("b", "").replace("t", "") != "r":
            raise ValueError(f"mode {mode!r}: the files of a mount can only be read")
        stream = io.BytesIO(self.read_bytes())
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

    def read_bytes(self) -> bytes:
        """Return the file's contents; out of the archive where the image is damaged. Raises StoreError without both."""
        entry = self.root.image.members.get(self.path)
        if entry is None:
            if self.is_dir():
                raise IsADirectoryError(21, "Is a directory", str(self))
            raise FileNotFoundError(2, f"{self.root.facts['name']} has no file {self.path!r} in its wheel", str(self))
        blob = self.root.image.read(*entry)
        if blob is None:
            from remote_wheel.mounts import originals

            return originals.restored(self.root, self.path)
        return bytes(blob)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the file's contents as text."""
        with self.open("r", encoding=encoding, errors=errors) as file:
            return str(file.read())

    def __fspath__(self) -> str:
        return materialize(self.root, self)

    def __str__(self) -> str:
        return self.root.base + self.path.replace("/", os.sep) if self.path else self.root.path

    def __repr__(self) -> str:
        return f"Node({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self.root, self.path) == (other.root, other.path)

    def __hash__(self) -> int:
        return hash((self.root.path, self.path))


class Merged(Traversable):
    """Several folders as one, for a namespace package; the first that has a name owns it, folders are merged again."""

    def __init__(self, portions: Sequence[Traversable]) -> None:
        self._portions = list(portions)

    @property
    def name(self) -> str:
        """The folders' name."""
        return self._portions[0].name

    def is_dir(self) -> bool:
        """It is a folder."""
        return True

    def is_file(self) -> bool:
        """It is no file."""
        return False

    def iterdir(self) -> Iterator[Traversable]:
        """Yield what is in any of the folders, a name once."""
        names = dict.fromkeys(child.name for portion in self._portions for child in portion.iterdir())
        return (self.joinpath(name) for name in names)

    def joinpath(self, *descendants: str | os.PathLike[str]) -> Traversable:
        """Return what is at the given place below."""
        found = [portion.joinpath(*descendants) for portion in self._portions]
        there = [each for each in found if each.is_file() or each.is_dir()]
        if len(there) > 1 and all(each.is_dir() for each in there):
            return Merged(there)
        return there[0] if there else found[0]

    __truediv__ = joinpath

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        """Raise: a folder can't be opened."""
        raise IsADirectoryError(21, "Is a directory", self.name)

    def read_bytes(self) -> bytes:
        """Raise: a folder can't be read."""
        raise IsADirectoryError(21, "Is a directory", self.name)

    def read_text(self, encoding: str | None = None) -> str:
        """Raise: a folder can't be read."""
        raise IsADirectoryError(21, "Is a directory", self.name)


def materialize(root: "Root", node: Node) -> str:
    """Write the file, or the folder with all below it, to disk and return its path."""
    for base in _places(root):
        try:
            return _write_below(base, root, node.path)
        except OSError:
            continue  # a read-only or full store: the temporary folder is next
    raise OSError(30, "no folder to write the resource to", str(node))


def _places(root: "Root") -> Iterator[str]:
    if root.image.is_file:
        yield f"{root.image.path.removesuffix('.zip')}.files"
    with _lock:
        folder = _temporary.get(root.path)
        if folder is None or not os.path.isdir(folder):
            import atexit
            import shutil

            folder = _temporary[root.path] = tempfile.mkdtemp(prefix="remote_wheel-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
    yield folder


_temporary: dict[str, str] = {}  # by root: where its files are made real that can't be kept
_lock = threading.Lock()


def _write_below(base: str, root: "Root", wanted: str) -> str:
    prefix = f"{wanted}/" if wanted else ""
    os.makedirs(os.path.join(base, *wanted.split("/")) if wanted in root.image.folders else base, 0o700, exist_ok=True)
    for path, (at, size, crc) in root.image.members.items():
        if path == wanted or path.startswith(prefix):
            target = os.path.join(base, *path.split("/"))
            if not _is_same(target, size, crc):
                blob = root.image.read(at, size, crc)
                if blob is None:
                    raise OSError(5, "the image in the cache is damaged", target)
                _write(target, bytes(blob))
    return os.path.join(base, *wanted.split("/"))


def _is_same(path: str, size: int, crc: int) -> bool:
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == size and zlib.crc32(file.read()) == crc
    except OSError:
        return False


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    staging = f"{path}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    descriptor = os.open(staging, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(staging, path)


def distributions(roots: "Sequence[Root]", context: Any) -> "Iterator[PathDistribution]":
    """Yield what importlib.metadata asks for by *context* (its name, its path) of *roots*."""
    from importlib.metadata import DistributionFinder, PathDistribution

    context = context or DistributionFinder.Context()
    wanted = context.name and re.sub(r"[-_.]+", "-", context.name).lower()  # PEP 503
    for root in roots:
        dist_info = root.facts["dist_info"]
        if dist_info and root.path in context.path and wanted in (None, root.facts["name"]):
            yield PathDistribution(Node(root, dist_info))


def teach_pkg_resources(pkg_resources: Any) -> None:
    """Register a provider and handlers, as pkg_resources documents for importers of one's own (PEP 302)."""
    from remote_wheel.mounts.finder import ImageLoader, RootFinder

    class Provider(pkg_resources.DefaultProvider):  # type: ignore[misc]  # a class of whatever is there
        """Resources of a module that is in memory; files that somebody needs a name of are made real."""

        def _node(self, path: str) -> Node | None:
            root = getattr(self.loader, "root", None)
            if root is None or root.is_unpacked or not path.startswith(root.path):
                return None
            return Node(root, path[len(root.base) :].replace(os.sep, "/"))

        def _has(self, path: str) -> bool:
            node = self._node(path)
            return bool(super()._has(path)) if node is None else node.exists()

        def _isdir(self, path: str) -> bool:
            node = self._node(path)
            return bool(super()._isdir(path)) if node is None else node.is_dir()

        def _listdir(self, path: str) -> list[str]:
            node = self._node(path)
            return list(super()._listdir(path)) if node is None else [child.name for child in node.iterdir()]

        def _get(self, path: str) -> bytes:
            node = self._node(path)
            return bytes(super()._get(path)) if node is None else node.read_bytes()

        def get_resource_filename(self, manager: Any, resource_name: str) -> str:
            path = self._fn(self.module_path, resource_name)
            node = self._node(path)
            return str(path if node is None else os.fspath(node))

        def get_resource_stream(self, manager: Any, resource_name: str) -> IO[bytes]:
            return io.BytesIO(self._get(self._fn(self.module_path, resource_name)))

    pkg_resources.register_loader_type(ImageLoader, Provider)
    pkg_resources.register_finder(RootFinder, _find_for_pkg_resources)
    pkg_resources.register_namespace_handler(RootFinder, pkg_resources.file_ns_handler)


def _find_for_pkg_resources(importer: Any, path_item: str, only: bool = False) -> Iterator[Any]:
    """Yield the distribution of a mounted root as pkg_resources sees it."""
    import pkg_resources  # type: ignore[import-not-found,import-untyped,unused-ignore]  # it asked us, so it is there

    root, dist_info = importer.root, importer.root.facts["dist_info"]
    if root.is_unpacked:
        yield from pkg_resources.find_on_path(importer, path_item, only)
    elif dist_info:
        members = {name: Node(root, f"{dist_info}/{name}") for name in ("METADATA", "entry_points.txt", "RECORD")}
        texts = {name: node.read_text("utf-8") for name, node in members.items() if node.is_file()}
        metadata = pkg_resources.EmptyProvider()
        metadata.has_metadata = texts.__contains__
        metadata.get_metadata = texts.__getitem__
        metadata.get_metadata_lines = lambda name: pkg_resources.yield_lines(texts[name])
        yield pkg_resources.DistInfoDistribution(
            path_item, metadata, root.facts["name"], root.facts["version"], precedence=pkg_resources.SOURCE_DIST
        )


@contextlib.contextmanager
def _as_file(node: Node) -> Iterator[Path]:
    """Yield a real path of the file or folder, which goes away with the context, as importlib's own does."""
    with tempfile.TemporaryDirectory(prefix="remote_wheel-") as folder:
        yield Path(_write_below(folder, node.root, node.path) if node.path else folder)


if hasattr(importlib.resources.as_file, "register"):  # 3.11 can't do folders by itself
    importlib.resources.as_file.register(Node, _as_file)
