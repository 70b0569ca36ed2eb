"""The case's figures, as its document shows them: a Markdown page is the log.

The golden page holds the same figures; the document itself is read too where it lies beside the repository.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from heaptrail.reading import ReadOptions, read_logs

ROOT = Path(__file__).resolve().parents[2]
CASE = ROOT.parent / "shared" / "case" / "r128-memleak-case.zh.md"
PAGE = ROOT / "tests" / "golden" / "dialects" / "tina" / "case-markdown.txt"


@pytest.mark.parametrize("page", [page for page in (PAGE, CASE) if page.exists()], ids=lambda page: page.name)
def test_the_page_itself_is_a_log(page: Path) -> None:
    evidence = read_logs([page], ReadOptions())

    assert [(s.total_bytes, s.free_bytes, s.min_free_bytes) for s in evidence.samples] == [
        (1907128, 547632, 536208),
        (1907128, 456992, 453440),
    ]
    assert [task.rows for task in evidence.tasks] == [2] * 26
    (live,) = evidence.dumps
    assert [(block.address, block.size_bytes, block.task) for block in live.blocks] == [
        (0x08760960, 0xF00, "AudioRender"),
        (0x0875F990, 0xF00, "AudioRender"),
    ]
    assert [len(block.frames) for block in live.blocks] == [6, 6]
    assert live.dump.complete is False
    assert [(problem.what, problem.text) for problem in evidence.problems] == [
        ("missing_records", "the listing lacks the records 001-006")
    ]
    assert evidence.boots == 1
    assert evidence.footprint is None, "eight digits are printed by 64-bit chips as well"
    assert {sample.tracer for sample in evidence.samples} == {None}, "prose about `memleak 1` is no command"
