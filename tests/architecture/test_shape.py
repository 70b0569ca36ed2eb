"""Rules about the code's shape that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_named_for_what_it_does(path: Path) -> None:
    lines = path.read_text().count("\n")

    assert lines <= 420, f"{path.name} has {lines} lines; divide it by what it decides"
    assert path.stem not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 66, f"{path.name}: {node.name} has {lines} lines"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_test_sleeps_and_each_asserts_something(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\btime\.sleep\(", text), "the clock is an argument; wait for an event with a deadline"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert _asserts(node, text), f"{path.name}: {node.name} asserts nothing"


def _asserts(function: ast.FunctionDef, text: str) -> bool:
    """An assert, pytest.raises, the golden fixture, or a call of a function of the same file that asserts or must end.

    `read_any` and its like assert by ending without an error: that is what a robustness test is about.
    """
    checkers = {
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and any(isinstance(inner, ast.Assert) for inner in ast.walk(node))
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if (
                called in {"raises", "fail", "golden"}
                or called in checkers
                or called.startswith(("check_", "read_any"))
            ):
                return True
    return False


def test_no_file_names_the_machine_it_was_written_on() -> None:
    pattern = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "pypi" + r"\.", "npm" + r"js\.", "debian" + r"\.org")))
    for path in [*MODULES, *TESTS, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"]:
        found = pattern.search(path.read_text(errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} holds {found.group() if found else ''}"
