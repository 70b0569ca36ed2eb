"""Reports on event streams: which run they are on, and what they say of those who free."""

from __future__ import annotations

import pytest
from streams import Row, alloc, cycle, freed, stream

from heaptrail.diagnose.history import diagnose_stream
from heaptrail.model.evidence import CaptureInfo
from heaptrail.model.report import Frame, Report
from heaptrail.model.stream import Kind, MarkKind, Stream
from heaptrail.model.verdict import JudgeSettings
from heaptrail.symbols import FakeSymbolizer

STOP = Row(Kind.MARK, task=MarkKind.WORKLOAD_STOP)
TABLE = {0x1000 * n: (Frame(pc=0x1000 * n, kind="call", function=f"f{n}"),) for n in range(1, 20)}
CAPTURE = CaptureInfo(name="s", format="stream", bytes_read=0, lines=0)


def report_on(told: Stream, settings: JudgeSettings | None = None) -> Report:
    symbols = FakeSymbolizer(TABLE)
    return diagnose_stream(told, (CAPTURE,), symbols, settings or JudgeSettings(), versions={}, options={})


def leaking(cycles: int) -> list[Row]:
    return [row for n in range(cycles) for row in (alloc(0x100 * n, 1), cycle(n))]


def cause(rows: list[Row]) -> str:
    return report_on(stream(rows)).findings[0].evidence[0]


def test_a_leak_that_ended_in_a_reset_is_told_from_the_run_before_it() -> None:
    rows = leaking(30)
    after = [alloc(0x40, 1), cycle(0), alloc(0x80, 1)]

    report = report_on(stream([*rows, *after], restarts=(len(rows),)))

    assert (report.verdict, report.cycles, report.boots) == ("leak", 30, 2)
    (problem,) = (each for each in report.problems if each.what == "one_run")
    assert problem.text == ("the device began anew 1 time; the report is on run 1, the one with the most cycles (30)")


def test_a_run_of_few_cycles_behind_the_warm_up_clears_nobody() -> None:
    report = report_on(stream([*leaking(9), STOP]), JudgeSettings(warmup_cycles=5))

    assert report.verdict == "inconclusive"
    assert "only 3 cycles behind the warm-up could show growth" in " ".join(report.findings[0].evidence)


def test_blocks_from_the_warm_up_are_not_called_young() -> None:
    rows = [alloc(0x10, 1), *(row for n in range(20) for row in (alloc(0x9000, 2), freed(0x9000), cycle(n))), STOP]

    report = report_on(stream(rows), JudgeSettings(warmup_cycles=5))

    assert report.verdict == "no_leak"
    assert report.findings[0].evidence[0].startswith("All of its old blocks were born in the warm-up")


def test_what_may_be_a_slow_leak_widens_the_bound() -> None:
    quiet = [row for n in range(30) for row in (alloc(0x9000, 2), freed(0x9000), cycle(n))]
    twice = [*quiet[:12], alloc(0x10, 1), *quiet[12:30], alloc(0x20, 1), *quiet[30:]]

    bounds = [report_on(stream([*rows, STOP])).upper_bound for rows in (quiet, twice)]

    assert [round(bound.bytes_per_cycle, 1) if bound else None for bound in bounds] == [39.3, 71.7]


@pytest.mark.parametrize(
    ("frees", "says"),
    [
        ([], "Allocated 1 per cycle in f1, never freed."),
        ([freed(0x1D00, 11)], "Allocated 1 per cycle in f1, freed only by f11, which ran once."),
        ([freed(0x1D00, 11), freed(0x1C00, 11)], "freed only by f11, which freed 2 blocks, always after the stop."),
        ([freed(0x1D00, 11), freed(0x1C00, 12)], "freed by f11 (1 block), f12 (1 block), always after the stop."),
        ([freed(0x1D00, 0)], "Allocated 1 per cycle in f1; 1 block freed by code without a backtrace, always"),
        ([freed(0x1D00, 11), freed(0x1C00, 0)], "freed by f11 (1 block), code without a backtrace (1 block)"),
        ([freed(0x100 * n, 11 + n % 5) for n in range(5)], "f13 (1 block), 2 more places (2 blocks), always"),
    ],
)
def test_who_frees_is_told_by_blocks_and_never_by_more_than_was_seen(frees: list[Row], says: str) -> None:
    assert says in cause([*leaking(30), STOP, *frees])


def test_what_is_allocated_and_what_stays_are_told_apart() -> None:
    rows = [
        row
        for n in range(30)
        for row in (alloc(0x100 * n, 1), alloc(0x9000, 1), alloc(0xA000, 1), freed(0x9000), freed(0xA000), cycle(n))
    ]

    assert cause([*rows, STOP]) == (
        "Allocated 3 per cycle (of which 1 stays) in f1, freed only by f9, which freed 60 blocks."
    )
