"""Reports for an assistant: made once, made again when a file changes, given up when they take too long."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from heaptrail.assistant.folders import Folders
from heaptrail.assistant.shelf import Run, Shelf
from heaptrail.errors import UsageError

CASE = Path(__file__).resolve().parents[2] / "golden" / "dialects" / "tina" / "case-markdown.txt"


class Clock:
    """A clock that jumps by `step_s` at each look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def monotonic(self) -> float:
        self.now_s += self.step_s
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def shelf(folder: Path, clock: Clock | None = None) -> Shelf:
    return Shelf(Folders([folder]), clock=clock or Clock(), today=lambda: date(2026, 1, 2))


def test_a_report_is_kept_until_its_file_changes(tmp_path: Path) -> None:
    log = Path(shutil.copy(CASE, tmp_path / "case.txt"))
    kept = shelf(tmp_path)
    first = kept.report(Run(paths=("case.txt",)))

    assert kept.report(Run(paths=("case.txt",))) is first
    log.write_text(log.read_text() + "\n")
    assert kept.report(Run(paths=("case.txt",))) is not first


def test_a_reading_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    shutil.copy(CASE, tmp_path / "case.txt")

    with pytest.raises(UsageError, match="reading took longer than 60 s"):
        shelf(tmp_path, Clock(step_s=61)).report(Run(paths=("case.txt",)))


def test_a_cycle_text_is_text_and_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("round (a+)+$\n" * 3)

    report = shelf(tmp_path).report(Run(paths=("a.log",), cycle_text="(a+)+$"))

    assert report.cycles == 3


@pytest.mark.parametrize("paths", [(), ("case.txt",) * 501])
def test_a_run_has_some_files_and_not_too_many(tmp_path: Path, paths: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="named as one run"):
        shelf(tmp_path).report(Run(paths=paths))
