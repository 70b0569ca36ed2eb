"""The free-heap curve of a report: readings by heap, thinned so that a week's log still opens at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.model.report import Point, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.evidence import Evidence
    from heaptrail.model.observations import HeapSample
    from heaptrail.model.verdict import Fit

_POINTS_AT_MOST = 4_000
"""Two points for every pixel of a wide screen; more cannot be seen."""


def report_series(evidence: Evidence, fits: Sequence[Fit]) -> tuple[Series, ...]:
    """One series for each heap, in the order in which the heaps first appear."""
    by_heap: dict[str | None, list[HeapSample]] = {}
    for sample in evidence.samples:
        if sample.free_bytes is not None:
            by_heap.setdefault(sample.heap, []).append(sample)
    return tuple(
        Series(
            heap=heap,
            total_bytes=next((s.total_bytes for s in reversed(samples) if s.total_bytes is not None), None),
            readings=len(samples),
            points=tuple(_point(sample) for sample in _thinned(samples)),
            fits=tuple(fit for fit in fits if fit.heap == heap),
        )
        for heap, samples in by_heap.items()
    )


def _thinned(samples: list[HeapSample]) -> list[HeapSample]:
    """At most `_POINTS_AT_MOST` readings: of each run of neighbours in one boot the lowest and the highest stay.

    Keeping extremes keeps what a person looks for, the envelope and the dips; a mean would invent readings.
    """
    if len(samples) <= _POINTS_AT_MOST:
        return samples
    run = -(-2 * len(samples) // _POINTS_AT_MOST)
    kept: list[HeapSample] = []
    for start in range(0, len(samples), run):
        chunk = samples[start : start + run]
        extremes = {
            id(s): s for boot in {s.boot for s in chunk} for s in _extremes([s for s in chunk if s.boot == boot])
        }
        kept.extend(s for s in chunk if id(s) in extremes)
    return kept


def _extremes(samples: list[HeapSample]) -> tuple[HeapSample, HeapSample]:
    return min(samples, key=_free), max(samples, key=_free)


def _free(sample: HeapSample) -> int:
    assert sample.free_bytes is not None
    return sample.free_bytes


def _point(sample: HeapSample) -> Point:
    return Point(
        boot=sample.boot,
        line=sample.line,
        free_bytes=_free(sample),
        cycle=sample.cycle,
        t_s=sample.t_s,
        min_free_bytes=sample.min_free_bytes,
        largest_free_bytes=sample.largest_free_bytes,
        tracer=sample.tracer,
    )
