"""The page for scripts and notebooks is a notebook: its cells run in a Jupyter kernel, and show what the page says."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scripts-and-notebooks.md"
DEADLINE_S = 120
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
CELL = re.compile(r"^```python\n(?P<code>.*?)^```\n+(?:^```text\n(?P<shown>.*?)^```)?", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def demo() -> Path:
    """What `make demo` leaves behind, of the player that is built now."""
    capture, player = ROOT / "out" / "demo" / "capture.cast", ROOT / "out" / "rtplayer" / "rtplayer"
    if not capture.exists() or not player.exists() or capture.stat().st_mtime < player.stat().st_mtime:
        subprocess.run(["make", "-s", "demo"], cwd=ROOT, check=True, timeout=DEADLINE_S, capture_output=True)
    return ROOT


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client, not ours
def test_the_page_runs_as_a_notebook(demo: Path) -> None:
    cells = list(CELL.finditer(PAGE.read_text()))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell["code"]) for cell in cells])

    NotebookClient(notebook, timeout=DEADLINE_S, resources={"metadata": {"path": str(demo)}}).execute()

    assert len(cells) > 5
    for cell, done in zip(cells, notebook.cells, strict=True):
        said = shown(done.outputs)
        expected = cell["shown"] or ""
        assert doctest.OutputChecker().check_output(expected, said, FLAGS), f"{cell['code']}\nshowed:\n{said}"
    assert any("text/html" in output.get("data", {}) for done in notebook.cells for output in done.outputs)


def shown(outputs: list[Any]) -> str:
    """What stands under a cell, as text."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(text.rstrip("\n") for text in texts) + "\n" if texts else ""
