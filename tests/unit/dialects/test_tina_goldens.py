"""Whole logs of Tina RTOS, ugly ones among them, and what `heaptrail parse` prints for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "dialects" / "tina"
LOGS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("log", LOGS, ids=[log.stem for log in LOGS])
def test_a_log_reads_as_before(log: Path, golden: Callable[[Path, str], bool]) -> None:
    lines = [msgspec.json.encode(observation).decode() for observation in observe(log, ReadOptions(dialect="tina"))]

    assert golden(log.with_suffix(".jsonl"), "\n".join(lines) + "\n")


@pytest.mark.parametrize("log", LOGS, ids=[log.stem for log in LOGS])
def test_asking_all_dialects_gives_the_same(log: Path) -> None:
    """Other consoles print task tables and complaints that look alike; none is to be read twice."""
    named, asked = (
        sorted(msgspec.json.encode(observation) for observation in observe(log, ReadOptions(dialect=dialect)))
        for dialect in ("tina", "auto")
    )

    assert asked == named
