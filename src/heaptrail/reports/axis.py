"""The horizontal axis of a free-heap curve: cycles where they are known, else time, else the console's lines.

Cycles are counted anew after a reset, so boots stand side by side, each from its own zero, with a gap between them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Point, Series

_TICKS: Final = 10
_MINUTES_UP_TO_HOURS: Final = 2.0


class CurveAxis(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reading stands.

    Args:
        unit: `cycle` and `hour` as in `Fit.x_unit`; `line` where the capture tells neither.
        boots: Boots that have readings, in order.
        offsets: What is added to the cycles of each boot; 0 in the other units.
        starts: Where each boot's first reading stands.
        scale: Axis units per hour or cycle: 60 where minutes are shown.
        title: What the axis says.
        ticks: Plotly's settings for ticks, where they are not its own.
        remark: What a reader must know of this axis, or empty.
    """

    unit: Literal["cycle", "hour", "line"]
    boots: tuple[int, ...]
    offsets: dict[int, float]
    starts: dict[int, float]
    scale: float
    title: str
    ticks: dict[str, Any]
    remark: str = ""

    def x(self, point: Point) -> float:
        """Where the reading stands on this axis."""
        return _at(point, self.unit) * self.scale + self.offsets[point.boot]

    def of_fit(self, boot: int, x: float) -> float | None:
        """Where `x` of a fit stands, None where its boot has no readings."""
        offset = self.offsets.get(boot)
        return None if offset is None else x * self.scale + offset


def curve_axis(series: Series) -> CurveAxis:
    """The axis for a series that has at least one point: cycles if every reading has one, else time, else lines."""
    points = series.points
    boots = tuple(dict.fromkeys(point.boot for point in points))
    if all(point.cycle is not None for point in points):
        return _cycle_axis(points, boots)
    if all(point.t_s is not None for point in points):
        hours = max(_at(p, "hour") for p in points) - min(_at(p, "hour") for p in points)
        minutes = hours < _MINUTES_UP_TO_HOURS
        return _plain_axis(
            points,
            boots,
            unit="hour",
            scale=60.0 if minutes else 1.0,
            title=f"{'minutes' if minutes else 'hours'} since the capture began",
        )
    return _plain_axis(points, boots, unit="line", scale=1.0, title="line of the log", remark="the log tells no time")


def boot_starts(axis: CurveAxis) -> list[tuple[int, float]]:
    """The boots with where each begins; empty where there is one only."""
    return [(boot, axis.starts[boot]) for boot in axis.boots] if len(axis.boots) > 1 else []


def _at(point: Point, unit: Literal["cycle", "hour", "line"]) -> float:
    if unit == "cycle":
        assert point.cycle is not None
        return float(point.cycle)
    if unit == "hour":
        assert point.t_s is not None
        return point.t_s / 3600
    return float(point.line)


def _plain_axis(
    points: Sequence[Point],
    boots: tuple[int, ...],
    *,
    unit: Literal["hour", "line"],
    scale: float,
    title: str,
    remark: str = "",
) -> CurveAxis:
    starts = {boot: min(_at(p, unit) * scale for p in points if p.boot == boot) for boot in boots}
    return CurveAxis(
        unit=unit,
        boots=boots,
        offsets=dict.fromkeys(boots, 0.0),
        starts=starts,
        scale=scale,
        title=title,
        ticks={"tickformat": ",d"} if unit == "line" else {},
        remark=remark,
    )


def _cycle_axis(points: Sequence[Point], boots: tuple[int, ...]) -> CurveAxis:
    spans: dict[int, tuple[int, int]] = {}
    for point in points:
        assert point.cycle is not None
        low, high = spans.get(point.boot, (point.cycle, point.cycle))
        spans[point.boot] = (min(low, point.cycle), max(high, point.cycle))
    total = sum(high - low for low, high in spans.values())
    gap = max(1, total // 30)
    offsets = {boots[0]: 0}
    for before, boot in pairwise(boots):
        offsets[boot] = offsets[before] + spans[before][1] + gap - spans[boot][0]
    several = len(boots) > 1
    return CurveAxis(
        unit="cycle",
        boots=boots,
        offsets={boot: float(offset) for boot, offset in offsets.items()},
        starts={boot: float(spans[boot][0] + offsets[boot]) for boot in boots},
        scale=1.0,
        title="cycles completed in the boot" if several else "cycles completed",
        ticks=_ticks_by_boot(spans, offsets, total) if several else {"tickformat": ",d"},
        remark="cycles are counted from each reset on" if several else "",
    )


def _ticks_by_boot(spans: dict[int, tuple[int, int]], offsets: dict[int, int], total: int) -> dict[str, Any]:
    """Ticks at round cycles of each boot; of so many boots that their ticks would collide, every few have one."""
    steps = (digit * 10**power for power in range(40) for digit in (1, 2, 5))
    step = next((size for size in steps if size * _TICKS >= total), total)
    ticks = [
        (float(cycle + offsets[boot]), f"{cycle:,}")
        for boot, (low, high) in spans.items()
        for cycle in range(-(-low // step) * step, high + 1, step)
    ]
    kept = ticks[:: max(1, -(-len(ticks) // (3 * _TICKS)))]
    return {"tickvals": [at for at, _ in kept], "ticktext": [label for _, label in kept]}
