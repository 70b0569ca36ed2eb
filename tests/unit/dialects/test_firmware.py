"""What any firmware may print of its own: read as such, unless the log shows whose firmware it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import HeapSample, Problem
from heaptrail.reading import ReadOptions, observe
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.observations import AnyObservation

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "dialects" / "firmware"


def read(*lines: str, dialect: str = "auto") -> list[AnyObservation]:
    system = None if dialect == "auto" else dialect
    session = Session(make_dialects(dialect, DEFAULT_LIMITS), DEFAULT_LIMITS, system=system)
    found = list(session.chunk(Chunk("".join(f"{line}\n" for line in lines).encode())))
    return found + list(session.finish())


@pytest.mark.parametrize("log", sorted(GOLDEN.glob("*.txt")), ids=lambda log: log.stem)
def test_a_golden_log_reads_as_accepted(log: Path, golden: Callable[[Path, str], None]) -> None:
    found = list(observe(log, ReadOptions(dialect="firmware")))

    golden(log.with_suffix(".jsonl"), "".join(msgspec.json.encode(each).decode() + "\n" for each in found))


def test_free_heap_on_an_unknown_board_is_not_called_esp_idfs() -> None:
    (sample,) = read("xmc4500 monitor", "Free heap: 41216")

    assert isinstance(sample, HeapSample)
    assert (sample.free_bytes, sample.dialect) == (41216, "firmware")


@pytest.mark.parametrize(
    "sign",
    [
        "I (310) wifi: mode",
        "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
        "8 bytes (@ 0x3ffb5e10) allocated CPU 0 ccount 0x0a8b1e60 caller 0x400d2b6c",
        "ESP.getFreeHeap() = 41000",
        "[D][main.cpp:78] loop(): Free heap: 41000",
    ],
)
def test_free_heap_is_esp_idfs_where_the_log_shows_the_chip(sign: str) -> None:
    *_, sample = [each for each in read(sign, "Free heap: 41216") if isinstance(each, HeapSample)]

    assert (sample.free_bytes, sample.dialect) == (41216, "espidf")


def test_a_named_dialect_counts_before_what_the_log_shows() -> None:
    (sample,) = read("Free heap: 41216", dialect="espidf")

    assert sample.dialect == "espidf"


@pytest.mark.parametrize(
    "text", ["net: malloc failed, drop", "softvol_ap_update_mode: no memory", "[E] pvPortMalloc failed, size 3840"]
)
def test_a_failed_allocation_of_an_unknown_board_is_not_called_tinas(text: str) -> None:
    (failed,) = read(text)

    assert isinstance(failed, Problem)
    assert (failed.what, failed.dialect) == ("alloc_failed", "firmware")


def test_both_dialects_do_not_read_a_line_twice() -> None:
    found = read("ESP.getFreeHeap() = 41000", "Free heap: 41216", "Free heap: 41200")

    assert [each.line for each in found if isinstance(each, HeapSample)] == [1, 2, 3]


def test_lines_of_files_cards_and_other_systems_are_nobodys() -> None:
    text = (GOLDEN / "ugly.txt").read_text(encoding="utf-8").splitlines()

    found = read(*text)

    assert [each.free_bytes for each in found if isinstance(each, HeapSample)] == [99]
    assert {each.dialect for each in found if each.dialect is not None} == {"firmware"}
