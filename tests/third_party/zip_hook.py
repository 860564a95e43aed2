"""Run unittest modules and print each test's outcome as JSON, with our path hook in front of zipimport's if asked.

python zip_hook.py (hook|stock) MODULE…
The hook makes an image of any zip that comes by: CPython's tests write zips of their own, and so meet our finder.
"""

import json
import os
import sys
import tempfile
import unittest
from collections.abc import Iterator
from typing import Any


def make_hook(folder: str) -> Any:
    """Return the path hook; images go to *folder*."""
    from remote_wheel.errors import RemoteWheelError
    from remote_wheel.mounts.finder import Root, RootFinder
    from remote_wheel.mounts.image import Image
    from remote_wheel.prepare.image import compile_modules, write_image
    from remote_wheel.settings import Limits
    from remote_wheel.verify.archive import Archive
    from remote_wheel.verify.wheel import Verified

    roots: dict[tuple[str, int, int], Root] = {}

    def root_of(path: str) -> Root:
        status = os.stat(path)
        key = (path, status.st_mtime_ns, status.st_size)
        if key not in roots:
            with open(path, "rb") as file:
                archive = Archive(file.read(), subject=path, limits=Limits())
            files = {name: name for name, member in archive.members.items() if not member.is_folder}
            verified = Verified(sha256="", filename=path, archive=archive, files=files)
            compiled = compile_modules(verified, optimize=-1)._replace(reasons=())
            image = os.path.join(folder, f"{len(roots)}.zip")
            with open(image, "w+b") as file:
                write_image(compiled, file, path)
            facts = {"name": os.path.basename(path), "version": "", "namespaces": (), "sha256": "", "source": path}
            roots[key] = Root(path, Image(image), compiled.table.tops, facts)
            roots[key].is_unpacked = False
        return roots[key]

    def hook(path: str) -> RootFinder:
        above, below = path, ""
        while above and not os.path.isfile(above):
            above, _, name = above.rpartition(os.sep)
            below = f"{name}/{below}" if below else name
        try:
            root = root_of(above)
        except (OSError, RemoteWheelError) as error:
            raise ImportError(str(error), path=path) from error
        if below and below not in root.image.folders:
            raise ImportError("no such folder", path=path)
        return RootFinder(root, below)

    return hook


class Outcomes(unittest.TestResult):
    """Notes one word for each test."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, str] = {}

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802  # unittest's own name
        kinds = {"failed": self.failures, "error": self.errors, "skipped": self.skipped}
        kinds |= {"expected": self.expectedFailures}
        words = [word for word, tests in kinds.items() if any(case is test for case, _ in tests)]
        words += ["unexpected"] if any(case is test for case in self.unexpectedSuccesses) else []
        self.words[test.id()] = words[0] if words else "passed"
        super().stopTest(test)


def _flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _flatten(each)
        else:
            yield each


def main(mode: str, *modules: str) -> None:
    """Run *modules* and print the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        if mode == "hook":
            sys.path_hooks.insert(0, make_hook(folder))
        outcomes = Outcomes()
        for test in _flatten(unittest.defaultTestLoader.loadTestsFromNames(modules)):
            if "Zip64" not in test.id():  # minutes with 65,537 members; tests/verify has the rules of Zip64
                test.run(outcomes)
    print("\n" + json.dumps(outcomes.words))


if __name__ == "__main__":
    main(*sys.argv[1:])
