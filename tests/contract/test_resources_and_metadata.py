"""importlib.resources, pkgutil's data and importlib.metadata."""

import sys

import pytest

from tests.contract.conftest import World

FILES: dict[str, str | bytes] = {
    "pkg/__init__.py": "",
    "pkg/sub/__init__.py": "",
    "pkg/sub/deep.py": "",
    "pkg/text.txt": "héllo\n",
    "pkg/binary.bin": bytes(range(256)),
    "pkg/data/one.txt": "1",
    "pkg/data/more/two.txt": "2",
    "space/part/__init__.py": "",
    "space/inside.txt": "in a namespace",
    "space/only_data/x.txt": "x",
}


@pytest.fixture
def pkg(world: World) -> World:
    entry_points = "[console_scripts]\ntool = pkg.sub:main\n[a.group]\nfirst = pkg:thing\n"
    world.add(
        "Some.Pkg", FILES, "1.2.3", entry_points=entry_points, requires=["other>=1", "x; extra == 'e'"], extras=["e"]
    )
    return world


def test_text_and_binary(pkg: World) -> None:
    code = """
        from importlib.resources import files
        root = files("pkg")
        print(ascii(root.joinpath("text.txt").read_text(encoding="utf-8")))
        print((root / "binary.bin").read_bytes() == bytes(range(256)))
        with (root / "text.txt").open(encoding="utf-8") as file:
            print(ascii(file.readline()))
        with (root / "binary.bin").open("rb") as file:
            print(file.read(3), file.seek(10), file.read(1))
    """
    assert pkg.said(code) == ["'h\\xe9llo\\n'", "True", "'h\\xe9llo\\n'", "b'\\x00\\x01\\x02' 10 b'\\n'"]


def test_traversal_to_any_depth(pkg: World) -> None:
    code = """
        from importlib.resources import files
        root = files("pkg")
        def walk(node, depth=0):
            for child in sorted(node.iterdir(), key=lambda n: n.name):
                if child.name != "__pycache__":
                    print(depth, child.name, child.is_dir(), child.is_file())
                    if child.is_dir():
                        walk(child, depth + 1)
        walk(root)
        print(root.joinpath("data", "more", "two.txt").read_text(), root.joinpath("data/more/two.txt").read_text())
        print(root.joinpath("nothing").is_file(), root.joinpath("nothing").is_dir(), root.name)
        try:
            root.joinpath("nothing").read_text()
        except FileNotFoundError:
            print("FileNotFoundError")
    """
    assert pkg.said(code) == [
        "0 __init__.py False True",
        "0 binary.bin False True",
        "0 data True False",
        "1 more True False",
        "2 two.txt False True",
        "1 one.txt False True",
        "0 sub True False",
        "1 __init__.py False True",
        "1 deep.py False True",
        "0 text.txt False True",
        "2 2",
        "False False pkg",
        "FileNotFoundError",
    ]


def test_as_file_gives_a_real_path(pkg: World) -> None:
    code = """
        import os
        from importlib.resources import as_file, files
        with as_file(files("pkg") / "data" / "one.txt") as path:
            print(os.path.isfile(path), open(path).read(), path.name)
        with as_file(files("pkg") / "data") as path:
            print(sorted(os.listdir(path)), open(path / "more" / "two.txt").read())
    """
    assert pkg.said(code) == ["True 1 one.txt", "['more', 'one.txt'] 2"]


def test_fspath_is_a_real_path(pkg: World) -> None:
    """Many programs hand a resource to open() or os.path as if it were a path; for an installed one it is."""
    code = """
        import os
        from importlib.resources import files
        print(open(files("pkg") / "data" / "one.txt").read())
        deep = files("pkg").joinpath("data", "more", "two.txt")
        print(sorted(os.listdir(files("pkg") / "data")), os.path.exists(deep))
    """
    assert pkg.said(code) == ["1", "['more', 'one.txt'] True"]


def test_data_of_namespace_packages_and_of_folders_without_init(pkg: World) -> None:
    code = """
        from importlib.resources import files
        print((files("space") / "inside.txt").read_text())
        print(sorted(child.name for child in files("space").iterdir() if child.name != "__pycache__"))
        print((files("space.only_data") / "x.txt").read_text(), (files("pkg.data") / "more" / "two.txt").read_text())
    """
    assert pkg.said(code) == ["in a namespace", "['inside.txt', 'only_data', 'part']", "x 2"]


def test_pkgutil(pkg: World) -> None:
    code = """
        import pkgutil, pkg
        print(pkgutil.get_data("pkg", "data/one.txt"), pkgutil.get_data("pkg.sub", "../text.txt") is not None)
        print([(m.name, m.ispkg) for m in pkgutil.iter_modules(pkg.__path__)])
        print([m.name for m in pkgutil.walk_packages(pkg.__path__, "pkg.")])
        print("pkg" in {m.name for m in pkgutil.iter_modules()})
        print(pkgutil.resolve_name("pkg.sub.deep").__name__, pkgutil.resolve_name("pkg.sub:__name__"))
        try:
            pkgutil.get_data("pkg", "nothing.txt")
        except OSError as error:
            print(type(error).__name__)
    """
    assert pkg.said(code) == [
        "b'1' True",
        "[('sub', True)]",
        "['pkg.sub', 'pkg.sub.deep']",
        "True",
        "pkg.sub.deep pkg.sub",
        "FileNotFoundError",
    ]


def test_metadata(pkg: World) -> None:
    code = """
        import importlib.metadata as metadata
        for name in ("Some.Pkg", "some-pkg", "some_pkg"):
            print(metadata.version(name))
        found = metadata.distribution("some-pkg")
        print(found.metadata["Name"], found.requires)
        files = {str(path): path for path in metadata.files("some.pkg")}
        print("pkg/text.txt" in files, files["pkg/data/one.txt"].read_text(), files["pkg/text.txt"].hash.mode)
        print(metadata.packages_distributions()["pkg"], "space" in metadata.packages_distributions())
        print(sum(d.metadata["Name"] == "Some.Pkg" for d in metadata.distributions()))
        try:
            metadata.version("no-such-thing")
        except metadata.PackageNotFoundError as error:
            print("PackageNotFoundError", error.name)
    """
    assert pkg.said(code) == [
        "1.2.3",
        "1.2.3",
        "1.2.3",
        "Some.Pkg ['other>=1', \"x; extra == 'e'\"]",
        "True 1 sha256",
        "['Some.Pkg'] True",
        "1",
        "PackageNotFoundError no-such-thing",
    ]


def test_entry_points_of_two_distributions_in_one_group(pkg: World) -> None:
    pkg.add("second", {"second.py": "thing = 'loaded'\n"}, entry_points="[a.group]\nsecond = second:thing\n")
    code = """
        from importlib.metadata import entry_points
        print(sorted((e.name, e.value, e.dist.name) for e in entry_points(group="a.group")))
        (second,) = entry_points(group="a.group", name="second")
        print(second.load())
        print([e.value for e in entry_points(group="console_scripts") if e.name == "tool"])
    """
    assert pkg.said(code) == [
        "[('first', 'pkg:thing', 'Some.Pkg'), ('second', 'second:thing', 'second')]",
        "loaded",
        "['pkg.sub:main']",
    ]


def test_the_backport_of_data_schemes(world: World) -> None:
    """purelib and platlib are merged; scripts, headers and data are somewhere else, or only listed."""
    files: dict[str, str | bytes] = {
        "a/__init__.py": "",
        "merged-1.data/purelib/a/pure.py": "X = 'pure'\n",
        "merged-1.data/platlib/a/plat.py": "X = 'plat'\n",
        "merged-1.data/scripts/tool": "#!python\nprint(1)\n",
        "merged-1.data/data/share/doc.txt": "",
    }
    world.add("merged", files)
    code = """
        import a.pure, a.plat, importlib.metadata
        print(a.pure.X, a.plat.X)
        print(any("tool" in str(path) for path in importlib.metadata.files("merged")))
    """
    # RECORD lists the script in every mode; from 3.12 on, files() leaves out what is not there, as a mount's isn't.
    is_listed = world.mode == "installed" or sys.version_info < (3, 12)
    assert world.said(code) == ["pure plat", str(is_listed)]
