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
def test_a_log_reads_as_before(log: Path, golden: Callable[[Path, str], None]) -> None:
    lines = [msgspec.json.encode(observation).decode() for observation in observe(log, ReadOptions(dialect="tina"))]

    golden(log.with_suffix(".jsonl"), "\n".join(lines) + "\n")
