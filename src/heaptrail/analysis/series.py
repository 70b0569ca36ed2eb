"""Heap readings as curves: one per heap and boot, only readings that may be compared with one another.

A cycle is represented by the highest `free` seen in it: whatever a cycle holds for a while lowers the other readings,
and only what stays lowers this one. `min_free` is a running minimum that falls without any leak and is never used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heaptrail.model.observations import HeapSample

FloatArray = NDArray[np.float64]
Axis = Literal["cycle", "hour", "reading"]

_MAX_ANCHORS = 240  # more points do not sharpen the fit, they only cost (its step search is quadratic)
_FEW_READINGS = 48  # up to here each timed reading is its own point
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one boot: `x` in the series' unit, `free` in bytes; `largest` where the log prints it.

    `swing` is the usual distance in bytes between the highest and the lowest reading that one point stands for.
    """

    boot: int
    x: FloatArray
    free: FloatArray
    largest: FloatArray | None = None
    swing: float = 0.0


@dataclass(frozen=True, slots=True)
class HeapSeries:
    """Comparable readings of one heap.

    Args:
        heap: Its name, None where the system has one unnamed heap.
        unit: What `x` counts: cycles completed in the boot, hours since the capture's start, or mere order.
        tracer: True when only readings taken with the tracer on were there to use.
        curves: One per boot, in order of boots.
        readings: How many readings went in.
        left_out: Readings set aside because the tracer's state differs.
        first_free, last_free: The first and last comparable reading, in bytes.
        hours_per_cycle: Mean length of a cycle, None where times or cycles are unknown.
        uneven_cycles: The cycles' lengths vary by more than a fifth.
        min_free_bytes: Lowest low-water mark printed, for peak risk only.
    """

    heap: str | None
    unit: Axis
    tracer: bool
    curves: tuple[Curve, ...]
    readings: int
    left_out: int
    first_free: float
    last_free: float
    hours_per_cycle: float | None
    uneven_cycles: bool

    @property
    def idle_free(self) -> float:
        """What a cycle leaves free at the end of the run: the last point of the last boot, in bytes."""
        return float(self.curves[-1].free[-1]) if self.curves else self.last_free

    @property
    def swing(self) -> float:
        """The usual distance between the highest and the lowest reading within a point, in bytes."""
        return max((curve.swing for curve in self.curves), default=0.0)

    @property
    def points(self) -> int:
        """Number of points over all boots."""
        return sum(len(curve.x) for curve in self.curves)

    @property
    def last_x(self) -> float:
        """Where the longest boot ends, in the series' unit, counted from that boot's start."""
        return max((float(curve.x[-1]) for curve in self.curves), default=0.0)


def free_bytes(sample: HeapSample) -> float | None:
    """What the reading says is free: printed, or the difference of the printed total and used; None when neither."""
    if sample.free_bytes is not None:
        return float(sample.free_bytes)
    if sample.total_bytes is not None and sample.used_bytes is not None:
        return float(sample.total_bytes - sample.used_bytes)
    return None


def heap_series(samples: Iterable[HeapSample]) -> tuple[HeapSeries, ...]:
    """One series per heap, in the order in which the heaps appear; those without a usable reading are left out."""
    by_heap: dict[str | None, list[HeapSample]] = defaultdict(list)
    for sample in samples:
        if free_bytes(sample) is not None:
            by_heap[sample.heap].append(sample)
    return tuple(_one_series(heap, group) for heap, group in by_heap.items())


def _one_series(heap: str | None, group: Sequence[HeapSample]) -> HeapSeries:
    chosen, tracer = _comparable(group)
    unit = _axis(chosen)
    curves = tuple(_curves(chosen, unit))
    frees = [free_bytes(sample) or 0.0 for sample in chosen]
    hours, uneven = _cycle_length(chosen)
    return HeapSeries(
        heap=heap,
        unit=unit,
        tracer=tracer,
        curves=curves,
        readings=len(chosen),
        left_out=len(group) - len(chosen),
        first_free=frees[0],
        last_free=frees[-1],
        hours_per_cycle=hours,
        uneven_cycles=uneven,
    )


def _comparable(group: Sequence[HeapSample]) -> tuple[Sequence[HeapSample], bool]:
    """The readings of one tracer state: off (or untold) unless those are too few to show anything and on are more."""
    traced = [sample for sample in group if sample.tracer == "on"]
    plain = [sample for sample in group if sample.tracer != "on"]
    moments = len({(sample.boot, sample.cycle, sample.t_s) for sample in plain})
    if not plain or (moments < 3 and len(traced) > len(plain)):
        return traced, True
    return plain, False


def _axis(group: Sequence[HeapSample]) -> Axis:
    if len({(sample.boot, sample.cycle) for sample in group if sample.cycle is not None}) >= 2:
        return "cycle"
    times = {sample.t_s for sample in group if _is_time(sample.t_s)}
    return "hour" if len(times) >= 2 else "reading"


def _is_time(t_s: float | None) -> bool:
    return t_s is not None and math.isfinite(t_s)


def _position(sample: HeapSample, unit: Axis, index: int) -> float | None:
    if unit == "cycle":
        return None if sample.cycle is None else float(sample.cycle)
    if unit == "hour":
        return sample.t_s / _SECONDS_PER_HOUR if sample.t_s is not None and math.isfinite(sample.t_s) else None
    return float(index)


def _curves(group: Sequence[HeapSample], unit: Axis) -> Iterable[Curve]:
    by_boot: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    for index, sample in enumerate(group):
        x = _position(sample, unit, index)
        if x is not None:
            largest = math.nan if sample.largest_free_bytes is None else float(sample.largest_free_bytes)
            by_boot[sample.boot].append((x, free_bytes(sample) or 0.0, largest))
    for boot in sorted(by_boot):
        rows = np.array(by_boot[boot], dtype=np.float64)
        yield _anchored(boot, rows, unit)


def _anchored(boot: int, rows: FloatArray, unit: Axis) -> Curve:
    """The highest reading of each cycle (or stretch of time), at most `_MAX_ANCHORS` of them."""
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    x = rows[:, 0]
    if unit == "cycle":
        keys = x
        distinct = len(np.unique(x))
        if distinct > _MAX_ANCHORS:
            keys = np.floor((np.unique(x, return_inverse=True)[1]) * (_MAX_ANCHORS / distinct))
    elif len(x) <= _FEW_READINGS:
        keys = np.arange(len(x), dtype=np.float64)
    else:
        bins = min(_MAX_ANCHORS, max(_FEW_READINGS, len(x) // 4))
        span = max(float(x[-1] - x[0]), 1e-12)
        keys = np.minimum(np.floor((x - x[0]) / span * bins), bins - 1)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    counts = np.diff(np.concatenate((starts, [len(x)])))
    where = np.add.reduceat(x, starts) / counts
    free = np.maximum.reduceat(rows[:, 1], starts)
    largest = np.fmax.reduceat(rows[:, 2], starts)
    swing = float(np.median(free - np.minimum.reduceat(rows[:, 1], starts)))
    return Curve(boot, where, free, None if np.isnan(largest).any() else largest, swing)


def _cycle_length(group: Sequence[HeapSample]) -> tuple[float | None, bool]:
    """Hours per cycle over all boots, and whether the lengths vary by more than a fifth."""
    times: dict[int, dict[int, float]] = defaultdict(dict)
    for sample in group:
        if sample.cycle is not None and sample.t_s is not None and math.isfinite(sample.t_s):
            times[sample.boot].setdefault(sample.cycle, sample.t_s)
    lengths: list[float] = []
    total_s, cycles = 0.0, 0
    for first_seen in times.values():
        ordered = sorted(first_seen.items())
        if len(ordered) < 2:
            continue
        total_s += ordered[-1][1] - ordered[0][1]
        cycles += ordered[-1][0] - ordered[0][0]
        lengths += [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(ordered)]
    if total_s <= 0 or cycles <= 0:
        return None, False
    mean_s = total_s / cycles
    uneven = len(lengths) >= 4 and float(np.std(lengths)) > 0.2 * mean_s
    return mean_s / _SECONDS_PER_HOUR, uneven
