"""The curve of a long night is thinned, and keeps what a person looks for."""

from __future__ import annotations

from heaptrail.diagnose.curve import report_series
from heaptrail.model.evidence import Evidence
from heaptrail.model.observations import HeapSample


def samples(count: int, *, dip_at: int) -> tuple[HeapSample, ...]:
    return tuple(
        HeapSample(
            line=n, total_bytes=2_000_000, free_bytes=10 if n == dip_at else 500_000 + n % 7, boot=1 + n // 9_000
        )
        for n in range(count)
    )


def test_a_short_series_is_kept_whole() -> None:
    (series,) = report_series(Evidence(samples=samples(100, dip_at=5)), ())

    assert len(series.points) == series.readings == 100


def test_a_single_dip_survives_thinning_in_its_place_and_boot() -> None:
    (series,) = report_series(Evidence(samples=samples(18_000, dip_at=7_777)), ())

    assert len(series.points) <= 4_100
    assert series.readings == 18_000
    assert [(p.line, p.free_bytes) for p in series.points if p.free_bytes < 1_000] == [(7_777, 10)]
    assert [p.line for p in series.points] == sorted(p.line for p in series.points)
    assert {p.boot for p in series.points} == {1, 2}


def test_heaps_are_kept_apart_and_readings_without_a_free_figure_are_left_out() -> None:
    mixed = (
        HeapSample(line=1, heap="sram", free_bytes=10),
        HeapSample(line=2, heap="dram", free_bytes=20),
        HeapSample(line=3, heap="dram", used_bytes=5),
    )

    assert [(s.heap, s.readings) for s in report_series(Evidence(samples=mixed), ())] == [("sram", 1), ("dram", 1)]
