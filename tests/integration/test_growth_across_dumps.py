"""Two dumps or more in one log: what is still arriving is told from what came once, as users see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.interpret import Interpretation, interpret
from heaptrail.reading import ReadOptions
from heaptrail.reports.terminal import TerminalRenderer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from heaptrail.model.report import Report


def stack(site: int) -> list[str]:
    return [f"0x400d{0x1000 + 0x100 * site:04x}", "0x400d9000"]


def esp_idf(*sites: Sequence[Sequence[int]]) -> str:
    """Leak traces as heap_trace_dump() prints them from v5.1 on."""
    lines: list[str] = []
    for held in zip(*sites, strict=True):
        rows = [
            f"  {64 + 16 * site:6d} bytes (@ 0x{0x3FFB0000 + 0x4000 * site + 0x80 * number:08x}, Internal) allocated "
            f"CPU 0 ccount 0x{number:08x} caller {':'.join(stack(site))}"
            for site, numbers in enumerate(held)
            for number in numbers
        ]
        size = sum(64 + 16 * site for site, numbers in enumerate(held) for _ in numbers)
        lines += [
            f"====== Heap Trace: {len(rows)} records (256 capacity) ======",
            *rows,
            "====== Heap Trace Summary ======",
            "Mode: Heap Trace Leaks",
            f"{size} bytes 'leaked' in trace ({len(rows)} allocations)",
            f"records: {len(rows)} (256 capacity, {len(rows)} high water mark)",
            "total allocations: 90",
            "total frees: 60",
            "================================",
        ]
    return "\n".join(lines) + "\n"


def nuttx(*sites: Sequence[Sequence[int]]) -> str:
    """`memdump used` with sequence numbers, which date a block only against others."""
    lines: list[str] = []
    for held in zip(*sites, strict=True):
        rows = [
            f"{4:6d}{64 + 16 * site:12d}{100 * site + number:12d} 0x{0x20010000 + 0x4000 * site + 0x80 * number:08x} "
            f"{' '.join(stack(site))}"
            for site, numbers in enumerate(held)
            for number in numbers
        ]
        size = sum(64 + 16 * site for site, numbers in enumerate(held) for _ in numbers)
        lines += [
            "nsh> memdump used",
            "Dump all used memory node info:",
            "   PID        Size    Sequence    Address Backtrace",
            *rows,
            "  Total Blks  Total Size",
            f"{len(rows):12d}{size:12d}",
        ]
    return "\n".join(lines) + "\n"


def read(folder: Path, text: str) -> Report:
    log = folder / "console.log"
    log.write_text(text)
    return interpret([log], ReadOptions(), Interpretation())


def classes(report: Report) -> dict[str, str]:
    """The class of each site, by its first frame."""
    return {f"0x{site.frames[0].pc:x}": finding.finding_class for finding in report.findings for site in finding.sites}


ARRIVING = [range(2), range(5), range(8), range(11)]
SAME = [[1, 2]] * 4
ONCE = [[], [1, 2], [1, 2], [1, 2]]
CHANGING = [[1], [1, 2, 3], [2, 3], [3, 4, 5]]
LATE = [[1], [1], [1], range(1, 30)]


@pytest.mark.parametrize("system", [esp_idf, nuttx], ids=["espidf", "nuttx"])
def test_sites_are_told_apart_by_dumps_alone(tmp_path: Path, system: object) -> None:
    assert callable(system)
    report = read(tmp_path, system(ARRIVING, SAME, ONCE, CHANGING, LATE))

    found = classes(report)
    assert report.verdict == "leak"
    assert found["0x400d1000"] == "leak"
    assert found["0x400d1100"] == "one_time"
    assert found["0x400d1200"] == "one_time"
    assert found["0x400d1300"] == "in_flight"
    assert found["0x400d1400"] == "undecided"
    shown = TerminalRenderer().render(report).decode()
    assert "2, 5, 8, 11 blocks live at 4 dumps" in " ".join(shown.split())


def test_what_came_before_the_last_dump_is_counted_whole(tmp_path: Path) -> None:
    report = read(tmp_path, esp_idf(LATE))

    assert (
        report.findings[0].evidence[0].startswith("28 blocks added before the last dump (1, 1, 1, 29 live at 4 dumps)")
    )


@pytest.mark.parametrize("system", [esp_idf, nuttx], ids=["espidf", "nuttx"])
def test_two_dumps_name_what_came_and_ask_for_a_third(tmp_path: Path, system: object) -> None:
    assert callable(system)
    report = read(tmp_path, system([range(2), range(20)], [[1], [1]]))

    assert report.verdict == "inconclusive"
    assert classes(report) == {"0x400d1000": "undecided", "0x400d1100": "one_time"}
    assert "18 blocks added between two dumps: a third one shows" in report.findings[0].evidence[0]
