"""The golden logs of ESP-IDF, FreeRTOS, Flipper, Mbed OS and Ameba, with what `heaptrail parse` prints for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.dialects import REGISTRY
from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "dialects"
MINE = ("ameba", "espidf", "flipper", "freertos", "mbed")
LOGS = sorted(log for name in MINE for log in (GOLDEN / name).glob("*.txt"))
ALL_LOGS = sorted(GOLDEN.glob("*/*.txt"))


def read(log: Path, dialect: str) -> list[AnyObservation]:
    return list(observe(log, ReadOptions(dialect=dialect)))


def title(log: Path) -> str:
    return f"{log.parent.name}/{log.stem}"


@pytest.mark.parametrize("log", LOGS, ids=title)
def test_a_golden_log_reads_as_accepted(log: Path, golden: Callable[[Path, str], None]) -> None:
    found = read(log, log.parent.name)

    assert found
    golden(log.with_suffix(".jsonl"), "".join(msgspec.json.encode(each).decode() + "\n" for each in found))


SPEAK_TOO: dict[str, set[str]] = {"espidf": {"firmware/board", "firmware/ugly"}}
"""Dialect to those of other systems' golden logs in which it finds something with good reason."""


@pytest.mark.parametrize("name", [name for name in MINE if name in REGISTRY])
def test_a_dialect_is_silent_on_the_logs_of_other_systems(name: str) -> None:
    others = [log for log in ALL_LOGS if log.parent.name != name and title(log) not in SPEAK_TOO.get(name, ())]

    spoken = {title(log): found[:2] for log in others if (found := [o for o in read(log, name) if o.dialect == name])}

    assert others
    assert not spoken
