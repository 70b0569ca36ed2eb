"""Several heaps in one log: each has its own curve, whatever the lines call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.interpret import Interpretation, interpret
from heaptrail.model.observations import Mark, Problem
from heaptrail.reading import ReadOptions, observe

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.model.report import Report


def read(folder: Path, text: str) -> Report:
    log = folder / "console.log"
    log.write_text(text)
    return interpret([log], ReadOptions(), Interpretation())


def table(free: int, low: int) -> str:
    rows = (("Total Heap Size", 1_907_128), ("           Free", free), ("       Min Free", low))
    return "".join(f"{label} : {value:8d} Bytes    ({value >> 10:5d} KB)\n" for label, value in rows)


def test_the_allocators_table_and_the_applications_line_are_two_series(tmp_path: Path) -> None:
    text = "".join(table(547_632, 547_000) + "app: free heap: 90000, minimum free heap: 80000\n" for _ in range(8))

    report = read(tmp_path, text)

    assert {series.heap: series.readings for series in report.series} == {None: 8, "firmware": 8}
    assert all(len({point.free_bytes for point in series.points}) == 1 for series in report.series)


def test_the_least_of_another_heap_is_no_sign_of_a_reset(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("".join(table(547_632, 547_000) + "app: minimum free heap: 80000\n" for _ in range(3)))

    found = list(observe(log, ReadOptions()))

    assert not [each for each in found if isinstance(each, Mark | Problem)]


def test_an_esp_that_shows_itself_late_has_one_series(tmp_path: Path) -> None:
    report = read(tmp_path, "Free heap: 41000\nI (310) app: Free heap: 40900\nFree heap: 40800\n")

    assert {series.heap: series.readings for series in report.series} == {None: 3}


def test_named_heaps_are_apart(tmp_path: Path) -> None:
    heading = "      total       used       free    maxused    maxfree  nused  nfree name\n"
    rows = "     524288      90112     434176     101376     430080     44      2 Umem\n"
    rows += "     262144      60112     202032      61376     200080     24      2 Kmem\n"

    report = read(tmp_path, (f"nsh> free\n{heading}{rows}" + "internal free heap: 5000\nfree psram: 4000000\n") * 4)

    assert {series.heap: series.readings for series in report.series} == dict.fromkeys(
        ("Umem", "Kmem", "internal", "psram"), 4
    )
