"""importlib.resources over an image. Loaded only when a resource is asked for."""

import zipfile
from importlib.resources.abc import Traversable, TraversableResources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from remote_wheel.mounts.finder import Root


class ImageReader(TraversableResources):
    """The files beside one module of an in-memory root. The image is a stored zip, so zipfile.Path reads it."""

    def __init__(self, root: "Root", module_path: str) -> None:
        self._root = root
        folder, slash, _ = module_path[len(root.base) :].replace("\\", "/").rpartition("/")
        self._folder = folder + slash

    def files(self) -> Traversable:
        """Return the folder of the package."""
        return zipfile.Path(self._root.image.path, self._folder)
