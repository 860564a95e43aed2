"""README's examples run, its table of the API is true, and no page links to nothing."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from fixtures.wheels import make_wheel
from tests.loopback import LoopbackIndex

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def example_index(index: LoopbackIndex) -> LoopbackIndex:
    index.add("humanize", "4.9", {"humanize.py": "def naturalsize(n):\n    return f'{n / 1e6} MB'\n"})
    filename, data = make_wheel("tool", "1.0", {"tool.py": "def main():\n    print('the tool ran')\n"})
    index.extra[f"/files/{filename}"] = data
    return index


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_examples(example_index: LoopbackIndex, block: str, tmp_path: Path) -> None:
    code = block.replace("https://index.example/", example_index.root)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["3.0 MB", "the tool ran"]


@pytest.mark.parametrize("block", _blocks("console"))
def test_console_examples(example_index: LoopbackIndex, block: str, tmp_path: Path) -> None:
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-euc", block], capture_output=True, text=True, check=True, cwd=tmp_path, env=environ
    )
    assert done.stdout == "3.0 MB\n"


def test_there_are_examples() -> None:
    assert _blocks("python")
    assert _blocks("console")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_of_the_readme_exist() -> None:
    from remote_wheel.cli.commands import make_parser

    documented = set(re.findall(r"^\| `remote-wheel (\w+)", README, re.MULTILINE))
    assert documented >= {"run", "demo"}
    for command in documented:
        assert re.search(rf"^\s+{command}\s", make_parser().format_help(), re.MULTILINE), command


def test_no_registry_host_is_named() -> None:
    hosts = ("pypi" + ".org", "python" + "hosted", "npm" + "js")
    for path in (
        *PAGES,
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "fixtures").rglob("*"),
    ):
        if path.is_file() and "embedded_index" not in path.parts and "__pycache__" not in path.parts:
            text = path.read_text("utf-8", "replace")
            assert not any(host in text for host in hosts), path


def test_every_supported_feature_names_its_test() -> None:
    page = (ROOT / "docs" / "reference" / "supported.md").read_text("utf-8")
    named = re.findall(r"\| `(test_\w+)` \|$", page, re.MULTILINE)
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 30
    for name in named:
        assert f"def {name}(" in sources, name
    programs = len(list((ROOT / "tests" / "real_use" / "programs").glob("*.py")))
    assert f"has {programs} programs" in page
