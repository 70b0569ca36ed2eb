"""The largest free block: what no request can exceed, however much is free in all.

An allocation fails when no free block is large enough, which is long before the heap is used up where it fragments, and
some time before where it leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heaptrail.analysis.fitting import Piece
from heaptrail.analysis.trend import fit_trend
from heaptrail.model.verdict import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.analysis.series import Curve
    from heaptrail.analysis.trend import Trend

_MUCH = 0.1  # of its first size
_FAR_MORE = 3.0  # times what the free total fell


@dataclass(frozen=True, slots=True)
class LargestBlock:
    """What it does over the run.

    Args:
        first, last: Its size at the start and at the end, in bytes: the best of each cycle.
        trend: Its fall after the warm-up, None with too few points.
        shrinks_alone: It falls by a tenth or more, and by far more than the free total does.
    """

    first: float
    last: float
    trend: Trend | None
    shrinks_alone: bool

    def fails_after(self, request_bytes: int) -> Interval | None:
        """In how many units of the series a request of that size first fails; None where the block does not shrink.

        The late end is open where the fall is not certain. Units are all 0 where such a request fails already.
        """
        if self.last < request_bytes:
            return Interval(low=0.0, estimate=0.0, high=0.0)
        trend = self.trend
        if trend is None or trend.estimate <= 0 or not (trend.falling or self.shrinks_alone):
            return None
        room = self.last - request_bytes
        return Interval(
            low=room / max(trend.recent_high, trend.estimate),
            estimate=room / trend.estimate,
            high=room / trend.low if trend.low > 0 else None,
        )


def largest_block(curves: Sequence[Curve], settled: Sequence[Piece], alpha: float) -> LargestBlock | None:
    """Follow it, None where some boot does not print it.

    Args:
        curves: All boots.
        settled: Their free memory after the warm-up.
        alpha: Error probability of the trend's interval.
    """
    sizes = [curve.largest for curve in curves if curve.largest is not None]
    if not sizes or len(sizes) < len(curves):
        return None
    by_boot = {curve.boot: curve for curve in curves}
    pieces: list[Piece] = []
    shrank = fell = top = 0.0
    for piece in settled:
        curve = by_boot[piece.boot]
        if curve.largest is None:
            continue
        largest = curve.largest[np.isin(curve.x, piece.x)]
        pieces.append(Piece(piece.boot, piece.x, largest, piece.age))
        third = max(len(largest) // 3, 1)
        shrank += float(np.median(largest[:third]) - np.median(largest[-third:]))
        fell += float(np.median(piece.y[:third]) - np.median(piece.y[-third:]))
        top = max(top, float(largest[0]))
    trend = fit_trend(pieces, alpha)
    falls = trend is not None and trend.estimate > 0
    alone = falls and shrank > _MUCH * top and shrank > _FAR_MORE * max(fell, 0.0)
    return LargestBlock(float(sizes[0][0]), float(sizes[-1][-1]), trend, alone)
