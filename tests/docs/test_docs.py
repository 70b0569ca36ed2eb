"""Every command in the docs is run, and prints what the docs say.

A fenced block marked `console` holds commands after `$ ` and their output. `...` stands for anything (figures that
differ from run to run); runs of white space are equal. A block marked `toml` in a page about the workload file loads.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEADLINE_S = 120
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)


class Example(NamedTuple):
    page: Path
    line: int
    command: str
    expected: str


def examples() -> list[Example]:
    found = []
    for page in PAGES:
        if not page.exists():
            continue
        text = page.read_text()
        for block in _BLOCK.finditer(text):
            first_line = text.count("\n", 0, block.start()) + 2
            found.extend(_examples_of(page, first_line, block.group(1)))
    return found


def _examples_of(page: Path, first_line: int, block: str) -> list[Example]:
    found: list[Example] = []
    for offset, line in enumerate(block.splitlines(keepends=True)):
        if line.startswith("$ "):
            found.append(Example(page, first_line + offset, line[2:].strip(), ""))
        elif found:
            found[-1] = found[-1]._replace(expected=found[-1].expected + line)
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda e: f"{e.page.name}:{e.line}")
def test_a_command_in_the_docs_prints_what_the_docs_say(example: Example) -> None:
    # A make that runs these tests must not speak to the make that a page shows.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    environment = inherited | {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }

    done = subprocess.run(
        ["sh", "-c", example.command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    agrees = checker.check_output(example.expected, done.stdout, flags)
    assert agrees, f"{example.page.name}:{example.line}: $ {example.command}\nprinted:\n{done.stdout}"


def test_the_docs_have_commands_to_run() -> None:
    assert any(example.page.name == "README.md" for example in examples())
