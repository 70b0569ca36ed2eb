"""`heaptrail diff` on files: reports, captures, what is neither; and its exit status for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unit.reports import samples

from heaptrail.reports.jsonfile import JsonRenderer

if TYPE_CHECKING:
    from conftest import Heaptrail

CASE = Path(__file__).resolve().parents[1] / "golden" / "dialects" / "tina" / "case-markdown.txt"


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Path]:
    paths = {}
    for name in ("leak", "no_leak", "bare_log"):
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_bytes(JsonRenderer().render(samples.SAMPLES[name]()))
    return paths


@pytest.mark.parametrize(
    ("pair", "status", "says"),
    [
        (("no_leak", "leak"), 1, "Worse: new leak in "),
        (("leak", "leak"), 0, "No worse: the leak in "),
        (("leak", "no_leak"), 0, "Better: the leak in "),
        (("leak", "bare_log"), 3, "Inconclusive: the second run settles nothing: free memory fell"),
    ],
)
def test_the_exit_status_is_about_what_is_new(
    heaptrail: Heaptrail, saved: dict[str, Path], pair: tuple[str, str], status: int, says: str
) -> None:
    done = heaptrail("diff", *(saved[name] for name in pair))

    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.startswith(says)


def test_a_capture_is_read_where_no_report_is_given(heaptrail: Heaptrail, saved: dict[str, Path]) -> None:
    done = heaptrail("diff", CASE, saved["leak"], "--format", "json")

    assert done.returncode == 3
    assert json.loads(done.stdout)["before"]["captures"] == [CASE.name]


def test_the_suffix_says_the_format(heaptrail: Heaptrail, saved: dict[str, Path], tmp_path: Path) -> None:
    done = heaptrail("diff", saved["no_leak"], saved["leak"], "-o", "diff.md", "-o", "diff.json")

    assert done.returncode == 1
    assert (tmp_path / "diff.md").read_text().startswith("### \u274c Worse")
    assert json.loads((tmp_path / "diff.json").read_text())["outcome"] == "worse"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.json", "missing.json"), "missing.json cannot be read"),
        (("{leak}", "{leak}", "-o", "diff.pdf"), "the suffix of diff.pdf"),
        (("{leak}", "{leak}", "--format", "sarif"), "cannot be written as 'sarif'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    heaptrail: Heaptrail, saved: dict[str, Path], arguments: tuple[str, ...], says: str
) -> None:
    done = heaptrail("diff", *(argument.format(leak=saved["leak"]) for argument in arguments))

    assert done.returncode == 2
    assert says in done.stderr
    assert "\ntry: " in done.stderr
