"""A notebook, executed headlessly by a real kernel, whose event loop is running."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.loopback import LoopbackIndex

pytestmark = pytest.mark.filterwarnings("default")  # what its libraries warn each other of


@pytest.fixture
def shop(index: LoopbackIndex) -> LoopbackIndex:
    index.add("app", "1", {"app.py": "V = 1\n"}, requires=["lib"])
    index.add("app", "2", {"app.py": "V = 2\n"}, requires=["lib"])
    index.add("lib", "1", {"lib/__init__.py": "V = 'lib'\n"})
    index.add("space-pkg", "1", {"space/pkg/__init__.py": "V = 'space'\n"})
    return index


def execute(folder: Path, *cells: str) -> list[list[Any]]:
    """Return the outputs of each cell."""
    v4: Any = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return [list(cell["outputs"]) for cell in notebook["cells"]]


def text(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") for output in outputs)


def test_magics(shop: LoopbackIndex, tmp_path: Path) -> None:
    done = execute(
        tmp_path,
        "import asyncio; asyncio.get_running_loop(); print('loop')",
        "%load_ext remote_wheel",
        "%require app<2 lib\nprint(app.V, lib.V)",
        "%require space-pkg --no-prefer-installed\nprint(space.pkg.V)",
        "%%with_environment app==2\nimport app as newer\nprint(newer.V)",
        "import app as again; print(again.V, newer.V)",
        "import remote_wheel; print(remote_wheel.explain('app'))",
        "%reload_ext remote_wheel\n%unload_ext remote_wheel",
    )
    assert [text(outputs).splitlines()[:1] for outputs in done] == [
        ["loop"], [], ["1 lib"], ["space"], ["2"], ["1 2"], ["app 1"], [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("%require nothing-like-it", "project 'nothing-like-it' was not found"),
        ("%require", "no requirement given"),
        ("%require app --colour", "is not requirements and options"),
        ("%%with_environment app>=9\npass", "no version satisfies"),
        ("%%with_environment app\n1 / 0", "ZeroDivisionError"),
    ],
)
def test_errors_in_a_notebook(shop: LoopbackIndex, tmp_path: Path, cell: str, reason: str) -> None:
    with pytest.raises(CellExecutionError, match=reason) as caught:
        execute(tmp_path, "%load_ext remote_wheel", cell)
    assert "notebook.py" not in str(caught.value) or "Zero" in reason


def test_progress_is_drawn_in_the_cell_and_taken_away(shop: LoopbackIndex, tmp_path: Path) -> None:
    shop.hang_s = 0.25
    code = """
        import remote_wheel.api.notebook as notebook
        seen = []
        drawn = notebook._drawn
        notebook._drawn = lambda *facts: seen.append(facts[0]) or drawn(*facts)
    """
    import textwrap

    _, second = execute(tmp_path, "%load_ext remote_wheel" + textwrap.dedent(code), "%require app\nprint(seen)")
    assert "Resolving: " in text(second)
    shown = [output for output in second if output["output_type"] == "display_data"]
    assert len(shown) == 1
    assert shown[0]["data"] == {"text/plain": "", "text/html": ""}


def test_a_cell_in_an_environment_is_a_cell_as_any_other(shop: LoopbackIndex, tmp_path: Path) -> None:
    """It may await, its lines keep their numbers, and an error is shown once; the environment ends with it."""
    (tmp_path / "r.txt").write_text("app==1\n")
    cell = (
        '%%with_environment app==2\nimport app, asyncio\nawait asyncio.sleep(0)\nx = """a\n  b"""\nprint(app.V, len(x))'
    )
    done = execute(
        tmp_path,
        "%load_ext remote_wheel",
        cell,
        "import sys; print('app' in sys.modules, x)",
        "%%with_environment -r r.txt\nimport app; print(app.V)",
    )
    assert [text(outputs) for outputs in done] == ["", "2 5\n", "False a\n  b\n", "1\n"]
    failing = "%%with_environment app==2\nimport app\n1 / 0"
    v4: Any = nbformat.v4
    notebook = v4.new_notebook(
        cells=[
            v4.new_code_cell(c) for c in ("%load_ext remote_wheel", failing, "import sys; print('app' in sys.modules)")
        ]
    )
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    _, failed, after = notebook["cells"]
    assert [output["output_type"] for output in failed["outputs"]] == ["error"]
    assert text(after["outputs"]) == "False\n"
